//! Clients that come back: what NAT and direct return share.
//!
//! One map for each family remembers the clients of all services: client and service to server. A service's chain
//! first asks it, and if it knows no server that may be returned to, draws one. What remembers the choice, and
//! begins its time anew, is picked by the number of the server, from which the number of the service follows.

use std::collections::BTreeMap;

use crate::model::{Family, Mode, Persistence, RealServer, State};
use crate::ruleset::{
    Chain, Condition, Data, DataType, Expression, Field, KeyType, MarkOf, Mask, Name, Rule, Set,
    Statement, name,
};
use crate::schedule::Block;
use crate::source::Span;

use super::Input;
use super::block;
use super::layout::Layout;
use super::region::{Extent, Region};
use super::set::SetBuilder;

/// Room for so many clients of one family, of all services together. It never changes: another size would be another
/// map, and all clients forgotten. The kernel takes memory only for those that there are.
const ROOM: u32 = 1 << 20;

/// The seeds of the three hashes that stand for an IPv6 client. 96 bits: no two clients meet by accident.
const SEEDS: [u32; 3] = [0x666c_6231, 0x666c_6232, 0x666c_6233];

/// How clients are told apart, and which services they are remembered for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientKey {
    family: Family,
    /// How many bits of the client's address count.
    prefix: u8,
    extent: Extent,
}

impl ClientKey {
    fn of(block: &Block<'_>, region: Region) -> Option<Self> {
        let persistence = block.service.persistence?;
        Some(Self::new(block.family, &persistence, region))
    }

    const fn new(family: Family, persistence: &Persistence, region: Region) -> Self {
        Self {
            family,
            prefix: match family {
                Family::V4 => persistence.ipv4_prefix,
                Family::V6 => persistence.ipv6_prefix,
            },
            extent: region.extent(),
        }
    }

    /// `return4_24`: the chain that looks whether the client is remembered.
    pub(super) fn asked_by(self) -> Name {
        self.chain(name::RETURN, "")
    }

    /// `returned4_24`: the chain that judges what was remembered.
    fn judged_by(self) -> Name {
        self.chain("returned", "")
    }

    /// `keep4_24_300`: the chain that remembers, for so many seconds.
    fn kept_by(self, timeout: u32) -> Name {
        self.chain("keep", &format!("_{timeout}"))
    }

    fn chain(self, stem: &str, rest: &str) -> Name {
        let large = match self.extent {
            Extent::Usual => "",
            Extent::Large => "_large",
        };
        let prefix = self.prefix;
        name::per_family(stem, self.family, &format!("_{prefix}{rest}{large}"))
    }

    /// The client, as far as it counts.
    fn client(self) -> Expression {
        let source = Expression::Source(self.family);
        if self.prefix == self.family.bits() {
            return source;
        }
        Expression::Masked(Box::new(source), Mask::prefix(self.family, self.prefix))
    }

    /// The key of a client of the service whose number `service` is.
    ///
    /// ```text
    /// ip saddr & 255.255.255.0 . ct mark
    /// jhash ip6 saddr mod 4294967295 seed 1 . jhash ip6 saddr mod 4294967295 seed 2 . jhash ... . ct mark
    /// ```
    ///
    /// An IPv6 address does not fit: nft 1.0.6 has room for 16 bytes, and stores other bytes for what is longer.
    fn key(self, service: Expression) -> Expression {
        let mut fields = match self.family {
            Family::V4 => vec![self.client()],
            Family::V6 => SEEDS
                .map(|seed| Expression::Jhash {
                    key: Box::new(self.client()),
                    modulus: u32::MAX,
                    seed,
                    offset: 0,
                })
                .into(),
        };
        fields.push(service);
        Expression::Concat(fields)
    }

    /// The same where the mark is the server's.
    fn key_by_server(self, mark: &Expression, layout: Layout) -> Expression {
        let service = Mask::Mark(self.extent.mask(layout));
        self.key(Expression::Masked(Box::new(mark.clone()), service))
    }

    fn map(self) -> Name {
        map_name(self.family)
    }
}

/// The map that remembers clients of a family, and the key of a packet's client for the service of a region.
pub(super) fn place(
    family: Family,
    persistence: &Persistence,
    region: Region,
) -> (Name, Expression) {
    let way = ClientKey::new(family, persistence, region);
    (way.map(), way.key(Expression::Mark(region.service())))
}

fn map_name(family: Family) -> Name {
    name::per_family(name::CLIENTS, family, "")
}

/// What remembers clients in one table.
pub(super) struct ClientMaps {
    layout: Layout,
    mark: MarkOf,
    /// Every way there is, with the timeouts and the first statement that asked for it.
    keepers: BTreeMap<(ClientKey, u32), Span>,
    /// From a server that may be returned to, to the chain that remembers its client.
    keeper: SetBuilder,
    /// Servers that clients may return to, as a set, for rules that go elsewhere than the keepers.
    alive: SetBuilder,
}

impl ClientMaps {
    /// `None` where no service of this mode remembers clients.
    pub(super) fn of(
        input: &Input<'_>,
        mark: MarkOf,
        wanted: impl Fn(&Mode) -> bool,
    ) -> Option<Self> {
        let keeper = "real server that clients may return to, to the chain that remembers them";
        let alive = "real servers that clients may return to";
        let mut memory = Self {
            layout: input.layout(),
            mark,
            keepers: BTreeMap::new(),
            keeper: SetBuilder::by_mark(name::KEEPERS, Some(DataType::Verdict), keeper),
            alive: SetBuilder::by_mark("alive", None, alive),
        };
        for (block, numbers) in block::blocks(input, wanted) {
            let Some((way, persistence)) = numbers
                .region
                .and_then(|region| ClientKey::of(block, region))
                .zip(block.service.persistence)
            else {
                continue;
            };
            let timeout = u32::try_from(persistence.timeout.as_secs()).unwrap_or(u32::MAX);
            let first = memory.keepers.entry((way, timeout));
            first.or_insert(persistence.span);
            for server in block::servers(block, numbers) {
                if may_be_returned_to(server.server, block) {
                    let chain = Data::Goto(way.kept_by(timeout));
                    memory.keeper.push(server.element(Some(chain)));
                    memory.alive.push(server.element(None));
                }
            }
        }
        (!memory.keepers.is_empty()).then_some(memory)
    }

    /// The statement that first asked for it, of this family or of any.
    fn origin(&self, family: Option<Family>) -> Option<Span> {
        let mut keepers = self.keepers.iter();
        let found = keepers.find(|((way, _), _)| family.is_none_or(|f| f == way.family));
        found.map(|(_, span)| *span)
    }

    /// `KEY vmap @keeper`: remember the client, if its server may be returned to.
    pub(super) fn remember(&self) -> Statement {
        Statement::Vmap {
            key: self.mark.expression(),
            map: self.keeper.name(),
        }
    }

    /// `ct mark @alive`
    pub(super) fn alive(&self) -> Condition {
        Condition::InSet(self.mark.expression(), self.alive.name())
    }

    /// The chains that services' chains jump to. Each comes back if the client is not known; else goes on to
    /// `returned`, which comes back too.
    ///
    /// ```text
    /// chain return4_24 { ct mark set ip saddr & 255.255.255.0 . ct mark map @persist4 goto returned4_24 }
    /// chain returned4_24 {
    ///     RETURNED
    ///     delete @persist4 { ip saddr & 255.255.255.0 . ct mark & 0xfffff000 : ct mark }
    /// }
    /// ```
    ///
    /// An element keeps its value however often it is updated: one whose server is gone must go.
    pub(super) fn asking(&self, returned: &[Statement]) -> Vec<Chain> {
        let mut chains = Vec::new();
        let mut last = None;
        for (way, _) in self.keepers.keys() {
            // In order: the same way with another timeout is the next.
            if last.replace(*way) == Some(*way) {
                continue;
            }
            let forget = Statement::Delete {
                map: way.map(),
                key: way.key_by_server(&self.mark.expression(), self.layout),
                value: self.mark.expression(),
            };
            chains.push(Chain {
                name: way.judged_by(),
                hook: None,
                purpose: "a client's server is known: may it be returned to? if not, forget it",
                rules: vec![Rule::fixed(returned), Rule::fixed([forget])],
            });
            let known = Statement::Set {
                target: self.mark.target(),
                value: Expression::Map(Box::new(way.key(self.mark.expression())), way.map()),
            };
            chains.push(Chain {
                name: way.asked_by(),
                hook: None,
                purpose: "the mark is a service: does the client have a server?",
                rules: vec![Rule::fixed([known, Statement::Goto(way.judged_by())])],
            });
        }
        chains
    }

    /// The chains that remember, each of which ends in `after`.
    ///
    /// ```text
    /// chain keep4_24_300 { update @persist4 { ip saddr & 255.255.255.0 . ct mark & 0xfffff000 timeout 300s : ct mark } }
    /// ```
    pub(super) fn keeping(&self, after: Option<&Statement>) -> Vec<Chain> {
        let chain = |(way, timeout): &(ClientKey, u32)| {
            let update = Statement::Update {
                map: way.map(),
                key: way.key_by_server(&self.mark.expression(), self.layout),
                timeout: *timeout,
                value: self.mark.expression(),
            };
            // Where the map is full the first rule ends, and the packet goes on.
            let after = after.map(|after| Rule::fixed([after.clone()]));
            Chain {
                name: way.kept_by(*timeout),
                hook: None,
                purpose: "the mark is the client's server: remember it",
                rules: [Rule::fixed([update])].into_iter().chain(after).collect(),
            }
        };
        self.keepers.keys().map(chain).collect()
    }

    /// The families whose clients are remembered.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        let families = Family::BOTH.into_iter();
        families.filter(|family| self.origin(Some(*family)).is_some())
    }

    /// The maps.
    pub(super) fn into_sets(self) -> Vec<Set> {
        let remembering = Family::BOTH.into_iter().filter_map(|family| {
            let key = match family {
                Family::V4 => KeyType::Fields(&[Field::Address, Field::Mark]),
                Family::V6 => KeyType::HashesMark(3),
            };
            let purpose = "client and service to the real server that the client had";
            let (name, origin) = (map_name(family), self.origin(Some(family))?);
            Some(SetBuilder::new(&name, key, Some(DataType::Mark), purpose).dynamic(ROOM, origin))
        });
        let mut sets: Vec<Set> = remembering.collect();
        // There even where nobody can be returned to: rules look them up.
        sets.push(self.keeper.always());
        if self.mark == MarkOf::Connection {
            sets.push(self.alive.always());
        }
        sets
    }
}

/// Whether a remembered client may come back to a server: while it is up or drains, and to a backup as long as it
/// stands in for others.
fn may_be_returned_to(server: &RealServer, block: &Block<'_>) -> bool {
    match server.state {
        State::Up | State::Drain => true,
        State::Down => false,
        State::Backup => {
            let mut others = block.servers.iter();
            !others.any(|other| other.state == State::Up && other.weight > 0)
        }
    }
}

/// The statements with which a service's chain begins: `ct mark set SERVICE jump return4_24`; `None` for a service
/// that does not remember its clients.
pub(super) fn returning(
    block: &Block<'_>,
    region: Option<Region>,
    mark: MarkOf,
) -> Option<[Statement; 2]> {
    let region = region?;
    let way = ClientKey::of(block, region)?;
    Some([
        Statement::Set {
            target: mark.target(),
            value: Expression::Mark(region.service()),
        },
        Statement::Jump(way.asked_by()),
    ])
}

/// Whether a packet of a translated connection is one to remember the client for: one of the client, and of a service
/// that remembers its clients.
///
/// ```text
/// ct mark >= 0x80000000 ct direction original
/// ```
pub(super) fn gate() -> [Statement; 2] {
    [
        Condition::CtMarkFrom(*super::region::REGIONS.start()),
        Condition::FromClient,
    ]
    .map(Statement::Match)
}

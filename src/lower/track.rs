//! Flows that stay with their server, in direct return.
//!
//! One map remembers the flows of all services. Its key is three hashes over different parts of addresses, ports and
//! protocol, so that IPv6 fits, and so that an error of ICMP, which quotes the flow at places that have no type for
//! nft, finds it too. What remembers a flow is picked by the number of its server: a server that may not have the
//! flow any more is not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Family, HashKey, Protocol, Service, State};
use crate::ruleset::{
    Chain, Condition, Data, DataType, Expression, Header, KeyType, MarkOf, Name, Rule, Set,
    Statement, Table, Target, Word, name,
};
use crate::schedule::{Block, Choice, Draw};
use crate::source::Span;

use super::Input;
use super::block::{self, Onward, draw_slot};
use super::number::BlockNumbers;
use super::set::SetBuilder;
use super::way::{SendingWay, send};

/// Room for so many flows of all services together. It never changes: another size would be another map, and all flows
/// forgotten. The kernel takes memory only for those that there are.
const ROOM: u32 = 1 << 20;

/// The seeds of the hashes that stand for a flow: 96 bits in all.
const SEEDS: [u32; 3] = [0x666c_6234, 0x666c_6235, 0x666c_6236];

const TRACKER: &str = name::TRACKERS;
const RESTING: &str = "resting";
/// The chain that remembers the flow if its server's services do, and sends.
pub(super) const FOLLOW: &str = "follow";
/// The chain that makes a server of a slot and goes on to [`FOLLOW`].
const SLOTTED: &str = "slotted_tracked";

/// A flow, as a packet of the client has it, or as a quoted packet of the server has it.
pub(super) struct FlowFields {
    pub(super) client: Expression,
    pub(super) client_port: Expression,
    pub(super) vip: Expression,
    pub(super) vip_port: Expression,
    pub(super) protocol: Expression,
}

impl FlowFields {
    const fn of_client(family: Family) -> Self {
        Self {
            client: Expression::Source(family),
            client_port: Expression::SourcePort,
            vip: Expression::Destination(family),
            vip_port: Expression::DestinationPort,
            protocol: Expression::L4Proto,
        }
    }

    /// ```text
    /// jhash ip saddr . th sport . meta l4proto ... . jhash ip saddr . th dport ... . jhash ip daddr . th dport . meta l4proto ...
    /// ```
    fn key(&self) -> Expression {
        let Self {
            client,
            client_port,
            vip,
            vip_port,
            protocol,
        } = self;
        // No more than nft 1.0.6 has registers for.
        let parts = [
            vec![client, client_port, protocol],
            vec![client, vip_port],
            vec![vip, vip_port, protocol],
        ];
        let hash = |(fields, seed): (Vec<&Expression>, u32)| Expression::Jhash {
            key: Box::new(Expression::Concat(fields.into_iter().cloned().collect())),
            modulus: u32::MAX,
            seed,
            offset: 0,
        };
        Expression::Concat(parts.into_iter().zip(SEEDS).map(hash).collect())
    }
}

/// `meta mark set KEY map @track goto NEXT`: the rule ends where the flow is not known.
pub(super) fn known(flow: &FlowFields, next: &str) -> [Statement; 2] {
    [
        Statement::Set {
            target: Target::MetaMark,
            value: Expression::Map(Box::new(flow.key()), name::FLOWS.into()),
        },
        Statement::Goto(next.into()),
    ]
}

/// The map that remembers flows, and the key of a packet's flow.
pub(super) fn place(family: Family) -> (Name, Expression) {
    (name::FLOWS.into(), FlowFields::of_client(family).key())
}

fn update(family: Family, timeout: u32) -> Statement {
    Statement::Update {
        map: name::FLOWS.into(),
        key: FlowFields::of_client(family).key(),
        timeout,
        value: Expression::MetaMark,
    }
}

fn seconds(service: &Service) -> Option<u32> {
    let seconds = service.track?.timeout.as_secs();
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

fn known_chain(family: Family) -> Name {
    name::per_family(name::KNOWN, family, "")
}

/// It is a chain of its own: nft lists the ports of a key by the protocol that the same rule asked for, and what it lists
/// so is another rule to it when it reads that again.
fn forgetting_chain(family: Family) -> Name {
    name::per_family("forget", family, "")
}

fn judging_chain(family: Family) -> Name {
    name::per_family("tracked", family, "")
}

fn keeping_chain(way: SendingWay, timeout: u32) -> Name {
    way.ending("track", &timeout.to_string())
}

fn fresh_chain(family: Family, timeout: u32) -> Name {
    name::per_family("fresh", family, &format!("_{timeout}"))
}

/// What the chain of a service asks before it chooses: `jump known4`.
pub(super) fn asking(service: &Service, family: Family) -> Option<Rule> {
    service.track?;
    Some(Rule::of(
        service.span,
        [Statement::Jump(known_chain(family))],
    ))
}

/// The rules that choose a server for a new flow of a service that remembers its flows.
///
/// ```text
/// tcp flags & (fin | syn | rst | ack) == syn meta mark set numgen inc mod 7 offset 0x01000000 jump fresh4_300
/// meta l4proto udp meta mark set numgen inc mod 7 offset 0x01000000 jump fresh4_300
/// meta mark set jhash ip saddr . th sport mod 7 seed 0x666c6263 offset 0x01000000
/// goto slotted_tracked
/// ```
///
/// A flow that cannot be remembered goes where its hash says, and so does a packet from the middle of a connection
/// that nobody knows: its first packet may have gone there.
pub(super) fn choosing(
    service: &Service,
    block: &Block<'_>,
    numbers: &BlockNumbers,
    onward: Onward,
) -> Option<Vec<Rule>> {
    // What remembers the client comes first, and goes on to what remembers the flow.
    let [slotted, chosen] = match numbers.region {
        Some(_) => onward.kept,
        None => [SLOTTED, FOLLOW],
    };
    let timeout = seconds(service)?;
    let family = block.family;
    let set = |value| Statement::Set {
        target: Target::MetaMark,
        value,
    };
    let rule = |statements: Vec<Statement>| Rule::of(service.span, statements);
    match &block.choice {
        Choice::Empty => None,
        Choice::Only(at) => {
            let server = Expression::Mark(*numbers.servers.get(*at)?);
            Some(vec![
                rule(vec![set(server)]),
                rule(vec![Statement::Goto(chosen.into())]),
            ])
        }
        Choice::Slots { draw, owners } => {
            let count = u32::try_from(owners.len()).unwrap_or(u32::MAX);
            let mut rules = Vec::new();
            let hashed = match draw {
                Draw::Hashed(key) => Draw::Hashed(*key),
                Draw::InTurn | Draw::AtRandom => {
                    for first in first_packets(service, family) {
                        let slot = draw_slot(*draw, family, count, numbers.first_slot);
                        let fresh = Statement::Jump(fresh_chain(family, timeout));
                        rules.push(rule(vec![Statement::Match(first), set(slot), fresh]));
                    }
                    Draw::Hashed(HashKey::SourcePort)
                }
            };
            let slot = draw_slot(hashed, family, count, numbers.first_slot);
            rules.push(rule(vec![set(slot)]));
            rules.push(rule(vec![Statement::Goto(slotted.into())]));
            Some(rules)
        }
    }
}

/// What tells a flow's first packet, for each protocol of the service. Only TCP says so itself.
fn first_packets(service: &Service, family: Family) -> Vec<Condition> {
    let has = |protocol: &Protocol| {
        let mut vips = service.vips.iter();
        vips.any(|vip| vip.protocol == *protocol && vip.family() == family)
    };
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter();
    all.filter(has)
        .map(|protocol| match protocol {
            Protocol::Tcp => Condition::TcpSyn,
            Protocol::Udp | Protocol::Sctp => Condition::Protocol(protocol),
        })
        .collect()
}

/// Whether any service remembers its flows.
pub(super) fn is_used(input: &Input<'_>) -> bool {
    let mut blocks = block::blocks(input, |mode| !mode.kernel_tracks());
    blocks.any(|(block, _)| block.service.track.is_some())
}

/// What remembers the flows of a family for one time.
struct Keeper {
    /// The first statement that asked for it.
    origin: Span,
    /// Whether any service gives new flows to servers in turn or at random, so that a drawn slot must be remembered.
    draws: bool,
}

/// What remembers clients, in a table whose services remember some of them too: flows come after it.
pub(super) struct ClientMemory<'a> {
    /// Looks whether the service of the server in the mark remembers its clients, and goes on there if it does.
    pub(super) look: &'a Statement,
    /// The name of the chain that looks so, and goes on to [`FOLLOW`] where nobody is remembered.
    pub(super) remember: &'static str,
}

/// The servers of services that remember their flows.
struct Tracked {
    /// By family and timeout, in seconds.
    keepers: BTreeMap<(Family, u32), Keeper>,
    /// Every way to a server, and timeout.
    ways: BTreeSet<(SendingWay, u32)>,
    tracker: SetBuilder,
    resting: SetBuilder,
}

impl Tracked {
    fn of(input: &Input<'_>) -> Self {
        let tracker = "real server that keeps its flows, to the chain that remembers them";
        let resting = "real servers that keep their flows and are given no new ones";
        let mut all = Self {
            keepers: BTreeMap::new(),
            ways: BTreeSet::new(),
            tracker: SetBuilder::by_mark(TRACKER, Some(DataType::Verdict), tracker),
            resting: SetBuilder::by_mark(RESTING, None, resting),
        };
        for (block, numbers) in block::blocks(input, |mode| !mode.kernel_tracks()) {
            let (Some(timeout), Some(track), Some(mode)) = (
                seconds(block.service),
                block.service.track,
                block.mode.direct(),
            ) else {
                continue;
            };
            let by_turn = match &block.choice {
                Choice::Empty | Choice::Only(_) => false,
                Choice::Slots { draw, .. } => draw.client_key().is_none(),
            };
            let keeper = all.keepers.entry((block.family, timeout));
            let keeper = keeper.or_insert(Keeper {
                origin: track.span,
                draws: false,
            });
            keeper.draws |= by_turn;
            let takes_new = drawn(block, &numbers);
            for server in block::servers(block, numbers) {
                if server.server.state == State::Down {
                    continue;
                }
                let way = SendingWay::of(server.server, block.family, mode);
                all.ways.insert((way, timeout));
                let chain = Data::Goto(keeping_chain(way, timeout));
                all.tracker.push(server.element(Some(chain)));
                if !takes_new.contains(&server.number) {
                    all.resting.push(server.element(None));
                }
            }
        }
        all
    }
}

/// What remembers flows: chains, the map of flows, and the map from servers to what remembers.
pub(super) fn lower(
    input: &Input<'_>,
    slots: &SetBuilder,
    clients: Option<&ClientMemory<'_>>,
    table: &mut Table,
) {
    let Tracked {
        keepers,
        ways,
        tracker,
        resting,
    } = Tracked::of(input);
    let Some(origin) = keepers.values().next().map(|keeper| keeper.origin) else {
        return;
    };
    let keeping = ways.into_iter().map(|(way, timeout)| keeping(way, timeout));
    table.chains.extend(keeping);
    let onward = clients.map_or_else(send, |clients| Statement::Goto(clients.remember.into()));
    for ((family, timeout), _) in keepers.iter().filter(|(_, keeper)| keeper.draws) {
        let fresh = beginning(*family, *timeout, onward.clone(), slots);
        table.chains.push(fresh);
    }
    // meta mark vmap @keeper
    // meta mark vmap @tracker
    let follow = Statement::Vmap {
        key: Expression::MetaMark,
        map: tracker.name(),
    };
    let look = clients.map(|clients| clients.look.clone());
    let looks: Vec<Statement> = look.into_iter().chain([follow.clone()]).collect();
    for family in Family::BOTH {
        if keepers.keys().any(|(known, _)| *known == family) {
            let judging = judging(input, family, &resting.name(), &looks);
            table.chains.extend(judging);
        }
    }
    table.chains.push(plain(
        FOLLOW.into(),
        "meta mark is a real server: remember the flow if it is to be remembered",
        vec![Rule::fixed([follow]), Rule::fixed([send()])],
    ));
    if !slots.is_empty() {
        let purpose =
            "meta mark is a slot of a service that remembers its flows: make it a real server";
        let next = Statement::Goto(FOLLOW.into());
        let slotted = block::slotted(MarkOf::Packet, slots, SLOTTED, next, purpose);
        table.chains.push(slotted);
    }
    let always = [tracker, resting].map(SetBuilder::always);
    table.sets.extend(always);
    table.sets.push(flows(origin));
}

/// The map of flows.
fn flows(origin: Span) -> Set {
    let purpose = "flow to the real server that it has";
    let flows = SetBuilder::new(
        name::FLOWS,
        KeyType::Hashes(3),
        Some(DataType::Mark),
        purpose,
    );
    flows.dynamic(ROOM, origin)
}

/// The chains that ask whether a flow has a server, whether it may keep it, and that forget it if not.
///
/// ```text
/// chain forget4 { delete @track { KEY : meta mark } }
/// chain tracked4 { ...; meta mark vmap @keeper; meta mark vmap @tracker; goto forget4 }
/// chain known4 { meta mark set KEY map @track goto tracked4 }
/// ```
fn judging(input: &Input<'_>, family: Family, resting: &Name, looks: &[Statement]) -> [Chain; 3] {
    let flow = FlowFields::of_client(family);
    // An element keeps its value however often it is updated: one whose server is gone must go.
    let delete = Statement::Delete {
        map: name::FLOWS.into(),
        key: flow.key(),
        value: Expression::MetaMark,
    };
    let forget = Statement::Goto(forgetting_chain(family));
    let mut rules = beginning_anew(input, family, resting, &forget);
    let looks = looks.iter().cloned().chain([forget]);
    rules.extend(looks.map(|statement| Rule::fixed([statement])));
    [
        plain(
            forgetting_chain(family),
            "a flow that is to be given a server anew",
            vec![Rule::fixed([delete])],
        ),
        plain(
            judging_chain(family),
            "a flow's server is known: may it keep it? if not, forget it",
            rules,
        ),
        plain(
            known_chain(family),
            "does this flow have a server?",
            vec![Rule::fixed(known(&flow, &judging_chain(family)))],
        ),
    ]
}

/// The numbers of a block's servers that new flows are given to.
fn drawn(block: &Block<'_>, numbers: &BlockNumbers) -> BTreeSet<u32> {
    let places: BTreeSet<usize> = match &block.choice {
        Choice::Empty => BTreeSet::new(),
        Choice::Only(at) => BTreeSet::from([*at]),
        Choice::Slots { owners, .. } => owners.iter().map(|owner| *owner as usize).collect(),
    };
    let number = |at: usize| numbers.servers.get(at).copied();
    places.into_iter().filter_map(number).collect()
}

/// A packet that begins a connection comes from a client that took a port again before the flow was forgotten: to a
/// server that is given no new ones it is none of those that it keeps. TCP's SYN and SCTP's INIT say so; a datagram does
/// not.
///
/// ```text
/// tcp flags & (fin | syn | rst | ack) == syn meta mark @resting goto forget4
/// @th,96,32 & 0xff000000 == 0x01000000 meta l4proto sctp meta mark @resting goto forget4
/// ```
fn beginning_anew(
    input: &Input<'_>,
    family: Family,
    resting: &Name,
    forget: &Statement,
) -> Vec<Rule> {
    let tracked = input.services(|mode| !mode.kernel_tracks());
    let protocols: BTreeSet<Protocol> = tracked
        .filter(|plan| plan.service.track.is_some())
        .flat_map(|plan| &plan.service.vips)
        .filter(|vip| vip.family() == family)
        .map(|vip| vip.protocol)
        .collect();
    let rule = |protocol: Protocol| {
        let mut conditions = match protocol {
            Protocol::Tcp => vec![Condition::TcpSyn],
            // First what is cheap to ask, and which few packets have; then whether it means anything.
            Protocol::Sctp => {
                let kind = Word {
                    header: Header::Transport,
                    offset: 96,
                    bits: 32,
                    mask: 0xff00_0000,
                };
                let init = Condition::WordIs(kind, 0x0100_0000);
                vec![init, Condition::Protocol(protocol)]
            }
            Protocol::Udp => return None,
        };
        conditions.push(Condition::InSet(Expression::MetaMark, resting.clone()));
        let conditions = conditions.into_iter().map(Statement::Match);
        let statements: Vec<_> = conditions.chain([forget.clone()]).collect();
        Some(Rule::fixed(statements))
    };
    protocols.into_iter().filter_map(rule).collect()
}

/// The chain that remembers flows to servers that are reached in one way, for so long.
fn keeping(way: SendingWay, timeout: u32) -> Chain {
    // update @track { KEY timeout 300s : meta mark }
    // goto send_ip4_via
    plain(
        keeping_chain(way, timeout),
        "meta mark is the flow's server: remember it",
        vec![
            Rule::fixed([update(way.family(), timeout)]),
            Rule::fixed([Statement::Goto(way.chain())]),
        ],
    )
}

/// The chain for new flows whose server was drawn.
fn beginning(family: Family, timeout: u32, onward: Statement, slots: &SetBuilder) -> Chain {
    // meta mark set meta mark map @slot
    // update @track { KEY timeout 300s : meta mark } meta mark vmap @how
    plain(
        fresh_chain(family, timeout),
        "meta mark is a new flow's slot: come back if the flow cannot be remembered",
        vec![
            Rule::fixed([Statement::Set {
                target: Target::MetaMark,
                value: Expression::Map(Box::new(Expression::MetaMark), slots.name()),
            }]),
            Rule::fixed([update(family, timeout), onward]),
        ],
    )
}

fn plain(name: Name, purpose: &'static str, rules: Vec<Rule>) -> Chain {
    Chain {
        name,
        hook: None,
        purpose,
        rules,
    }
}

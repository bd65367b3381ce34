//! What the kernel's tables say, read back into services and servers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::diff::{Counter, Observed, ObservedSet, ObservedTable};
use crate::emit::netlink::{Data, Element, TableFamily};
use crate::lower::layout::Layout;
use crate::lower::region::Region;
use crate::lower::{Comment, abbreviated};
use crate::model::{Family, Mark, ModeKind, Ports, Protocol, State, Vip, endpoint};
use crate::ruleset::name::{self, ranges_of, service_and_family_of, service_of};
use crate::source::Span;

use super::element::{address_of, mark, port_of, value, word};
use super::numbers::{KnownBlock, numbers, owners};

/// Both tables, as services and servers.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Which bits of marks the numbers of servers are in.
    pub layout: Layout,
    /// By name.
    pub services: BTreeMap<String, ServiceView>,
    /// Every server that the tables name, whether a service leads to it now or not.
    pub(crate) all_servers: Vec<ServerView>,
    /// What each service's chain draws.
    pub(crate) chains: FxHashMap<Arc<str>, KnownBlock>,
}

/// One service.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// Which table it is in.
    pub mode: ModeKind,
    /// Its VIPs, as the file writes them, and what they counted: new connections in nat, packets in dr.
    pub vips: Vec<(String, Counter)>,
    /// The same VIPs.
    pub addressed: Vec<Vip>,
    /// Its place among the services of the file, from 0, where that is known.
    pub place: Option<usize>,
    /// How many new connections (in nat) or packets (in dr) were turned away by `allow` and `deny`, if it has any.
    pub turned_away: Option<Counter>,
    /// Its servers.
    pub servers: Vec<ServerView>,
}

/// One real server of a service.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// The number that marks its connections.
    pub number: u32,
    /// Other numbers that what was sent to it may be counted under: those of a pool that services use in several ways, where
    /// the tables do not tell which of them is this service's.
    pub also: Vec<u32>,
    /// Whether it is of the table of nat.
    pub nat: bool,
    /// Who it is: `web1 of www`.
    pub identity: String,
    /// Its name.
    pub name: String,
    /// The service, or `pool NAME`, that it was declared in.
    pub group: String,
    /// Its address, where the kernel has it.
    pub address: Option<IpAddr>,
    /// Its own port.
    pub port: Option<u16>,
    /// Its weight.
    pub weight: u16,
    /// Whether it takes clients.
    pub state: State,
    /// What the file says and who says otherwise, where that is so.
    pub mark: Option<Mark>,
    /// How many of the service's slots lead to it.
    pub slots: usize,
    /// How many slots the service has for its family.
    pub of_slots: usize,
    /// What was sent to it: new connections in nat, packets in dr.
    pub counter: Counter,
    /// Packets from clients to it, where they were counted.
    pub to: Option<Counter>,
    /// Packets from it to clients, where they were counted: not in dr, where they pass elsewhere.
    pub from: Option<Counter>,
}

impl View {
    /// Reads the tables.
    pub fn of(observed: &Observed) -> Self {
        let mut known = numbers(observed);
        let layout = known.layout;
        let mut view = Self {
            layout,
            ..Self::default()
        };
        for family in TableFamily::BOTH {
            let Some(table) = observed.table(family) else {
                continue;
            };
            let mut servers = servers(table, family == TableFamily::Inet);
            let chains = table.chains.iter().map(|chain| &*chain.name);
            unabbreviate(chains, servers.values_mut().map(|server| &mut server.group));
            let mut groups = Groups::new();
            for server in servers.values() {
                let of = (&*server.group, Region::containing(server.number, layout));
                groups.entry(of).or_default().push(server.number);
            }
            view.read_services(family, table);
            view.read_turned_away(table);
            let slots = slot_owners(table);
            for chain in &table.chains {
                let Some((name, of)) = service_and_family_of(&chain.name) else {
                    continue;
                };
                let Some(service) = view.services.get_mut(name) else {
                    continue;
                };
                service.mode = mode_of(family);
                // Where no server is left there is nothing to draw from, but the service has its servers.
                let block = known.blocks.remove(&chain.name).unwrap_or_default();
                let chain_of = ChainOf { name, family: of };
                let known = KnownServers {
                    by_number: &servers,
                    by_group: &groups,
                    of_slots: &slots,
                };
                add_servers(service, chain_of, &block, &known);
                view.chains.insert(chain.name.clone(), block);
            }
            view.all_servers.extend(servers.into_values());
        }
        view
    }

    /// Leaves each server of a service once. A pool that services use in several ways has each of its servers under several
    /// numbers: those that the service's rules draw are its own. Of a server that no rule draws now they cannot be told
    /// apart, and it has what was counted under all of them.
    pub(crate) fn once(&mut self) {
        for service in self.services.values_mut() {
            let mut places: FxHashMap<(String, String), usize> = FxHashMap::default();
            let mut kept: Vec<ServerView> = Vec::with_capacity(service.servers.len());
            for server in std::mem::take(&mut service.servers) {
                let who = (server.name.clone(), server.endpoint());
                let place = *places.entry(who).or_insert(kept.len());
                match kept.get_mut(place) {
                    None => kept.push(server),
                    Some(known) => known.join(server),
                }
            }
            service.servers = kept;
        }
    }

    /// Every server that the kernel knows.
    pub fn servers(&self) -> impl Iterator<Item = &ServerView> {
        self.all_servers.iter()
    }

    pub(crate) fn read_services(&mut self, family: TableFamily, table: &ObservedTable) {
        let mode = mode_of(family);
        let maps = table.sets.iter();
        for set in maps.filter(|set| set.name.starts_with(name::dispatch(mode))) {
            for (at, element) in set.elements.iter().enumerate() {
                let Data::Verdict(_, Some(chain)) = &element.data else {
                    continue;
                };
                let (Some(name), Some(vip)) = (service_of(chain), vip(&set.name, element)) else {
                    continue;
                };
                let words = vip.to_string();
                let service = self.services.entry(name.to_owned());
                let service = service.or_insert_with(|| ServiceView::new(mode));
                service.mode = mode;
                let counter = counter(set, at);
                // In dr the same VIP stands once for each interface.
                let known = service.vips.iter_mut().find(|(known, _)| *known == words);
                if let Some((_, sum)) = known {
                    *sum += counter;
                } else {
                    service.vips.push((words, counter));
                    service.addressed.push(vip);
                }
            }
        }
    }

    pub(crate) fn read_turned_away(&mut self, table: &ObservedTable) {
        let Some(set) = table.set(name::AWAY) else {
            return;
        };
        for (at, element) in set.elements.iter().enumerate() {
            let name = element.comment.as_deref();
            if let Some(service) = name.and_then(|name| self.services.get_mut(name)) {
                service.turned_away = Some(counter(set, at));
            }
        }
    }
}

impl ServiceView {
    /// Puts the VIPs into this order, and what is not among them behind.
    pub(crate) fn arrange(&mut self, order: &[Vip]) {
        let places: FxHashMap<Place, usize> = order.iter().map(place).zip(0..).collect();
        let vips = std::mem::take(&mut self.vips).into_iter();
        let addressed = std::mem::take(&mut self.addressed);
        let mut both: Vec<_> = vips.zip(addressed).collect();
        both.sort_by_key(|(_, vip)| {
            let place = place(vip);
            let at = places.get(&place).copied().unwrap_or(usize::MAX);
            (at, place)
        });
        (self.vips, self.addressed) = both.into_iter().unzip();
    }

    /// One of which nothing else is known.
    const fn new(mode: ModeKind) -> Self {
        Self {
            mode,
            vips: Vec::new(),
            addressed: Vec::new(),
            place: None,
            turned_away: None,
            servers: Vec::new(),
        }
    }
}

/// What tells VIPs apart, and puts them in an order where there is no other.
type Place = (IpAddr, Protocol, Ports);

const fn place(vip: &Vip) -> Place {
    (vip.address, vip.protocol, vip.ports)
}

/// What stands for the address of a server that is not in the tables: in direct return, that of one with a MAC address.
pub(crate) const UNKNOWN: &str = "?";

impl ServerView {
    /// `10.20.0.11:8080`, `[2001:db8::1]:80`, or the address alone; `?` where the kernel does not have it.
    pub fn endpoint(&self) -> String {
        let address = self.address;
        address.map_or_else(
            || UNKNOWN.to_owned(),
            |address| endpoint(address, self.port),
        )
    }
}

/// Puts back the names of services that were too long for a comment, as their chains have them whole.
pub(crate) fn unabbreviate<'a>(
    chains: impl Iterator<Item = &'a str>,
    groups: impl Iterator<Item = &'a mut String>,
) {
    let services = chains.filter_map(service_of);
    let long: HashMap<_, _> = services
        .map(|service| (abbreviated(service), service))
        .filter(|(short, service)| short != service)
        .collect();
    if long.is_empty() {
        return;
    }
    for group in groups {
        if let Some(service) = long.get(&*Cow::from(&*group)) {
            (*service).clone_into(group);
        }
    }
}

/// The mode of the services that are in the table of this family.
pub const fn mode_of(family: TableFamily) -> ModeKind {
    match family {
        TableFamily::Inet => ModeKind::Nat,
        TableFamily::Netdev => ModeKind::Dr,
    }
}

pub(crate) fn counter(set: &ObservedSet, at: usize) -> Counter {
    set.counters.get(at).copied().unwrap_or_default()
}

/// The server of each slot, by their numbers.
pub(crate) fn slot_owners(table: &ObservedTable) -> FxHashMap<u32, u32> {
    let slots = table.set(name::SLOTS).into_iter();
    let slots = slots.flat_map(|set| &set.elements);
    slots
        .filter_map(|e| Some((mark(e)?, word(value(e)?)?)))
        .collect()
}

/// The VIP that a key of this dispatch map is; its family shows in the length of the key.
pub(crate) fn vip(set: &str, element: &Element) -> Option<Vip> {
    let key = element.key.as_slice();
    let long = key.len() >= 20;
    let width = if long { 16 } else { 4 };
    let (address, rest) = key.split_at_checked(width)?;
    let address = address_of(address)?;
    // The protocol is the second field, or that of the whole map.
    let (protocol, after) = match ranges_of(set) {
        Some(protocol) => (protocol, 0),
        None => (
            Protocol::ALL
                .into_iter()
                .find(|one| Some(&one.number()) == rest.first())?,
            4,
        ),
    };
    let port = |bytes: &[u8]| Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    let first = rest.get(after..).and_then(port);
    let last = element
        .key_end
        .as_ref()
        .and_then(|end| end.as_slice().get(width + after..).and_then(port));
    let ports = match (first, last) {
        (None, _) => Ports::Any,
        (Some(first), Some(last)) if last != first => Ports::Range(first, last),
        (Some(first), _) => Ports::One(first),
    };
    Some(Vip {
        address,
        protocol,
        ports,
        span: Span::NOWHERE,
    })
}

/// Every server of a table, by number: `weight 3 drain, web1 of www`.
fn servers(table: &ObservedTable, nat: bool) -> BTreeMap<u32, ServerView> {
    let mut servers = BTreeMap::new();
    let elements = |name: &str| table.set(name).into_iter().flat_map(|s| &s.elements);
    for element in elements(name::SERVERS) {
        let comment = element.comment.as_deref().and_then(Comment::read);
        if let Some((number, comment)) = mark(element).zip(comment) {
            servers.insert(number, ServerView::new(number, nat, &comment));
        }
    }
    for set in &table.sets {
        let addresses = name::is_addresses(&set.name);
        if !addresses && ![name::MACS, name::PORTS].contains(&&*set.name) {
            continue;
        }
        for (at, element) in set.elements.iter().enumerate() {
            let Some(server) = mark(element).and_then(|number| servers.get_mut(&number)) else {
                continue;
            };
            if addresses {
                server.address = value(element).and_then(address_of);
                if !set.counters.is_empty() {
                    server.counter = counter(set, at);
                }
            } else if *set.name == *name::MACS {
                server.counter = counter(set, at);
            } else {
                server.port = value(element).and_then(port_of);
            }
        }
    }
    servers
}

impl ServerView {
    /// Becomes one with what is the same server under another number.
    fn join(&mut self, other: Self) {
        match (self.slots, other.slots) {
            (1.., 0) => {}
            (0, 1..) => *self = other,
            (0, 0) | (1.., 1..) => {
                self.slots += other.slots;
                self.counter += other.counter;
                self.also.push(other.number);
            }
        }
    }

    /// One of which only this is known.
    fn new(number: u32, nat: bool, comment: &Comment<'_>) -> Self {
        Self {
            number,
            also: Vec::new(),
            nat,
            identity: comment.who.to_string(),
            name: comment.who.name.to_string(),
            group: comment.who.group.to_string(),
            address: None,
            port: None,
            weight: comment.standing.weight,
            state: comment.standing.state,
            mark: None,
            slots: 0,
            of_slots: 0,
            counter: Counter::default(),
            to: None,
            from: None,
        }
    }
}

/// The numbers of servers by where they were declared. A service that remembers its clients has numbers of its own for the
/// servers of a pool, so they stand apart.
type Groups<'s> = HashMap<(&'s str, Option<Region>), Vec<u32>>;

/// Whose chain it is.
#[derive(Clone, Copy)]
struct ChainOf<'a> {
    /// The service's name.
    name: &'a str,
    family: Family,
}

/// The servers of a table.
struct KnownServers<'a> {
    by_number: &'a BTreeMap<u32, ServerView>,
    by_group: &'a Groups<'a>,
    /// The number of each slot's server.
    of_slots: &'a FxHashMap<u32, u32>,
}

/// The servers that a service's chain leads to, and those of the same group that it does not lead to now.
fn add_servers(
    service: &mut ServiceView,
    of: ChainOf<'_>,
    block: &KnownBlock,
    known: &KnownServers<'_>,
) {
    let ChainOf { name, family } = of;
    let KnownServers {
        by_number: servers,
        by_group: groups,
        of_slots: slots,
    } = known;
    let mut owned: FxHashMap<u32, usize> = FxHashMap::default();
    let mut total = 0;
    match block.slots {
        Some(drawn) => {
            for owner in owners(drawn, slots) {
                *owned.entry(owner).or_default() += 1;
                total += 1;
            }
        }
        None => {
            for server in &block.servers {
                owned.insert(*server, 1);
                total = 1;
            }
        }
    }
    let group = owned
        .keys()
        .find_map(|number| servers.get(number))
        .map_or(name, |server| server.group.as_str());
    // Not all servers for each service: there may be a million.
    let mut candidates: BTreeSet<u32> = owned.keys().copied().collect();
    candidates.extend(groups.get(&(group, block.region)).into_iter().flatten());
    for server in candidates.iter().filter_map(|number| servers.get(number)) {
        let same_family = server.address.is_none_or(|it| Family::of(it) == family);
        if owned.contains_key(&server.number) || (server.group == group && same_family) {
            service.servers.push(ServerView {
                slots: owned.get(&server.number).copied().unwrap_or(0),
                of_slots: total,
                ..server.clone()
            });
        }
    }
}

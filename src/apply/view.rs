//! What the kernel's tables say, read back into services and servers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::diff::{Counter, Observed, ObservedSet, ObservedTable};
use crate::emit::netlink::{Data, Element, TableFamily};
use crate::lower::abbreviated;
use crate::lower::number::KnownBlock;
use crate::lower::region::Region;
use crate::model::Standing;
use crate::outline::{Outline, ServerOutline, ServiceOutline};
use crate::ruleset::name::service_of;

use super::numbers;

/// Both tables, as services and servers.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// By name.
    pub services: BTreeMap<String, ServiceView>,
    /// Every server that the tables name, whether a service leads to it now or not.
    pub(super) all_servers: Vec<ServerView>,
    nat_vips: Vec<IpAddr>,
}

/// One service.
#[derive(Debug, Clone, Default)]
pub struct ServiceView {
    /// `nat` or `dr`.
    pub mode: &'static str,
    /// Its VIPs, as the file writes them, and what they counted: new connections in nat, packets in dr.
    pub vips: Vec<(String, Counter)>,
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
    /// `up`, `drain`, `down` or `backup`.
    pub state: String,
    /// What the file says, where something else was set.
    pub file: Option<Standing>,
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
        let mut view = Self::default();
        let known = numbers(observed);
        for family in TableFamily::BOTH {
            let Some(table) = observed.table(family) else {
                continue;
            };
            let mut servers = servers(table);
            let chains = table.chains.iter().map(|chain| &*chain.name);
            unabbreviate(chains, servers.values_mut().map(|server| &mut server.group));
            let mut groups = Groups::new();
            for server in servers.values() {
                let of = (&*server.group, Region::containing(server.number));
                groups.entry(of).or_default().push(server.number);
            }
            view.read_services(family, table);
            view.read_turned_away(table);
            let slots = slot_owners(table);
            for chain in &table.chains {
                let Some(name) = service_of(&chain.name) else {
                    continue;
                };
                let Some(service) = view.services.get_mut(name) else {
                    continue;
                };
                service.mode = mode_of(family);
                // Where no server is left there is nothing to draw from, but the service has its servers.
                let nobody = KnownBlock::default();
                let block = known.blocks.get(&chain.name).unwrap_or(&nobody);
                let v4 = chain.name.ends_with("_v4");
                add_servers(service, (name, v4), block, &slots, (&servers, &groups));
            }
            view.all_servers.extend(servers.into_values());
        }
        view
    }

    /// Every server that the kernel knows.
    pub fn servers(&self) -> impl Iterator<Item = &ServerView> {
        self.all_servers.iter()
    }

    /// The addresses of services in nat.
    pub fn nat_vips(&self) -> impl Iterator<Item = IpAddr> {
        self.nat_vips.iter().copied()
    }

    fn read_services(&mut self, family: TableFamily, table: &ObservedTable) {
        for set in &table.sets {
            let dispatch = match family {
                TableFamily::Inet => set.name.starts_with("svc"),
                TableFamily::Netdev => set.name.starts_with("vip"),
            };
            if !dispatch {
                continue;
            }
            for (at, element) in set.elements.iter().enumerate() {
                let Data::Verdict(_, Some(chain)) = &element.data else {
                    continue;
                };
                let (Some(name), Some((address, words))) = (service_of(chain), vip(element)) else {
                    continue;
                };
                if family == TableFamily::Inet {
                    self.nat_vips.push(address);
                }
                let service = self.services.entry(name.to_owned()).or_default();
                service.mode = mode_of(family);
                let counter = counter(set, at);
                // In dr the same VIP stands once for each interface.
                match service.vips.iter_mut().find(|(known, _)| *known == words) {
                    Some((_, sum)) => {
                        sum.packets += counter.packets;
                        sum.bytes += counter.bytes;
                    }
                    None => service.vips.push((words, counter)),
                }
            }
        }
    }

    fn read_turned_away(&mut self, table: &ObservedTable) {
        let Some(set) = table.set("away") else {
            return;
        };
        for (at, element) in set.elements.iter().enumerate() {
            let name = element.comment.as_deref();
            if let Some(service) = name.and_then(|name| self.services.get_mut(name)) {
                service.turned_away = Some(counter(set, at));
            }
        }
    }

    /// As much of an outline as the tables tell: what differs from it is a change, what it lacks is not known.
    pub fn outline(&self) -> Outline {
        let mut outline = Outline::default();
        for (name, service) in &self.services {
            let vips = service.vips.iter().map(|(words, _)| words.clone());
            let mut entry = ServiceOutline {
                vips: vips.collect(),
                ..ServiceOutline::default()
            };
            entry.vips.sort_unstable();
            outline.services.insert(name.clone(), entry);
        }
        for server in &self.all_servers {
            let described = ServerOutline {
                place: 0,
                endpoint: server.endpoint(),
                settings: BTreeMap::from([
                    ("weight".to_owned(), server.weight.to_string()),
                    ("state".to_owned(), server.state.clone()),
                ]),
            };
            if let Some(service) = outline.services.get_mut(&server.group) {
                service.servers.insert(server.name.clone(), described);
            } else if let Some(pool) = server.group.strip_prefix("pool ") {
                // Several pools used together are one block: what is whose cannot be told.
                if !pool.contains(' ') {
                    let pool = outline.pools.entry(pool.to_owned()).or_default();
                    pool.insert(server.name.clone(), described);
                }
            }
        }
        outline.partial = true;
        outline
    }
}

impl ServerView {
    /// `10.20.0.11:8080`, `[2001:db8::1]:80`, or the address alone.
    pub fn endpoint(&self) -> String {
        match (self.address, self.port) {
            (Some(address), None) => address.to_string(),
            (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
            (None, _) => "?".to_owned(),
        }
    }
}

/// Puts back the names of services that were too long for a comment, as their chains have them whole.
pub(super) fn unabbreviate<'a>(
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

const fn mode_of(family: TableFamily) -> &'static str {
    match family {
        TableFamily::Inet => "nat",
        TableFamily::Netdev => "dr",
    }
}

fn counter(set: &ObservedSet, at: usize) -> Counter {
    set.counters.get(at).copied().unwrap_or_default()
}

fn mark(element: &Element) -> Option<u32> {
    Some(u32::from_ne_bytes(element.key.as_slice().try_into().ok()?))
}

fn value(element: &Element) -> Option<&[u8]> {
    match &element.data {
        Data::Value(value) => Some(value.as_slice()),
        Data::None | Data::Verdict(..) => None,
    }
}

/// The server of each slot, by their numbers.
pub(super) fn slot_owners(table: &ObservedTable) -> HashMap<u32, u32> {
    let slots = table.set("slot").into_iter().flat_map(|s| &s.elements);
    slots
        .filter_map(|e| Some((mark(e)?, u32::from_ne_bytes(value(e)?.try_into().ok()?))))
        .collect()
}

/// An address at the start of a key, and how long it is; the family shows in the length of the key.
fn vip(element: &Element) -> Option<(IpAddr, String)> {
    let key = element.key.as_slice();
    let long = key.len() >= 20;
    let width = if long { 16 } else { 4 };
    let (address, rest) = key.split_at_checked(width)?;
    let address = address_of(address)?;
    let protocol = match rest.first()? {
        6 => "tcp",
        17 => "udp",
        132 => "sctp",
        _ => return None,
    };
    let port = |bytes: &[u8]| Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    let first = rest.get(4..).and_then(port);
    let last = element
        .key_end
        .as_ref()
        .and_then(|end| end.as_slice().get(width + 4..).and_then(port));
    let ports = match (first, last) {
        (None, _) => "any".to_owned(),
        (Some(first), Some(last)) if last != first => format!("{first}-{last}"),
        (Some(first), _) => first.to_string(),
    };
    Some((address, format!("{address} {protocol} {ports}")))
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|b| Ipv4Addr::from(b).into());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| Ipv6Addr::from(b).into()))
        .ok()
}

/// Every server of a table, by number: `weight 3 drain, web1 of www`.
fn servers(table: &ObservedTable) -> BTreeMap<u32, ServerView> {
    let mut servers = BTreeMap::new();
    let elements = |name: &str| table.set(name).into_iter().flat_map(|s| &s.elements);
    for element in elements("server") {
        let parsed = mark(element).zip(element.comment.as_deref().and_then(standing));
        if let Some((number, server)) = parsed {
            servers.insert(number, ServerView { number, ..server });
        }
    }
    for set in &table.sets {
        for (at, element) in set.elements.iter().enumerate() {
            let Some(server) = mark(element).and_then(|number| servers.get_mut(&number)) else {
                continue;
            };
            match &*set.name {
                "addr4" | "addr6" | "addr4p" | "addr6p" => {
                    server.address = value(element).and_then(address_of);
                    if !set.counters.is_empty() {
                        server.counter = counter(set, at);
                    }
                }
                "how" => server.counter = counter(set, at),
                "port" => {
                    let port = value(element).and_then(|v| v.try_into().ok());
                    server.port = port.map(u16::from_be_bytes);
                }
                _ => {}
            }
        }
    }
    servers
}

fn standing(comment: &str) -> Option<ServerView> {
    let (how, who) = comment.split_once(", ")?;
    let (name, group) = who.split_once(" of ").unwrap_or((who, ""));
    let mut words = how.strip_prefix("weight ")?.split(' ');
    Some(ServerView {
        number: 0,
        identity: who.to_owned(),
        name: name.to_owned(),
        group: group.to_owned(),
        address: None,
        port: None,
        weight: words.next()?.parse().ok()?,
        state: words.next().unwrap_or("up").to_owned(),
        file: None,
        slots: 0,
        of_slots: 0,
        counter: Counter::default(),
        to: None,
        from: None,
    })
}

/// The numbers of servers by where they were declared. A service that remembers its clients has numbers of its own for the
/// servers of a pool, so they stand apart.
type Groups<'s> = HashMap<(&'s str, Option<Region>), Vec<u32>>;

/// The servers that a service's chain leads to, and those of the same group that it does not lead to now.
fn add_servers(
    service: &mut ServiceView,
    (name, v4): (&str, bool),
    block: &KnownBlock,
    slots: &HashMap<u32, u32>,
    (servers, groups): (&BTreeMap<u32, ServerView>, &Groups<'_>),
) {
    let mut owned: HashMap<u32, usize> = HashMap::new();
    let mut total = 0;
    match block.slots {
        Some((first, count)) => {
            for slot in first..first.saturating_add(count) {
                if let Some(owner) = slots.get(&slot) {
                    *owned.entry(*owner).or_default() += 1;
                    total += 1;
                }
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
        let same_family = server.address.is_none_or(|address| address.is_ipv4() == v4);
        if owned.contains_key(&server.number) || (server.group == group && same_family) {
            service.servers.push(ServerView {
                slots: owned.get(&server.number).copied().unwrap_or(0),
                of_slots: total,
                ..server.clone()
            });
        }
    }
}

//! What became of the servers that had numbers: which number each has now, and whose connections, clients and counters
//! go with it.
//!
//! Mostly nothing moves. A number is another where a newcomer drew it, where a server came to be known by another VIP,
//! where a service begins or ends to remember its clients; and, all at once, where an older flbc had numbered the
//! servers.

use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::kernel::{Connection, Verdict};
use crate::lower::layout::Layout;
use crate::lower::region::Region;
use crate::model::{Ports, Vip};
use crate::notes::Notes;

use super::census::{Census, Resident, Residents};

/// What became of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fate {
    address: Option<IpAddr>,
    port: Option<u16>,
    /// The number that it has now; `None`: it is gone or down.
    to: Option<u32>,
}

/// What became of all servers whose numbers may have changed.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Which bits of marks the numbers are in that servers have now.
    layout: Layout,
    fates: FxHashMap<u32, Fate>,
    /// The number of each service that remembered its clients, and the one it has now.
    regions: FxHashMap<u32, Option<u32>>,
    /// The numbers that servers have now.
    now: FxHashSet<u32>,
    /// Numbers of servers that are gone or down, which other servers have now.
    taken: FxHashSet<u32>,
    /// Whether connections of a service belong to other numbers than before.
    rehomed: bool,
    /// Whether clients or flows are remembered under numbers that changed.
    memories: bool,
    /// The VIPs of nat before.
    vips: Vec<Vip>,
}

impl Moves {
    pub(crate) fn between(old: &Census, new: &Census) -> Self {
        let mut moves = Self {
            layout: new.layout,
            now: new.numbers().collect(),
            ..Self::default()
        };
        let old_services = old.services.iter();
        moves.vips = old_services
            .filter(|service| service.block.is_none_or(|at| is_nat(old, at)))
            .flat_map(|service| service.vips.iter().copied())
            .collect();
        let paths = Paths::to(new);
        moves.regions(old, new, &paths);
        moves.servers(old, &paths);
        moves
    }

    fn regions(&mut self, old: &Census, new: &Census, paths: &Paths<'_>) {
        // The same number stands for other servers where numbers lie further apart.
        let same_layout = old.layout == new.layout;
        let stays: FxHashSet<Region> = new.blocks.iter().filter_map(|b| b.region).collect();
        for service in &old.services {
            let Some(block) = service.block.and_then(|at| old.blocks.get(at)) else {
                continue;
            };
            let Some(region) = block.region else {
                continue;
            };
            let own = paths.of_chain(&service.chain, block.nat);
            let own = own.and_then(|block| block.region);
            // A service whose name changed has the number that it had.
            let renamed = || {
                let known = paths.chains.contains_key(&*service.chain);
                Some(region).filter(|region| same_layout && !known && stays.contains(region))
            };
            let to = own.or_else(renamed).map(Region::service);
            self.memories |= to != Some(region.service());
            self.regions.insert(region.service(), to);
        }
    }

    fn servers(&mut self, old: &Census, paths: &Paths<'_>) {
        let served: Vec<(&Residents, Option<&Residents>)> = old
            .services
            .iter()
            .filter_map(|service| {
                let block = old.blocks.get(service.block?)?;
                Some((block, paths.of_chain(&service.chain, block.nat)))
            })
            .collect();
        // Who has the number that it had; then who has another in the same service; then who is new, under whatever
        // number. One that was there before is not the other that had the same address: what is remembered need not have
        // it, as it did not change, and what it counted is its own.
        let mut homes: FxHashSet<u32> = FxHashSet::default();
        for block in &old.blocks {
            for was in &block.servers {
                if let Some((nat, now)) = paths.numbers.get(&was.number)
                    && *nat == block.nat
                    && now.is(was)
                {
                    homes.insert(now.number);
                    self.decide(block, was, Some(now));
                }
            }
        }
        let mut compared: FxHashSet<[*const Residents; 2]> = FxHashSet::default();
        for (block, now) in served {
            let Some(now) = now else { continue };
            if !compared.insert([std::ptr::from_ref(block), std::ptr::from_ref(now)]) {
                continue;
            }
            for was in &block.servers {
                if let Some(now) = now.same(was) {
                    self.rehomed |= block.nat && now.number != was.number;
                    homes.insert(now.number);
                    self.decide(block, was, Some(now));
                }
            }
        }
        for block in &old.blocks {
            for was in &block.servers {
                if !self.fates.contains_key(&was.number) {
                    let now = paths.anywhere(block.nat, was, &homes);
                    self.decide(block, was, now);
                }
            }
        }
    }

    fn decide(&mut self, block: &Residents, was: &Resident, now: Option<&Resident>) {
        if self.fates.contains_key(&was.number) {
            return;
        }
        let to = now.filter(|now| !now.down).map(|now| now.number);
        let remembered = !block.nat || block.region.is_some();
        let moved = to.is_some_and(|to| to != was.number);
        // What is remembered under a number that another server has from now on cannot wait.
        let taken = to.is_none()
            && self.now.contains(&was.number)
            && now.is_none_or(|now| now.number != was.number);
        if taken {
            self.taken.insert(was.number);
        }
        self.memories |= remembered && (moved || taken);
        self.fates.insert(
            was.number,
            Fate {
                address: was.address,
                port: was.port,
                to,
            },
        );
    }

    /// Whether connections are to be looked at.
    pub(super) fn concern_connections(&self) -> bool {
        self.rehomed || self.fates.iter().any(|(was, fate)| fate.to != Some(*was))
    }

    /// Whether what rules remember is to be looked at while they change.
    pub(super) const fn concern_memories(&self) -> bool {
        self.memories
    }

    /// From numbers that servers had to those that they have now, where these differ.
    pub(super) fn renumbered(&self) -> FxHashMap<u32, u32> {
        let fates = self.fates.iter();
        fates
            .filter_map(|(was, fate)| Some((*was, fate.to.filter(|to| to != was)?)))
            .collect()
    }

    /// The numbers that no server has any more, or one that is down.
    pub(super) fn dying(&self) -> FxHashSet<u32> {
        let fates = self.fates.iter();
        let dying = fates.filter(|(was, fate)| fate.to.is_none() && !self.taken.contains(was));
        dying.map(|(was, _)| *was).collect()
    }

    /// Whether it is the number of a server now.
    pub(super) fn is_number(&self, number: u32) -> bool {
        self.now.contains(&number)
    }

    /// What becomes of a client that is remembered for the service of this number and the server of that.
    pub(super) fn client(&self, service: u32, server: u32) -> Rewritten {
        let Some(to) = self.regions.get(&service) else {
            return Rewritten::Stays;
        };
        let fate = self.fates.get(&server);
        if *to == Some(service) && fate.is_none() {
            return Rewritten::Stays;
        }
        let number = fate.and_then(|fate| fate.to);
        let of_service = |number| Region::containing(number, self.layout).map(Region::service);
        match to.zip(number) {
            Some((to, number)) if (to, number) == (service, server) => Rewritten::Stays,
            Some((to, number)) if of_service(number) == Some(to) => Rewritten::As(to, number),
            Some(_) | None => Rewritten::Goes,
        }
    }

    /// What becomes of a flow that is remembered for this server; it has no service.
    pub(super) fn flow(&self, server: u32) -> Rewritten {
        match self.fates.get(&server).map(|fate| fate.to) {
            None => Rewritten::Stays,
            Some(Some(to)) if to == server => Rewritten::Stays,
            Some(Some(to)) => Rewritten::As(0, to),
            Some(None) => Rewritten::Goes,
        }
    }

    /// What a run that is killed leaves to the next one.
    pub(super) fn unfinished(&self) -> Unfinished {
        let fates = self.fates.iter();
        Unfinished {
            fates: fates.map(|(was, fate)| (*was, fate.clone())).collect(),
            vips: self.vips.clone(),
        }
    }

    /// Takes over what a run that was killed had left, and what has become of those servers since. `now` is everybody.
    pub(super) fn resume(&mut self, left: Unfinished, now: &Census) {
        self.now = now.numbers().collect();
        // Under the number that a connection was to get there may be nobody by now, or the server has another.
        let since = |fate: &Fate| match fate.to.and_then(|to| self.fates.get(&to)) {
            Some(since) => since.to,
            None => fate.to,
        };
        let fates: Vec<(u32, Fate)> = left
            .fates
            .into_iter()
            .map(|(was, fate)| {
                let to = since(&fate);
                (was, Fate { to, ..fate })
            })
            .collect();
        for (was, fate) in fates {
            self.rehomed = true;
            self.fates.entry(was).or_insert(fate);
        }
        self.vips.extend(left.vips);
    }
}

/// What becomes of what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewritten {
    /// Nothing.
    Stays,
    /// It goes.
    Goes,
    /// It is remembered for the service and the server of these numbers.
    As(u32, u32),
}

/// What a run that was killed had yet to do to connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    fates: Vec<(u32, Fate)>,
    vips: Vec<Vip>,
}

impl Unfinished {
    /// What a run that was killed had yet to do.
    pub(crate) fn of_killed(cache: &Notes, table: &str) -> Option<Self> {
        postcard::from_bytes(&cache.unfinished(table)?).ok()
    }
}

/// Writes down what is to be done to connections, for the next run if this one is killed.
pub(super) fn begin(moves: &Moves, (cache, table): (&Notes, &str), notes: &mut Vec<String>) {
    if !moves.concern_connections() {
        return;
    }
    // Plain data: serialization cannot fail.
    let owed = postcard::to_stdvec(&moves.unfinished()).unwrap_or_default();
    if let Err(error) = cache.begin(table, &owed) {
        notes.push(format!(
            "if this run is killed, connections keep the numbers that their servers had: {error}"
        ));
    }
}

fn is_nat(census: &Census, block: usize) -> bool {
    census.blocks.get(block).is_some_and(|block| block.nat)
}

/// Whether it is of nat, the address and the port.
type Endpoint = (bool, Option<IpAddr>, Option<u16>);

/// Ranges of ports, and what belongs to each.
type PortRanges<T> = Vec<(u16, u16, T)>;

/// The ways from what was to what is.
struct Paths<'c> {
    numbers: FxHashMap<u32, (bool, &'c Resident)>,
    chains: FxHashMap<&'c str, Option<&'c Residents>>,
    endpoints: FxHashMap<Endpoint, Vec<&'c Resident>>,
}

impl<'c> Paths<'c> {
    fn to(census: &'c Census) -> Self {
        let mut paths = Self {
            numbers: FxHashMap::default(),
            chains: FxHashMap::default(),
            endpoints: FxHashMap::default(),
        };
        for block in &census.blocks {
            for server in &block.servers {
                paths.numbers.insert(server.number, (block.nat, server));
                let endpoint = (block.nat, server.address, server.port);
                paths.endpoints.entry(endpoint).or_default().push(server);
            }
        }
        for service in &census.services {
            let block = service.block.and_then(|at| census.blocks.get(at));
            paths.chains.insert(&service.chain, block);
        }
        paths
    }

    fn of_chain(&self, chain: &str, nat: bool) -> Option<&'c Residents> {
        let block = self.chains.get(chain).copied().flatten();
        block.filter(|block| block.nat == nat)
    }

    /// The same server in any block, but for those that others are at home in; rather one of the same name, and rather one
    /// that is not down.
    fn anywhere(&self, nat: bool, was: &Resident, homes: &FxHashSet<u32>) -> Option<&'c Resident> {
        let known = self.endpoints.get(&(nat, was.address, was.port))?;
        let known = known
            .iter()
            .filter(|now| was.address.is_some() || now.is(was))
            .filter(|now| !homes.contains(&now.number));
        known
            .copied()
            .min_by_key(|now| (now.identity != was.identity, now.down))
    }
}

/// What is to become of connections.
pub(super) struct Judge<'a> {
    moves: &'a Moves,
    now: &'a Census,
    services: Endpoints<usize>,
    before: Endpoints<()>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(moves: &'a Moves, now: &'a Census) -> Self {
        let mut services = Endpoints::default();
        for service in &now.services {
            if let Some(block) = service.block.filter(|at| is_nat(now, *at)) {
                for vip in &service.vips {
                    services.insert(vip, block);
                }
            }
        }
        let mut before = Endpoints::default();
        for vip in &moves.vips {
            before.insert(vip, ());
        }
        Self {
            moves,
            now,
            services,
            before,
        }
    }

    /// A connection belongs to the server that answers it, of the service whose VIP it was made to. The mark alone would
    /// not tell: another program may mark its connections, and another balancer may have had other numbers.
    pub(super) fn of(&self, connection: &Connection) -> Verdict {
        let mark = connection.mark;
        let fate = self.moves.fates.get(&mark);
        if fate.is_none() && !self.moves.now.contains(&mark) {
            return Verdict::Keep;
        }
        let &Connection {
            protocol,
            vip,
            vip_port,
            server,
            server_port,
            ..
        } = connection;
        let service = self.services.find(vip, protocol, vip_port);
        let block = service.and_then(|at| self.now.blocks.get(*at));
        let now = block.and_then(|block| block.answering(server, server_port, vip_port));
        let marked = |number: u32| {
            if number == mark {
                Verdict::Keep
            } else {
                Verdict::Mark(number)
            }
        };
        if let Some(now) = now.filter(|now| !now.down) {
            return marked(now.number);
        }
        // The service has no such server any more; or the VIP is nobody's, and the connection goes on as long as the
        // service that had it has its server.
        let Some(fate) = fate else {
            return Verdict::Keep;
        };
        let was = Resident {
            number: mark,
            address: fate.address,
            port: fate.port,
            identity: "".into(),
            down: false,
        };
        let known = self.before.find(vip, protocol, vip_port).is_some();
        if !known || !was.answers(server, server_port, vip_port) {
            return Verdict::Keep;
        }
        fate.to.map_or(Verdict::Forget, marked)
    }
}

/// What belongs to VIPs: an exact port beats a range, and a range beats any port.
struct Endpoints<T> {
    exact: FxHashMap<(IpAddr, u8, u16), T>,
    ranges: FxHashMap<(IpAddr, u8), PortRanges<T>>,
    any: FxHashMap<(IpAddr, u8), T>,
}

impl<T> Default for Endpoints<T> {
    fn default() -> Self {
        Self {
            exact: FxHashMap::default(),
            ranges: FxHashMap::default(),
            any: FxHashMap::default(),
        }
    }
}

impl<T> Endpoints<T> {
    fn insert(&mut self, vip: &Vip, what: T) {
        let (address, protocol) = (vip.address, vip.protocol.number());
        match vip.ports {
            Ports::One(port) => drop(self.exact.insert((address, protocol, port), what)),
            Ports::Range(first, last) => {
                let ranges = self.ranges.entry((address, protocol)).or_default();
                ranges.push((first, last, what));
            }
            Ports::Any => drop(self.any.insert((address, protocol), what)),
        }
    }

    fn find(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> Option<&T> {
        let port = port.unwrap_or_default();
        let ranges = || self.ranges.get(&(address, protocol)).into_iter().flatten();
        let in_range = || {
            let mut found = ranges().filter(|(first, last, _)| (*first..=*last).contains(&port));
            found.next().map(|(_, _, what)| what)
        };
        self.exact
            .get(&(address, protocol, port))
            .or_else(in_range)
            .or_else(|| self.any.get(&(address, protocol)))
    }
}

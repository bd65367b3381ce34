//! A kernel in memory, for tests: it makes the changes, keeps the kernel's rules about them, and can refuse.
//!
//! It has the tables of one name. Nothing happens in it by itself: tests say what packets and other programs do, and what
//! becomes of its interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;

use crate::diff::{MisfitKind, Observed, ObservedSet};
use crate::emit::netlink::change::Change;
use crate::emit::netlink::{Counter, Element, Interfaces, TableFamily};
use crate::model::MacAddress;
use crate::ruleset::name;

mod happenings;
mod packets;
mod permitted;
mod world;

pub use happenings::Happenings;
use happenings::Notice;
use packets::{beside, keep, remember};
use permitted::permitted;

use super::error::Refusal;
use super::events::{Address, Event, Generation, Neighbour, Process};
use super::linux::next_generation;
use super::{
    Balanced, BaseChain, Committed, Connection, Counted, Entry, Flow, ForeignChain, Judged, Kernel,
    KernelError, Memory, Part, Recollection, Verdict,
};

/// What another program does to the tables in a transaction of its own; one that does nothing to them has others of its
/// own.
pub type Other = fn(&mut Observed);

/// A kernel in memory.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    /// What it has. What packets put into maps of servers is in `recollections` instead.
    pub observed: Observed,
    /// The next change of this place, counted over all transactions from 0, is refused with this error.
    pub refuse: Option<(usize, Errno)>,
    /// How many changes it was asked for so far.
    pub asked: usize,
    /// How many transactions it made.
    pub committed: usize,
    /// How often its tables were read.
    pub readings: usize,
    /// Its interfaces.
    pub interfaces: Interfaces,
    /// Others' chains.
    pub base_chains: Vec<BaseChain>,
    /// Its connections.
    pub connections: Vec<Connection>,
    /// Other tables of flbc's.
    pub siblings: Vec<(String, Vec<ObservedSet>)>,
    /// What its rules remember.
    pub recollections: Vec<Recollection>,
    /// The marks of connections that got no answer yet, which stand beside `connections`.
    pub unanswered: Vec<u32>,
    /// What it follows and does not translate.
    pub flows: Vec<Flow>,
    /// The last handle that it gave to a rule.
    pub handles: u64,
    /// Its clock.
    pub now: Duration,
    /// The MAC addresses of its interfaces; those of others have none.
    pub macs: BTreeMap<String, MacAddress>,
    /// Who comes right before a transaction of flbc's, one before each, the last first: it then comes too late.
    pub before: Vec<Other>,
    /// Who comes right behind a transaction of flbc's, one behind each, the last first.
    pub behind: Vec<Other>,
    /// What packets that come while a transaction is made put into the first map, before what the transaction puts there.
    pub meanwhile: Vec<Entry>,
    /// Whether whoever asks may not administer the network.
    pub powerless: bool,
    /// What connection tracking answers, if it answers nothing else.
    pub untracked: Option<Errno>,
    /// Whom it names as who commits flbc's transactions, if anybody.
    pub process: Option<Process>,
    /// Whom it names as who commits others' transactions, if anybody.
    pub stranger: Option<Process>,
    /// Those of its interfaces that are switched off.
    pub down: BTreeSet<String>,
    /// Those of its interfaces that have nobody at the other end.
    pub unplugged: BTreeSet<String>,
    /// The last number that it gave to an interface; none is given twice.
    pub last_interface: u32,
    /// The addresses of its interfaces.
    pub addresses: Vec<Address>,
    /// Its neighbours.
    pub neighbours: Vec<Neighbour>,
    /// What has happened since events were asked for first.
    pub happenings: Option<Happenings>,
}

impl Fake {
    /// Makes a transaction of another program.
    fn give_way(&mut self, other: impl FnOnce(&mut Observed)) {
        other(&mut self.observed);
        let mut observed = std::mem::take(&mut self.observed);
        self.number_rules(&mut observed);
        self.observed = observed;
        self.observed.generation = next_generation(self.observed.generation);
        self.tell_generation(self.observed.generation, self.stranger.clone());
    }

    /// Tells that the rules are of another generation, and by whom.
    fn tell_generation(&mut self, number: u32, process: Option<Process>) {
        let event = Event::Generation(Generation { number, process });
        self.tell(Notice::Event(event));
    }

    /// Tells something to whoever listens.
    fn tell(&mut self, notice: Notice) {
        if let Some(happenings) = &mut self.happenings {
            happenings.add(notice);
        }
    }

    /// That it may be asked at all.
    const fn ask(&self) -> Result<(), KernelError> {
        if self.powerless {
            return Err(KernelError::NoPrivilege);
        }
        Ok(())
    }

    /// That connection tracking may be asked.
    fn track(&self) -> Result<(), KernelError> {
        self.ask()?;
        let failed = |errno| KernelError::Failed {
            doing: "talk to connection tracking",
            errno,
        };
        self.untracked.map_or(Ok(()), |errno| Err(failed(errno)))
    }

    /// What `changes` would make of what is there.
    fn attempt(
        &mut self,
        changes: &[Change],
    ) -> Result<(Observed, Vec<Recollection>), KernelError> {
        let mut next = self.observed.clone();
        let mut remembered = self.recollections.clone();
        for (place, change) in changes.iter().enumerate() {
            let number = self.asked;
            self.asked += 1;
            let refused = |errno| {
                let refusal = Refusal::new(place, change, Some(0), None, errno);
                KernelError::Refused(vec![refusal])
            };
            if let Some((wanted, errno)) = self.refuse
                && wanted == number
            {
                return Err(refused(errno));
            }
            let change = &*beside(change, next.table(change.family));
            let outcome = permitted(next.table(change.family), &change.step).and_then(|()| {
                if remember(&mut remembered, &next, change)? {
                    return Ok(());
                }
                let one = std::slice::from_ref(change);
                next.apply(one).map_err(|misfit| misfit.why)
            });
            outcome.map_err(|why| {
                refused(match why {
                    MisfitKind::Missing => Errno::NOENT,
                    MisfitKind::Exists => Errno::EXIST,
                    MisfitKind::Busy => Errno::BUSY,
                    MisfitKind::Full => Errno::NFILE,
                })
            })?;
            self.number_rules(&mut next);
        }
        Ok((next, remembered))
    }

    fn number_rules(&mut self, observed: &mut Observed) {
        let tables = [&mut observed.inet, &mut observed.netdev];
        let chains = tables.into_iter().flatten().flat_map(|t| &mut t.chains);
        for rule in chains.flat_map(|chain| &mut chain.rules) {
            if rule.handle == 0 {
                self.handles += 1;
                rule.handle = self.handles;
            }
        }
    }

    fn matching<'a>(&'a self, filter: &'a Balanced) -> impl Iterator<Item = &'a Connection> {
        self.connections.iter().filter(|c| is_match(c, filter))
    }
}

fn is_match(connection: &Connection, filter: &Balanced) -> bool {
    filter.mark.is_none_or(|mark| mark == connection.mark)
        && filter.vip.is_none_or(|vip| vip == connection.vip)
}

impl Kernel for Fake {
    fn generation(&mut self) -> Result<u32, KernelError> {
        self.ask()?;
        Ok(self.observed.generation)
    }

    fn identities(&mut self, _table: &str) -> Result<[Option<String>; 2], KernelError> {
        self.ask()?;
        let tables = [&self.observed.inet, &self.observed.netdev];
        Ok(tables.map(|table| Some(table.as_ref()?.id.as_ref()?.to_string())))
    }

    fn observe_part(&mut self, _table: &str, part: Part<'_>) -> Result<Observed, KernelError> {
        self.ask()?;
        self.readings += 1;
        let mut observed = self.observed.clone();
        for family in TableFamily::BOTH {
            let Some(table) = observed.table_mut(family) else {
                continue;
            };
            for set in table.sets.iter_mut().filter(|set| set.shape.is_dynamic()) {
                set.elements.clear();
                set.counters.clear();
            }
            match part {
                Part::Whole => {}
                Part::Slots(wanted) => {
                    let wanted = wanted(family, table);
                    let slots = table.sets.iter_mut().filter(|s| *s.name == *name::SLOTS);
                    slots.for_each(|set| keep(set, &wanted));
                }
                Part::Counters(keys) => {
                    table.chains.clear();
                    let counts = |set: &ObservedSet| set.shape.counts() && !set.shape.is_dynamic();
                    table.sets.retain(counts);
                    for set in &mut table.sets {
                        if let Some(keys) = keys(family, &set.name) {
                            keep(set, keys);
                        }
                    }
                }
            }
        }
        Ok(observed)
    }

    fn counters(
        &mut self,
        _table: &str,
        family: TableFamily,
        set: &str,
    ) -> Result<Vec<(Element, Counter)>, KernelError> {
        self.ask()?;
        let table = self.observed.table(family);
        let found = table.and_then(|table| table.set(set));
        let counters = |set: &ObservedSet| {
            let elements = set.elements.iter().cloned();
            let none = std::iter::repeat(Counter::default());
            let counters = set.counters.iter().copied().chain(none);
            elements.zip(counters).collect()
        };
        Ok(found.map(counters).unwrap_or_default())
    }

    fn read_handles(&mut self, _table: &str, observed: &mut Observed) -> Result<(), KernelError> {
        self.ask()?;
        let rules = |of: &Observed, family, chain: &str| {
            let chains = of.table(family).into_iter().flat_map(|table| &table.chains);
            let mut named = chains.filter(|one| *one.name == *chain);
            named.next().map_or(0, |chain| chain.rules.len())
        };
        for family in TableFamily::BOTH {
            let chains = observed.table(family).into_iter();
            let mut lacking = chains.flat_map(|table| &table.chains);
            if lacking.any(|chain| {
                chain.lacks_handles()
                    && rules(&self.observed, family, &chain.name) != chain.rules.len()
            }) {
                return Err(KernelError::Changed);
            }
        }
        if observed.generation != self.observed.generation {
            return Err(KernelError::Changed);
        }
        observed.take_handles(&self.observed);
        Ok(())
    }

    fn commit(
        &mut self,
        _table: &str,
        changes: &[Change],
        expected: u32,
    ) -> Result<Committed, KernelError> {
        self.ask()?;
        if changes.is_empty() {
            return Ok(Committed {
                generation: expected,
            });
        }
        if let Some(other) = self.before.pop() {
            self.give_way(other);
        }
        if expected != self.observed.generation {
            return Err(KernelError::Changed);
        }
        let generation = next_generation(expected);
        (self.observed, self.recollections) = self.attempt(changes)?;
        self.observed.generation = generation;
        self.committed += 1;
        self.tell_generation(self.observed.generation, self.process.clone());
        if let Some(map) = self.recollections.first_mut() {
            map.entries.splice(..0, self.meanwhile.drain(..));
        }
        if let Some(other) = self.behind.pop() {
            self.give_way(other);
        }
        Ok(Committed { generation })
    }

    fn check(&mut self, _table: &str, changes: &[Change]) -> Result<(), KernelError> {
        self.ask()?;
        self.attempt(changes).map(drop)
    }

    fn siblings(
        &mut self,
        _own_table: &str,
        stem: &str,
    ) -> Result<Vec<(String, Vec<ObservedSet>)>, KernelError> {
        self.ask()?;
        let mut siblings = self.siblings.clone();
        for (_, sets) in &mut siblings {
            sets.retain(|set| set.name.starts_with(stem));
        }
        Ok(siblings)
    }

    fn now(&mut self) -> Duration {
        self.now
    }

    fn clock(&mut self) -> u64 {
        // As if it had been booted at the start of 2026.
        1_767_225_600 + self.now.as_secs()
    }

    fn interfaces(&mut self) -> Result<Interfaces, KernelError> {
        Ok(self.interfaces.clone())
    }

    fn mac_of(&mut self, interface: &str) -> Result<Option<MacAddress>, KernelError> {
        Ok(self.macs.get(interface).copied())
    }

    fn base_chains(&mut self, _own_table: &str) -> Result<Vec<BaseChain>, KernelError> {
        self.ask()?;
        Ok(self.base_chains.clone())
    }

    fn rules_of_chains(
        &mut self,
        chains: Vec<BaseChain>,
    ) -> Result<Vec<ForeignChain>, KernelError> {
        Ok(chains.into_iter().map(ForeignChain::bare).collect())
    }

    fn connections(&mut self, filter: &Balanced) -> Result<Vec<Connection>, KernelError> {
        self.track()?;
        Ok(self.matching(filter).cloned().collect())
    }

    fn connections_by_mark(
        &mut self,
        which: Counted,
    ) -> Result<FxHashMap<u32, usize>, KernelError> {
        self.track()?;
        let all = self.connections.iter().map(|one| one.mark);
        Ok(packets::by_mark(all, &self.unanswered, which))
    }

    fn memories(&mut self, _table: &str) -> Result<Vec<Memory>, KernelError> {
        self.ask()?;
        let memories = self.recollections.iter().map(|one| {
            let table = self.observed.table(one.family);
            let set = table.and_then(|table| table.set(&one.map));
            let mut by_server: FxHashMap<u32, usize> = FxHashMap::default();
            for entry in &one.entries {
                *by_server.entry(entry.server).or_default() += 1;
            }
            Memory {
                family: one.family,
                map: one.map.clone(),
                room: set.map_or(0, |set| set.shape.size),
                by_server,
            }
        });
        Ok(memories.collect())
    }

    fn forget_remembered(
        &mut self,
        _table: &str,
        servers: &FxHashSet<u32>,
        mut generation: u32,
    ) -> Result<(usize, u32), KernelError> {
        self.ask()?;
        let (mut forgotten, mut transactions) = (0, Vec::new());
        for one in &mut self.recollections {
            let before = one.entries.len();
            one.entries.retain(|entry| !servers.contains(&entry.server));
            let gone = before - one.entries.len();
            if gone > 0 {
                // A transaction for each map.
                if self.observed.generation == generation {
                    generation = next_generation(generation);
                }
                self.observed.generation = next_generation(self.observed.generation);
                transactions.push(self.observed.generation);
            }
            forgotten += gone;
        }
        for number in transactions {
            self.tell_generation(number, self.process.clone());
        }
        Ok((forgotten, generation))
    }

    fn judge(&mut self, judge: &dyn Fn(&Connection) -> Verdict) -> Result<Judged, KernelError> {
        self.track()?;
        let mut judged = Judged::default();
        self.connections
            .retain_mut(|connection| match judge(connection) {
                Verdict::Keep => true,
                Verdict::Mark(mark) => {
                    connection.mark = mark;
                    judged.marked += 1;
                    true
                }
                Verdict::Forget => {
                    judged.forgotten += 1;
                    false
                }
            });
        Ok(judged)
    }

    fn recollections(&mut self, _table: &str) -> Result<Vec<Recollection>, KernelError> {
        self.ask()?;
        Ok(self.recollections.clone())
    }

    fn untranslated(&mut self, of: Option<IpAddr>) -> Result<Vec<Flow>, KernelError> {
        self.track()?;
        let is_of =
            |flow: &&Flow| of.is_none_or(|of| [flow.source, flow.destination].contains(&of));
        Ok(self.flows.iter().filter(is_of).copied().collect())
    }

    fn forget_untranslated(
        &mut self,
        doomed: &dyn Fn(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        self.track()?;
        let before = self.flows.len();
        self.flows.retain(|flow| !doomed(flow));
        Ok(before - self.flows.len())
    }
}

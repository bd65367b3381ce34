//! A kernel that is lent: whoever has it for a while asks the same one.

use std::net::IpAddr;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::diff::{Counter, Observed, ObservedSet};
use crate::emit::netlink::change::Change;
use crate::emit::netlink::{Element, Interfaces, TableFamily};
use crate::model::MacAddress;

use super::{
    Balanced, BaseChain, Committed, Connection, Counted, Flow, ForeignChain, Judged, Kernel,
    KernelError, Memory, Part, Recollection, Traffic, Verdict,
};

impl<K: Kernel> Kernel for &mut K {
    fn generation(&mut self) -> Result<u32, KernelError> {
        (**self).generation()
    }

    fn identities(&mut self, table: &str) -> Result<[Option<String>; 2], KernelError> {
        (**self).identities(table)
    }

    fn observe_part(&mut self, table: &str, part: Part<'_>) -> Result<Observed, KernelError> {
        (**self).observe_part(table, part)
    }

    fn traffic(&mut self, table: &str) -> Result<Vec<Traffic>, KernelError> {
        (**self).traffic(table)
    }

    fn traffic_of(&mut self, table: &str, servers: &[u32]) -> Result<Vec<Traffic>, KernelError> {
        (**self).traffic_of(table, servers)
    }

    fn read_handles(&mut self, table: &str, observed: &mut Observed) -> Result<(), KernelError> {
        (**self).read_handles(table, observed)
    }

    fn commit(
        &mut self,
        table: &str,
        changes: &[Change],
        expected: u32,
    ) -> Result<Committed, KernelError> {
        (**self).commit(table, changes, expected)
    }

    fn counters(
        &mut self,
        table: &str,
        family: TableFamily,
        set: &str,
    ) -> Result<Vec<(Element, Counter)>, KernelError> {
        (**self).counters(table, family, set)
    }

    fn check(&mut self, table: &str, changes: &[Change]) -> Result<(), KernelError> {
        (**self).check(table, changes)
    }

    fn siblings(
        &mut self,
        own_table: &str,
        stem: &str,
    ) -> Result<Vec<(String, Vec<ObservedSet>)>, KernelError> {
        (**self).siblings(own_table, stem)
    }

    fn now(&mut self) -> Duration {
        (**self).now()
    }

    fn clock(&mut self) -> u64 {
        (**self).clock()
    }

    fn interfaces(&mut self) -> Result<Interfaces, KernelError> {
        (**self).interfaces()
    }

    fn mac_of(&mut self, interface: &str) -> Result<Option<MacAddress>, KernelError> {
        (**self).mac_of(interface)
    }

    fn base_chains(&mut self, own_table: &str) -> Result<Vec<BaseChain>, KernelError> {
        (**self).base_chains(own_table)
    }

    fn rules_of_chains(
        &mut self,
        chains: Vec<BaseChain>,
    ) -> Result<Vec<ForeignChain>, KernelError> {
        (**self).rules_of_chains(chains)
    }

    fn connections(&mut self, filter: &Balanced) -> Result<Vec<Connection>, KernelError> {
        (**self).connections(filter)
    }

    fn connections_by_mark(
        &mut self,
        which: Counted,
    ) -> Result<FxHashMap<u32, usize>, KernelError> {
        (**self).connections_by_mark(which)
    }

    fn memories(&mut self, table: &str) -> Result<Vec<Memory>, KernelError> {
        (**self).memories(table)
    }

    fn forget_remembered(
        &mut self,
        table: &str,
        servers: &FxHashSet<u32>,
        generation: u32,
    ) -> Result<(usize, u32), KernelError> {
        (**self).forget_remembered(table, servers, generation)
    }

    fn judge(&mut self, judge: &dyn Fn(&Connection) -> Verdict) -> Result<Judged, KernelError> {
        (**self).judge(judge)
    }

    fn recollections(&mut self, table: &str) -> Result<Vec<Recollection>, KernelError> {
        (**self).recollections(table)
    }

    fn untranslated(&mut self, of: Option<IpAddr>) -> Result<Vec<Flow>, KernelError> {
        (**self).untranslated(of)
    }

    fn forget_untranslated(
        &mut self,
        doomed: &dyn Fn(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        (**self).forget_untranslated(doomed)
    }
}

//! What passed between clients and real servers, beside who they are.

use rustc_hash::FxHashMap;

use crate::diff::Counter;
use crate::kernel::Traffic;
use crate::model::ModeKind;

use super::services::View;

impl View {
    /// The numbers of the servers in nat, each once: those under which packets are counted both ways.
    pub fn counted(&self) -> Vec<u32> {
        let services = self.services.values();
        let nat = services.filter(|service| service.mode == ModeKind::Nat);
        let numbers = nat.flat_map(|service| &service.servers);
        let numbers = numbers.flat_map(|server| [&server.number].into_iter().chain(&server.also));
        let mut numbers: Vec<u32> = numbers.copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Adds what the kernel counted both ways in nat. In dr only the way to a server is seen.
    pub fn count(&mut self, traffic: &[Traffic]) {
        let mut ways: FxHashMap<u32, [Counter; 2]> = FxHashMap::default();
        for one in traffic {
            let counters = ways.entry(one.server).or_default();
            let [to, from] = counters;
            *if one.answer { from } else { to } = one.counter;
        }
        for service in self.services.values_mut() {
            let nat = service.mode == ModeKind::Nat;
            for server in &mut service.servers {
                if nat {
                    let (mut to, mut from) = (Counter::default(), Counter::default());
                    for number in [&server.number].into_iter().chain(&server.also) {
                        let [one, other] = ways.get(number).copied().unwrap_or_default();
                        to += one;
                        from += other;
                    }
                    (server.to, server.from) = (Some(to), Some(from));
                } else {
                    server.to = Some(server.counter);
                }
            }
        }
    }
}

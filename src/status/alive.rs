//! What is left of servers that are to go, and who is sent to and does not answer.

use rustc_hash::FxHashMap;

use super::Status;
use crate::kernel::{Counted, Kernel, KernelError, Memory};
use crate::model::{ModeKind, State};
use crate::ruleset::name;
use crate::view::View;

/// So many drained servers are asked for one by one; of more, all connections are counted at once.
const FEW: usize = 8;

/// So many connections without an answer are no accident: a client asks again after a second.
const MANY: usize = 3;

impl Status {
    /// Adds how many connections there are of servers that are drained or down, and without an answer. Where the kernel
    /// follows no connections there is nothing to add.
    pub(super) fn ask_for_connections<K: Kernel>(
        &mut self,
        kernel: &mut K,
        memories: &[Memory],
        view: &View,
    ) -> Result<(), KernelError> {
        let is_nat = |mode: ModeKind| match mode {
            ModeKind::Nat => true,
            ModeKind::Dr => false,
        };
        let mut leaving = Vec::new();
        for service in self.services.iter().filter(|one| is_nat(one.mode)) {
            let numbers = numbers_of(view, &service.name);
            let servers = service.servers.iter().zip(numbers);
            leaving.extend(
                servers
                    .filter(|(server, _)| goes(server.state))
                    .map(|(_, number)| number),
            );
        }
        leaving.sort_unstable();
        leaving.dedup();
        let has_nat = self.services.iter().any(|one| is_nat(one.mode));
        let unanswered = if has_nat {
            kernel.connections_by_mark(Counted::Unanswered)?
        } else {
            FxHashMap::default()
        };
        let mut left: FxHashMap<u32, usize> = FxHashMap::default();
        if leaving.len() > FEW {
            left = kernel.connections_by_mark(Counted::All)?;
        } else {
            for number in &leaving {
                left.extend(kernel.connections_by_mark(Counted::Of(*number))?);
            }
        }
        for service in &mut self.services {
            let nat = is_nat(service.mode);
            let remembered = |number: u32, clients: bool| -> usize {
                let maps = memories
                    .iter()
                    .filter(|one| one.map.starts_with(name::CLIENTS) == clients);
                maps.filter_map(|one| one.by_server.get(&number)).sum()
            };
            let numbers = numbers_of(view, &service.name);
            for (server, number) in service.servers.iter_mut().zip(numbers) {
                if nat {
                    server.unanswered = unanswered.get(&number).copied();
                }
                if !goes(server.state) {
                    continue;
                }
                server.left = if nat {
                    Some(left.get(&number).copied().unwrap_or_default())
                } else {
                    service.flows.map(|_| remembered(number, false))
                };
                let returning = remembered(number, true);
                server.returning =
                    (server.state == State::Drain && returning > 0).then_some(returning);
            }
        }
        Ok(())
    }

    /// Who is sent to and does not answer, a sentence each.
    pub(super) fn unanswered(&self) -> Vec<String> {
        let servers = self.services.iter().flat_map(|service| {
            let servers = service.servers.iter();
            servers.map(move |server| (service, server))
        });
        let silent = servers.filter_map(|(service, server)| {
            let waiting = server.unanswered.filter(|waiting| *waiting >= MANY)?;
            Some(format!(
                "server `{}` of `{}` is sent to and does not answer: {waiting} connections wait for its first packet",
                server.name, service.name
            ))
        });
        silent.collect()
    }
}

/// Whether it takes no new clients.
const fn goes(state: State) -> bool {
    !state.takes_clients()
}

/// The numbers of a service's servers, in the order in which they are shown.
fn numbers_of<'v>(view: &'v View, service: &str) -> impl Iterator<Item = u32> + use<'v> {
    let service = view.services.get(service).into_iter();
    service.flat_map(|service| service.servers.iter().map(|server| server.number))
}

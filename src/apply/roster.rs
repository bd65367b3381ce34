//! Every server that the file declares, where the kernel's tables alone do not tell whose it is.

use rustc_hash::FxHashMap;

use crate::lower::identity_of;
use crate::model::{Family, Member, Model, Place, ServerKey, Service};

use super::Remembered;
use crate::view::{ServerView, View};

impl View {
    /// Adds the servers that no rule leads to now, in the order of the file, and what the file says where something
    /// else was set.
    pub fn complete(&mut self, known: &Remembered<'_>) {
        let marks = known.effective.marks();
        let mut idle: FxHashMap<&str, Vec<&ServerView>> = FxHashMap::default();
        for server in &self.all_servers {
            idle.entry(&server.identity).or_default().push(server);
        }
        for service in &known.model().services {
            let Some(seen) = self.services.get_mut(&*service.name) else {
                continue;
            };
            // By name, as there may be a hundred thousand.
            let mut left: Vec<Option<ServerView>> = Vec::with_capacity(seen.servers.len());
            let mut named: FxHashMap<String, Vec<usize>> = FxHashMap::default();
            for server in std::mem::take(&mut seen.servers).into_iter().rev() {
                named
                    .entry(server.name.clone())
                    .or_default()
                    .push(left.len());
                left.push(Some(server));
            }
            for (place, server) in declared(known.model(), service) {
                let found = named.get_mut(&*server.name).and_then(Vec::pop);
                let found = found.and_then(|at| left.get_mut(at)?.take());
                let mut shown = if let Some(found) = found {
                    found
                } else {
                    let identity = identity_of(known.model(), service, &server.name);
                    let namesakes = idle.get(&*identity).into_iter().flatten();
                    let mut same =
                        namesakes.filter(|idle| idle.address.is_none_or(|a| a == server.address));
                    let Some(idle) = same.next() else {
                        continue;
                    };
                    (*idle).clone()
                };
                shown.address = Some(server.address);
                shown.port = server.port;
                let server = server.name.clone();
                shown.mark = marks.get(&ServerKey { place, server }).copied();
                seen.servers.push(shown);
            }
            // What the kernel has beside it was put there by somebody else.
            seen.servers.extend(left.into_iter().rev().flatten());
        }
    }
}

/// The servers of a service that its VIPs can lead to, and where each is declared.
fn declared<'a>(
    model: &'a Model,
    service: &'a Service,
) -> impl Iterator<Item = (Place, &'a crate::model::RealServer)> {
    let families: Vec<Family> = service.families().collect();
    let all = service.members.iter().flat_map(move |member| {
        let (place, servers) = match member {
            Member::Server(server) => (
                Place::Service(service.name.clone()),
                std::slice::from_ref(server),
            ),
            Member::Pool(id) => {
                let pool = model.pool(*id);
                (Place::Pool(pool.name.clone()), &*pool.real_servers)
            }
        };
        servers.iter().map(move |server| (place.clone(), server))
    });
    all.filter(move |(_, server)| families.contains(&Family::of(server.address)))
}

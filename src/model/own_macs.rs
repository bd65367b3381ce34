//! The MAC addresses of the balancer's own interfaces, which frames carry as their source.
//!
//! `flbc apply` looks them up where the file does not give them; what was looked up is then as if the file gave it, until
//! it is looked up anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{DirectReturn, Interface, MacAddress, Member, Mode, Model, RealServer, Via};

impl Model {
    /// The interfaces whose own MAC address frames need, and the file does not give.
    pub fn lacking_source_macs(&self) -> BTreeSet<Interface> {
        let mut lacking = BTreeSet::new();
        for service in &self.services {
            if let Some(mode) = service.mode.direct() {
                let servers = self.real_servers(service);
                lacking.extend(servers.filter_map(|s| mode.lacks_source_mac(s).cloned()));
            }
        }
        lacking
    }

    /// Forgets what was looked up, as it may be another thing by now, and says what it was.
    pub fn forget_looked_up_macs(&mut self) -> BTreeMap<Interface, MacAddress> {
        let mut known = BTreeMap::new();
        for via in self.ways().filter(|via| via.looked_up) {
            via.looked_up = false;
            if let Some(mac) = via.from.take() {
                known.insert(via.interface.clone(), mac);
            }
        }
        known
    }

    /// Every `via`.
    fn ways(&mut self) -> impl Iterator<Item = &mut Via> {
        let Self { pools, services } = self;
        let shared = pools.iter_mut().flat_map(|pool| &mut pool.real_servers);
        let shared = shared.filter_map(|server| server.via.as_mut());
        let own = services.iter_mut().flat_map(|service| {
            let mode = match &mut service.mode {
                Mode::Dr(mode) => mode.via.as_mut(),
                Mode::Nat(_) => None,
            };
            let servers = service
                .members
                .iter_mut()
                .filter_map(|member| match member {
                    Member::Server(server) => server.via.as_mut(),
                    Member::Pool(_) => None,
                });
            mode.into_iter().chain(servers)
        });
        shared.chain(own)
    }

    /// Gives the interfaces' own MAC addresses where frames need them and the file does not give them. What `mac_of` does
    /// not know stays as it is.
    ///
    /// A server of a pool that has an interface of its own gets that interface's address for every service that uses the
    /// pool: whoever sends by the interface sends from this address.
    pub fn fill_source_macs(&mut self, mac_of: impl Fn(&str) -> Option<MacAddress>) {
        let Self { pools, services } = self;
        for service in services {
            let Mode::Dr(mode) = &mut service.mode else {
                continue;
            };
            for member in &mut service.members {
                let servers = match member {
                    Member::Server(server) => std::slice::from_mut(server),
                    Member::Pool(id) => pools
                        .get_mut(id.0)
                        .map_or(&mut [][..], |pool| &mut pool.real_servers),
                };
                for server in servers {
                    fill(mode, server, &mac_of);
                }
            }
        }
    }
}

/// Where the interface is the server's own, the address is written there; else where the service names it.
fn fill(
    mode: &mut DirectReturn,
    server: &mut RealServer,
    mac_of: &impl Fn(&str) -> Option<MacAddress>,
) {
    let known = mode.lacks_source_mac(server).and_then(|name| mac_of(name));
    if let Some(mac) = known
        && let Some(via) = server.via.as_mut().or(mode.via.as_mut())
    {
        via.from = Some(mac);
        via.looked_up = true;
    }
}

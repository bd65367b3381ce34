//! The MAC addresses of the balancer's own interfaces, which frames carry as their source.
//!
//! `flbc apply` looks them up where the file does not give them; what was looked up is then as if the file gave it.

use std::collections::BTreeSet;

use super::{DirectReturn, Interface, MacAddress, Member, Mode, Model, RealServer};

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
    }
}

//! Base chains of others: which are on the way of balanced traffic, and may drop it by their policy.
//!
//! An accepting policy says nothing, and a dropping one only that the chain *may* drop: its rules may accept what matters.

use std::collections::BTreeSet;

use crate::kernel::BaseChain;
use crate::model::{Interface, Model};

/// Which traffic a configuration lets through the kernel, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooked {
    /// There is a nat service with an IPv4 VIP.
    pub nat4: bool,
    /// There is a nat service with an IPv6 VIP.
    pub nat6: bool,
    /// The interfaces at whose ingress direct return takes packets.
    pub ingress: BTreeSet<Interface>,
    /// The interfaces by which direct return sends packets.
    pub egress: BTreeSet<Interface>,
}

impl Hooked {
    /// What this configuration needs.
    pub fn by(model: &Model) -> Self {
        let mut hooked = Self::default();
        for service in &model.services {
            if let Some(direct) = service.mode.direct() {
                hooked.ingress.extend(direct.on.iter().cloned());
                for server in model.real_servers(service) {
                    match direct.interface_to(server) {
                        Some(interface) => {
                            hooked.egress.insert(interface.clone());
                        }
                        None => hooked.egress.extend(direct.on.iter().cloned()),
                    }
                }
            } else {
                hooked.nat4 |= service.vips.iter().any(|vip| vip.address.is_ipv4());
                hooked.nat6 |= service.vips.iter().any(|vip| vip.address.is_ipv6());
            }
        }
        hooked
    }

    /// Whether chains of tables of this family see connections that nat balances.
    pub(super) fn nat_in(&self, family: &str) -> bool {
        match family {
            "ip" => self.nat4,
            "ip6" => self.nat6,
            "inet" => self.nat4 || self.nat6,
            _ => false,
        }
    }
}

/// What a foreign base chain may do to balanced traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Its policy drops what nat balances, unless its rules accept it.
    MayDropNat,
    /// Its policy drops what direct return takes in or sends out, unless its rules accept it.
    MayDropDirectReturn,
}

/// The chains among `foreign` that may stop what is `hooked` by their policy, unless their rules let it pass.
pub fn obstacles(foreign: Vec<BaseChain>, hooked: &Hooked) -> Vec<BaseChain> {
    let is_one = |chain: &BaseChain| !chain.accepts && trouble_of(chain, hooked).is_some();
    foreign.into_iter().filter(is_one).collect()
}

/// What a chain that drops something may do to what is hooked.
pub(super) fn trouble_of(chain: &BaseChain, hooked: &Hooked) -> Option<Trouble> {
    let on_one_of = |interfaces: &BTreeSet<Interface>| {
        let mut devices = chain.devices.iter();
        devices.any(|device| interfaces.contains(device.as_str()))
    };
    if matches!(chain.hook, "ingress" | "egress") {
        let interfaces = match chain.hook {
            "ingress" => &hooked.ingress,
            _ => &hooked.egress,
        };
        return on_one_of(interfaces).then_some(Trouble::MayDropDirectReturn);
    }
    // A connection from outside passes these three; `input` and `output` see only the balancer's own.
    let on_its_way = matches!(chain.hook, "prerouting" | "forward" | "postrouting");
    (on_its_way && hooked.nat_in(chain.family)).then_some(Trouble::MayDropNat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(family: &'static str, hook: &'static str, accepts: bool, device: &str) -> BaseChain {
        BaseChain {
            family,
            table: "firewall".to_owned(),
            chain: "strict".to_owned(),
            kind: "filter".to_owned(),
            hook,
            priority: 0,
            accepts,
            devices: vec![device.to_owned()],
        }
    }

    fn both() -> Hooked {
        Hooked {
            nat4: true,
            nat6: false,
            ingress: BTreeSet::from(["eth0".into()]),
            egress: BTreeSet::from(["eth1".into()]),
        }
    }

    #[test]
    fn a_policy_that_drops_on_the_way_may_drop() {
        let cases = [
            (
                chain("inet", "forward", false, ""),
                Some(Trouble::MayDropNat),
            ),
            (chain("ip", "forward", false, ""), Some(Trouble::MayDropNat)),
            (chain("ip6", "forward", false, ""), None),
            (chain("inet", "forward", true, ""), None),
            (chain("inet", "input", false, ""), None),
            (chain("arp", "input", false, ""), None),
            (
                chain("netdev", "ingress", false, "eth0"),
                Some(Trouble::MayDropDirectReturn),
            ),
            (chain("netdev", "ingress", false, "eth1"), None),
            (
                chain("netdev", "egress", false, "eth1"),
                Some(Trouble::MayDropDirectReturn),
            ),
        ];
        for (chain, trouble) in cases {
            assert_eq!(
                trouble_of(&chain, &both()).filter(|_| !chain.accepts),
                trouble,
                "{chain:?}"
            );
            let found = obstacles(vec![chain], &both());
            assert_eq!(found.len(), usize::from(trouble.is_some()));
        }
    }
}

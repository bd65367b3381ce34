//! Which packets VIPs are for.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Model, Ports, Vip};

/// The addresses, protocols and ports of VIPs, to look packets up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    exact: FxHashSet<(IpAddr, u8, u16)>,
    ranges: FxHashMap<(IpAddr, u8), Vec<RangeInclusive<u16>>>,
}

impl Served {
    /// What the services of a model serve that translate.
    pub fn by_nat(model: &Model) -> Self {
        let services = model.services.iter();
        let nat = services.filter(|service| service.mode.kernel_tracks());
        nat.flat_map(|service| service.vips.iter().copied())
            .collect()
    }

    /// Whether there is no VIP.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.ranges.is_empty()
    }

    /// Whether packets of this protocol, by its number, to this address and port are for one of the VIPs.
    pub fn has(&self, address: IpAddr, protocol: u8, port: u16) -> bool {
        let ranges = || self.ranges.get(&(address, protocol)).into_iter().flatten();
        self.exact.contains(&(address, protocol, port)) || ranges().any(|r| r.contains(&port))
    }
}

impl FromIterator<Vip> for Served {
    fn from_iter<T: IntoIterator<Item = Vip>>(vips: T) -> Self {
        let mut served = Self::default();
        for vip in vips {
            let of = (vip.address, vip.protocol.number());
            let range = match vip.ports {
                Ports::One(port) => {
                    served.exact.insert((of.0, of.1, port));
                    continue;
                }
                Ports::Range(first, last) => first..=last,
                Ports::Any => 0..=u16::MAX,
            };
            served.ranges.entry(of).or_default().push(range);
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;
    use crate::source::Span;

    #[test]
    fn a_port_alone_in_a_range_or_any() {
        let vip = |address: &str, protocol, ports| Vip {
            address: address.parse().unwrap(),
            protocol,
            ports,
            span: Span::NOWHERE,
        };
        let served: Served = [
            vip("192.0.2.10", Protocol::Tcp, Ports::One(80)),
            vip("192.0.2.10", Protocol::Udp, Ports::Range(100, 200)),
            vip("2001:db8::10", Protocol::Sctp, Ports::Any),
        ]
        .into_iter()
        .collect();
        let has = |address: &str, protocol: Protocol, port| {
            served.has(address.parse().unwrap(), protocol.number(), port)
        };
        assert!(has("192.0.2.10", Protocol::Tcp, 80));
        assert!(!has("192.0.2.10", Protocol::Tcp, 81));
        assert!(!has("192.0.2.10", Protocol::Udp, 80));
        assert!(!has("192.0.2.11", Protocol::Tcp, 80));
        assert!(has("192.0.2.10", Protocol::Udp, 100) && has("192.0.2.10", Protocol::Udp, 200));
        assert!(!has("192.0.2.10", Protocol::Udp, 99) && !has("192.0.2.10", Protocol::Udp, 201));
        assert!(has("2001:db8::10", Protocol::Sctp, 1));
        assert!(!Served::default().has("192.0.2.10".parse().unwrap(), 6, 80));
        assert!(Served::default().is_empty() && !served.is_empty());
    }
}

//! Addresses that are well written and cannot do what they stand for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address cannot be a VIP, and what to write instead.
pub(crate) fn impossible_vip(address: IpAddr) -> Option<(String, Option<String>)> {
    if is_link_local_v6(address) {
        let why = "is a link-local address, whose clients' packets are never forwarded";
        return Some((why.into(), None));
    }
    nobodys(address)
}

/// Why an address cannot be a real server in any mode, and what to write instead.
///
/// A link-local IPv6 address can: in `dr` the interface is known. See [`is_link_local_v6`].
pub(crate) fn impossible_server(address: IpAddr) -> Option<(String, Option<String>)> {
    nobodys(address)
}

/// Why an address cannot be the source of packets.
pub(crate) fn impossible_snat(address: IpAddr) -> Option<(String, Option<String>)> {
    impossible_vip(address)
}

/// Whether an address means another host on every link.
pub(crate) fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn nobodys(address: IpAddr) -> Option<(String, Option<String>)> {
    let why = match address {
        IpAddr::V4(v4) => nobodys_v4(v4)?,
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                let why = "is an IPv4-mapped IPv6 address, which no packet carries";
                return Some((why.into(), Some(format!("write {v4}"))));
            }
            nobodys_v6(v6)?
        }
    };
    Some((why.into(), None))
}

fn nobodys_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, 0, 0, 0] => "is the unspecified address, which is nobody's",
        [0, ..] => "is in 0.0.0.0/8, which is nobody's",
        [127, ..] => "is a loopback address, which no packet from another host carries",
        [224..=239, ..] => "is a multicast address, which many hosts share",
        [255, 255, 255, 255] => "is the broadcast address, which every host shares",
        _ => return None,
    })
}

fn nobodys_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("is the unspecified address, which is nobody's")
    } else if address.is_loopback() {
        Some("is the loopback address, which no packet from another host carries")
    } else if address.is_multicast() {
        Some("is a multicast address, which many hosts share")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_nobodys() {
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "fe80::1",
        ] {
            assert!(impossible_vip(bad.parse().unwrap()).is_some(), "{bad}");
        }
        for good in [
            "10.0.0.1",
            "169.254.1.1",
            "223.255.255.255",
            "240.0.0.1",
            "2001:db8::1",
            "fd00::1",
        ] {
            assert_eq!(impossible_vip(good.parse().unwrap()), None, "{good}");
            assert_eq!(impossible_server(good.parse().unwrap()), None, "{good}");
        }
        assert_eq!(impossible_server("fe80::1".parse().unwrap()), None);
    }
}

//! The needs of a real server as nftables rules alone: packets for a VIP are taken by rewriting their destination to
//! the machine's own address. It then never holds the VIP, so there is nothing to hide.

use std::fmt::Write as _;

use super::Needs;
use crate::model::{Family, Ports};

/// A ruleset for `nft -f`, which can be loaded again and again, and how to take it back.
pub fn nft(needs: &Needs) -> String {
    let mut text = String::new();
    for line in needs.preface() {
        let _ = writeln!(text, "# {line}");
    }
    let table = &needs.label;
    if needs.taken.is_empty() {
        text.push_str("# There is nothing that rules can do here.\n");
    } else {
        let _ = write!(
            text,
            "#
# Load it with: nft -f FILE
# Take it back with: nft delete table inet {table}
#
# The machine does not hold the VIP: what comes for it is sent to the machine's own address, and answers get the VIP
# back as their source. So nobody can be told of it by ARP or NDP. Programs must listen on the own address or on all.

add table inet {table}
delete table inet {table}
table inet {table} {{
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
"
        );
        for taken in &needs.taken {
            let (ip, own) = match Family::of(taken.own) {
                Family::V4 => ("ip", taken.own),
                Family::V6 => ("ip6", taken.own),
            };
            let protocol = taken.vip.protocol.name();
            let ports = match taken.vip.ports {
                Ports::Any => format!("meta l4proto {protocol}"),
                Ports::One(_) | Ports::Range(..) => {
                    format!("{protocol} dport {}", taken.vip.ports)
                }
            };
            let vip = taken.vip.address;
            let _ = writeln!(text, "        {ip} daddr {vip} {ports} dnat {ip} to {own}");
        }
        text.push_str("    }\n}\n");
    }
    for gateway in &needs.gateways {
        let ip = match Family::of(*gateway) {
            Family::V4 => "ip",
            Family::V6 => "ip -6",
        };
        let _ = writeln!(
            text,
            "\n# Rules cannot route. Answers must go back through the balancer: {ip} route replace default via {gateway}"
        );
    }
    text
}

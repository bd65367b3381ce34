//! Names of tables, sets and chains that every nft can read back.

use std::sync::Arc;

use crate::model::{Family, Protocol};

/// The name of both tables unless the operator chooses another.
pub const DEFAULT_TABLE: &str = "flbc";

/// The longest table name.
pub const MAX_TABLE: usize = 64;

/// Why a table cannot have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTableName {
    /// Not a letter and then letters, digits, `_` and `-`, or not 1 to [`MAX_TABLE`] of them.
    Form,
    /// A word of nft's own language, which it does not read as a name even in quotes.
    Reserved,
}

/// Whether every nft from 1.0.6 on can read a table of this name.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn check_table(name: &str) -> Result<(), BadTableName> {
    let well_formed = (1..=MAX_TABLE).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !well_formed {
        Err(BadTableName::Form)
    } else if RESERVED.contains(&name) {
        Err(BadTableName::Reserved)
    } else {
        Ok(())
    }
}

/// The words that nft 1.0.6 refuses as a table's name, found by trying every word of its manual and of its
/// library, and the keywords that later versions added.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "accept", "add", "ah", "all", "and", "arp", "auto-merge", "bridge", "cgroup", "chain",
    "comment", "comp", "constant", "continue", "counter", "cpu", "create", "ct", "day", "dccp",
    "define", "delete", "describe", "destroy", "device", "devices", "dnat", "drop", "dst",
    "dup", "dynamic", "ecn", "element", "elements", "eq", "esp", "ether", "exists", "expires",
    "export", "exthdr", "fib", "flags", "flow", "flowtable", "flush", "frag", "fwd", "gc-interval", "ge", "geneve", "get", "goto", "gre", "gretap", "gt", "handle", "hbh", "hook",
    "hour", "ibriport", "ibrname", "ibrport", "icmp", "icmpv6", "igmp", "iif", "iifgroup",
    "iifname", "iiftype", "import", "include", "index", "inet", "inner", "insert", "interval",
    "ip", "ip6", "ipsec", "jhash", "jump", "last", "le", "limit", "list", "log", "lt", "map",
    "mark", "masquerade", "meta", "meter", "mh", "missing", "monitor", "ne", "netdev",
    "nftrace", "not", "notrack", "numgen", "obriport", "obrname", "obrport", "offload", "oif",
    "oifgroup", "oifname", "oiftype", "or", "osf", "pkttype", "policy", "position", "priority",
    "queue", "quota", "random", "redefine", "redirect", "reject", "rename", "replace", "reset",
    "return", "rt", "rt0", "rt2", "rtclassid", "rule", "ruleset", "sctp", "secmark", "set",
    "size", "skgid", "skuid", "snat", "socket", "srh", "symhash", "synproxy", "table", "tcp",
    "th", "time", "timeout", "tproxy", "type", "typeof", "udp", "udplite", "undefine", "update",
    "vlan", "vmap", "vxlan", "xor", "xt",
];

/// The set of every real server.
pub const SERVERS: &str = "server";

/// The chain, and the map that it looks up, for clients who are turned away.
pub const AWAY: &str = "away";

/// How the names of the maps begin that remember clients.
pub const CLIENTS: &str = "persist";

/// The set in which rules count what each real server is sent and what it answers.
pub const TRAFFIC: &str = "traffic";

/// How the name of the chain begins that says how many low bits of marks are 0.
const SHIFT: &str = "mark_shift_";

/// The chain that says how many low bits of marks are 0: `mark_shift_8`.
pub fn shift_chain(bits: u8) -> String {
    format!("{SHIFT}{bits}")
}

/// `8` of `mark_shift_8`
pub fn shift_of(chain: &str) -> Option<u8> {
    chain.strip_prefix(SHIFT)?.parse().ok()
}

/// The chain of one service for one family: `svc_www_v4`.
pub fn service_chain(service: &str, family: Family) -> Arc<str> {
    format!("svc_{service}_v{}", digit(family)).into()
}

/// `www` of `svc_www_v4`
pub fn service_of(chain: &str) -> Option<&str> {
    let name = chain.strip_prefix("svc_")?;
    name.strip_suffix("_v4")
        .or_else(|| name.strip_suffix("_v6"))
}

/// The chain that sends on the errors about one service's packets: `err_www_v4`.
pub fn error_chain(service: &str, family: Family) -> Arc<str> {
    format!("err_{service}_v{}", digit(family)).into()
}

/// Whether a chain is a service's own.
pub fn is_service_chain(name: &str) -> bool {
    name.starts_with("svc_")
}

/// A set or chain that each family has one of: `addr4`.
pub fn per_family(stem: &str, family: Family, rest: &str) -> Arc<str> {
    format!("{stem}{}{rest}", digit(family)).into()
}

/// How the names of maps go on that hold ranges of ports of one protocol: `_range_tcp` of `svc4_range_tcp`.
pub fn ranges(protocol: Protocol) -> String {
    format!("_range_{}", protocol.name())
}

/// The protocol whose ranges of ports a map holds: TCP of `vip4_range_tcp_eth0`.
pub fn ranges_of(map: &str) -> Option<Protocol> {
    let (_, rest) = map.split_once("_range_")?;
    let word = rest.split('_').next()?;
    Protocol::ALL.into_iter().find(|one| one.name() == word)
}

/// A set or chain that each interface has one of: `on_eth0`. `@`, which nft does not take in a name, becomes
/// `/`, which an interface's name never holds.
pub fn per_interface(stem: &str, interface: &str) -> Arc<str> {
    format!("{stem}_{}", interface.replace('@', "/")).into()
}

const fn digit(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

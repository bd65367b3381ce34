//! Names of tables, sets and chains that every nft can read back.

use std::sync::Arc;

use crate::model::{Family, ModeKind, Protocol};

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

/// Whether `nft` reads a name that others gave to a table or chain as a name, in a command.
pub fn is_readable(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(inner)
        && !RESERVED.contains(&name)
}

/// The set of every real server.
pub const SERVERS: &str = "server";

/// The map from slots to the numbers of real servers.
pub const SLOTS: &str = "slot";

/// The map from real servers to their own ports.
pub const PORTS: &str = "port";

/// The map from real servers to their MAC addresses.
pub const MACS: &str = "mac";

/// The map from real servers to the chains that send to them.
pub const WAYS: &str = "how";

/// The map from real servers that keep their flows to the chain that remembers them.
pub const TRACKERS: &str = "tracker";

/// The map from real servers to the interfaces they are reached by.
pub const DEVICES: &str = "dev";

/// The set of the real servers of services that masquerade.
pub const MASQUERADED: &str = "masq";

/// How the names of the maps begin from real servers to the source address that connections to them get.
pub const FIXED_SOURCES: &str = "snat";

/// The map from real servers that clients may return to, to the chains that remember clients.
pub const KEEPERS: &str = "keeper";

/// How the names of the chains begin that look whether a client is remembered.
pub const RETURN: &str = "return";

/// How the names of the chains begin that look whether a flow is remembered.
pub const KNOWN: &str = "known";

/// How the names of the chains and maps begin that say who may come.
pub const ACCESS: &str = "access";

/// The chain that refuses, where no server is left.
pub const REFUSE: &str = "refuse";

/// How the names of the maps begin that have every VIP of a table, of nat and dr alike.
pub const LOCAL: &str = "local";

/// How the names of nat's maps begin that find a packet's service, and those of the services' chains.
const SERVICES: &str = "svc";

/// How the names of the sets of nat's VIPs begin, and those of the maps of direct return that find a packet's service.
pub const VIPS: &str = "vip";

/// How the names of the maps begin that find the service of later fragments: `frag4_eth0`.
pub const FRAGMENTS: &str = "frag";

/// How the names of the maps begin from real servers to their addresses, and how those end that count servers with a
/// port of their own.
const ADDRESSES: &str = "addr";
const WITH_PORT: &str = "p";

/// How the names of maps go on that hold VIPs of any port: `svc4_any`.
pub const ANY: &str = "_any";

/// The chain, and the map that it looks up, for clients who are turned away.
pub const AWAY: &str = "away";

/// How the names of the maps begin that remember clients.
pub const CLIENTS: &str = "persist";

/// The map that remembers flows.
pub const FLOWS: &str = "track";

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
    format!("{SERVICES}_{service}_v{}", digit(family)).into()
}

/// `www` of `svc_www_v4`
pub fn service_of(chain: &str) -> Option<&str> {
    Some(service_and_family_of(chain)?.0)
}

/// `www` and IPv4 of `svc_www_v4`
pub fn service_and_family_of(chain: &str) -> Option<(&str, Family)> {
    let name = chain.strip_prefix(SERVICES)?.strip_prefix('_')?;
    let of = |rest, family| Some((name.strip_suffix(rest)?, family));
    of("_v4", Family::V4).or_else(|| of("_v6", Family::V6))
}

/// The chain that sends on the errors about one service's packets: `err_www_v4`.
pub fn error_chain(service: &str, family: Family) -> Arc<str> {
    format!("err_{service}_v{}", digit(family)).into()
}

/// Whether a chain is a service's own.
pub fn is_service_chain(name: &str) -> bool {
    name.strip_prefix(SERVICES)
        .is_some_and(|rest| rest.starts_with('_'))
}

/// How the names of the maps begin that find a packet's service: those of `svc4_any`, and of `vip4_any_eth0`.
pub const fn dispatch(mode: ModeKind) -> &'static str {
    match mode {
        ModeKind::Nat => SERVICES,
        ModeKind::Dr => VIPS,
    }
}

/// The map from a family's real servers to their addresses: `addr4`.
pub fn addresses(family: Family) -> Arc<str> {
    per_family(ADDRESSES, family, "")
}

/// The same for nat's real servers that have ports of their own: `addr4p`.
pub fn addresses_with_ports(family: Family) -> Arc<str> {
    per_family(ADDRESSES, family, WITH_PORT)
}

/// Whether it is one of these maps.
pub fn is_addresses(map: &str) -> bool {
    let family = map.strip_prefix(ADDRESSES);
    let family = family.map(|rest| rest.strip_suffix(WITH_PORT).unwrap_or(rest));
    matches!(family, Some("4" | "6"))
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

/// The interface whose packets such a map of direct return is for: `eth0` of `vip4_eth0`, `vip4_any_eth0` and
/// `vip4_range_tcp_eth0`.
pub fn interface_of(map: &str) -> Option<&str> {
    let rest = map.strip_prefix(VIPS)?.strip_prefix(['4', '6'])?;
    let kind = ranges_of(map).map_or_else(|| ANY.to_owned(), ranges);
    let behind = rest.strip_prefix(&*kind);
    let behind = behind.filter(|behind| behind.starts_with('_'));
    behind.unwrap_or(rest).strip_prefix('_')
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

/// What names of sets begin with: the rest is a family, an interface, a size.
const SET_STEMS: [&str; 29] = [
    SERVERS,
    SLOTS,
    PORTS,
    MACS,
    WAYS,
    DEVICES,
    MASQUERADED,
    FIXED_SOURCES,
    KEEPERS,
    ACCESS,
    LOCAL,
    SERVICES,
    VIPS,
    ADDRESSES,
    AWAY,
    CLIENTS,
    FLOWS,
    TRAFFIC,
    TRACKERS,
    "resting",
    "real",
    "errors",
    "answers",
    "frag",
    "from",
    "alive",
    "nat",
    "drained",
    "down",
];

/// What names of chains begin with.
const CHAIN_STEMS: [&str; 40] = [
    SERVICES,
    "err",
    "on",
    REFUSE,
    RETURN,
    KNOWN,
    ACCESS,
    FLOWS,
    AWAY,
    "input",
    "output",
    "prerouting",
    "postrouting",
    "forward",
    "guard",
    "slotted",
    "untranslated",
    "untaken",
    "translate",
    "source",
    "send",
    "errors",
    "dispatch",
    "balanced",
    "unbalanced",
    "returned",
    "tracked",
    "remember",
    "lower",
    "keep",
    "fresh",
    "forget",
    "follow",
    "denied",
    "refused",
    "mark_shift",
    "frag",
    "answers",
    "alive",
    "drop",
];

/// Whether flbc gives names like this to sets.
pub fn is_own_set(name: &str) -> bool {
    has_stem(name, &SET_STEMS)
}

/// Whether flbc gives names like this to chains.
pub fn is_own_chain(name: &str) -> bool {
    has_stem(name, &CHAIN_STEMS)
}

/// Whether a table of flbc's always has one of these sets.
pub fn is_sign(name: &str) -> bool {
    name == SERVERS
        || name
            .strip_prefix(LOCAL)
            .is_some_and(|rest| rest.starts_with(['4', '6']))
}

fn has_stem(name: &str, stems: &[&str]) -> bool {
    stems.iter().any(|stem| {
        let rest = name.strip_prefix(*stem);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['4', '6', '_']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_is_known_again() {
        for family in Family::BOTH {
            let chain = service_chain("a_v6", family);
            assert_eq!(service_and_family_of(&chain), Some(("a_v6", family)));
            assert!(is_service_chain(&chain));
            assert!(is_addresses(&addresses(family)));
            assert!(is_addresses(&addresses_with_ports(family)));
            let stem = dispatch(ModeKind::Dr);
            for interface in ["eth0", "eth0.5", "anything", "range"] {
                let on = per_interface("", interface);
                let kinds = [String::new(), ANY.to_owned(), ranges(Protocol::Sctp)];
                for kind in kinds {
                    let map = per_family(stem, family, &format!("{kind}{on}"));
                    assert_eq!(interface_of(&map), Some(interface), "{map}");
                    assert_eq!(ranges_of(&map).is_some(), kind.contains("range"), "{map}");
                }
            }
        }
        for other in ["addr", "addr4x", "addr5", "address", PORTS, MACS] {
            assert!(!is_addresses(other), "{other}");
        }
        for other in ["vip4", "vip6", "svc4_any", "vip_eth0", LOCAL] {
            assert_eq!(interface_of(other), None, "{other}");
        }
        assert!(!is_service_chain("svc4") && service_of("svc_www").is_none());
    }
}

//! Words of other tools, and parts of flb's own statements, that start no statement in flb: what to write for each, or that
//! flb has none.

use super::mend::as_statement;
use super::vocabulary::{Keyword, OptionWord, SCHEDULER_ALIASES};

/// What flb has in place of a word.
enum Instead {
    /// This statement, made of what stands behind the word where that tells, else this example.
    Statement(Keyword, &'static str),
    /// This text.
    Text(&'static str),
    /// This text, and what else there is to say.
    Noted(&'static str, &'static str),
    /// Nothing: a sentence that says why, or where it is to be had.
    Nothing(&'static str),
}

use Instead::{Noted, Nothing, Statement, Text};

/// What to write instead of a word that starts no statement in flb; `arguments` stand behind it.
pub(super) fn instead_of(word: &str, arguments: &str) -> Option<String> {
    if let Some(option) = OptionWord::of(word) {
        return Some(format!(
            "write `server 10.20.0.11 {}`: it stands at the end of a server's line",
            option.example()
        ));
    }
    let lower = word.to_ascii_lowercase();
    let mut all = WORDS.iter();
    let (_, instead) = all.find(|(words, _)| words.contains(&lower.as_str()))?;
    Some(match instead {
        Statement(Keyword::Scheduler, _) => format!("write `{}`", scheduler(arguments)),
        Statement(keyword, example) => match as_statement(*keyword, arguments) {
            Some(mended) if !arguments.trim().is_empty() => mended.help(),
            _ => format!("write `{example}`"),
        },
        Text(text) => format!("write `{text}`"),
        Noted(text, note) => format!("write `{text}`{note}"),
        Nothing(why) => format!("take it out: {why}"),
    })
}

/// The scheduler that comes closest to another tool's.
fn scheduler(arguments: &str) -> String {
    let name = arguments.split_whitespace().next().unwrap_or_default();
    let name = name.trim_end_matches(';').to_ascii_lowercase();
    let is_known = SCHEDULER_ALIASES
        .iter()
        .any(|(alias, own, _)| *alias == name || *own == name);
    match name.as_str() {
        "random" | "hash" => format!("scheduler {name}"),
        _ if is_known => format!("scheduler {name}"),
        "source" | "ip_hash" | "ip-hash" | "dh" | "uri" | "hdr" => {
            "scheduler hash by source".to_owned()
        }
        "consistent" | "lblc" | "lblcr" | "ring_hash" | "ring-hash" => {
            "scheduler maglev".to_owned()
        }
        _ => "scheduler round-robin".to_owned(),
    }
}

const VIP: Instead = Statement(Keyword::Vip, "vip 192.0.2.10 tcp 80, 443");
const SERVER: Instead = Statement(Keyword::Server, "server 10.20.0.11:8080");
const SERVICE: Instead = Noted(
    "service www {",
    ", and in it `vip 192.0.2.10 tcp 80` and the servers",
);
const POOL: Instead = Noted(
    "pool web {",
    ", and in it `server 10.20.0.11:8080`, a line for each",
);
const CHECKS: &str =
    "flbc does not check servers; mark one that is gone with `down` at the end of its line";
const VRRP: &str =
    "flbc adds no address to an interface and speaks no VRRP; keepalived can do that beside it";
const LOGS: &str = "flbc writes no log; `flbc status` shows what is counted";
const LAYER_7: &str = "rules in the kernel see addresses and ports, not requests";
const PROCESS: &str = "flbc is no process that stays; its rules are in the kernel";
const LIMITS: &str =
    "flbc limits neither rates nor connections; rules of your own can do that beside it";

/// The words of keepalived, ipvsadm, HAProxy, nginx, nft, nftlb and Kubernetes; all in small letters.
const WORDS: &[(&[&str], Instead)] = &[
    // Services.
    (
        &[
            "virtual_server",
            "virtual_server_group",
            "virtual-server",
            "frontend",
            "farm",
            "farms",
            "vserver",
            "virtual",
            "vs",
        ],
        SERVICE,
    ),
    (
        &[
            "upstream",
            "backend",
            "backends",
            "endpoints",
            "target_group",
            "server_pool",
        ],
        POOL,
    ),
    (
        &[
            "http",
            "stream",
            "events",
            "listeners",
            "services",
            "spec",
            "loadbalancer",
        ],
        Noted("service www {", ": flb has no block around its services"),
    ),
    // Servers and pools in a service.
    (
        &[
            "proxy_pass",
            "use_backend",
            "default_backend",
            "use",
            "using",
            "use_pool",
            "target",
            "targets",
            "fastcgi_pass",
        ],
        Text("pool web"),
    ),
    (
        &[
            "real_server",
            "realserver",
            "real-server",
            "real",
            "rs",
            "member",
            "members",
            "servers",
            "node",
            "nodes",
            "endpoint",
            "peer",
            "host",
            "server-template",
            "default-server",
            "destination",
            "dest",
            "rip",
        ],
        SERVER,
    ),
    (
        &["sorry_server", "sorry_server_inhibit", "fallback"],
        Text("server 10.20.0.99:8080 backup"),
    ),
    // VIPs.
    (
        &[
            "listen",
            "bind",
            "address",
            "addr",
            "ip",
            "virtual-addr",
            "virtual_addr",
            "virtual-ports",
            "external_ip",
            "externalip",
            "loadbalancerip",
            "clusterip",
        ],
        VIP,
    ),
    (
        &[
            "protocol",
            "proto",
            "tcp",
            "udp",
            "sctp",
            "port",
            "ports",
            "virtual_port",
            "targetport",
            "nodeport",
            "udp_port",
        ],
        Noted(
            "vip 192.0.2.10 tcp 80, 443",
            ": protocol and ports stand in the line of the VIP",
        ),
    ),
    (
        &["fwmark", "mark"],
        Noted(
            "vip 192.0.2.10 tcp 80",
            ": a VIP is an address, and not a mark",
        ),
    ),
    // Schedulers.
    (
        &[
            "lb_algo",
            "lvs_sched",
            "balance",
            "algorithm",
            "lb_policy",
            "sched",
            "scheduling",
            "lb",
            "hash-type",
            "load_balancing",
            "-s",
        ],
        Statement(Keyword::Scheduler, "scheduler round-robin"),
    ),
    (
        &[
            "rr",
            "wrr",
            "round-robin",
            "roundrobin",
            "static-rr",
            "weighted",
        ],
        Text("scheduler round-robin"),
    ),
    (&["random"], Text("scheduler random")),
    (
        &["maglev", "mh", "consistent", "ring_hash"],
        Text("scheduler maglev"),
    ),
    (
        &["ip_hash", "hash", "sh", "source_hash"],
        Noted(
            "scheduler hash by source",
            ", or `scheduler maglev by source`, which moves fewer clients when servers change",
        ),
    ),
    (
        &[
            "least_conn",
            "leastconn",
            "lc",
            "wlc",
            "sed",
            "nq",
            "least_time",
            "leasttime",
        ],
        Noted(
            "scheduler round-robin",
            ", which comes closest: nf_tables cannot count live connections at scheduling time",
        ),
    ),
    (
        &["ops", "one_packet", "one-packet"],
        Noted(
            "scheduler random",
            ": in `mode dr` it draws anew for each new flow; one-packet scheduling flbc has not",
        ),
    ),
    // Modes.
    (
        &[
            "lb_kind",
            "lvs_method",
            "forward",
            "forwarding",
            "forwarding_method",
            "lb_type",
            "lvs_mode",
            "method",
        ],
        Statement(Keyword::Mode, "mode nat"),
    ),
    (&["nat", "dnat", "masq"], Text("mode nat")),
    (
        &["dr", "droute", "dsr", "direct", "gateway"],
        Text("mode dr on eth0"),
    ),
    (
        &["snat", "source-addr", "source_addr", "proxy_bind", "usesrc"],
        Statement(Keyword::Mode, "mode nat masquerade"),
    ),
    (
        &["masquerade", "fullnat", "localnet"],
        Text("mode nat masquerade"),
    ),
    (
        &["tun", "tunnel", "ipip"],
        Noted(
            "mode dr on eth0",
            ": flbc has no mode for tunnels of its own",
        ),
    ),
    (
        &["on", "interface", "iface", "dev", "oface", "iif"],
        Noted(
            "mode dr on eth0",
            ": interfaces stand in the line of the mode",
        ),
    ),
    // Persistence.
    (
        &[
            "persistence_timeout",
            "persistence",
            "persistent",
            "stick-table",
            "stick_table",
            "stick",
            "sticky",
            "affinity",
            "persist_timeout",
            "persistence-ttl",
            "sessionaffinity",
            "session_affinity",
            "-p",
        ],
        Statement(Keyword::Persist, "persist 5m"),
    ),
    (
        &["persistence_granularity", "netmask"],
        Text("persist 5m by source/24"),
    ),
    (
        &["timeout", "proxy_timeout", "udp_timeout"],
        Noted(
            "persist 5m",
            ", or `track 5m` in `mode dr`; the kernel's own timeouts are set by sysctl",
        ),
    ),
    // Access and what clients get where there is no server.
    (
        &[
            "accept",
            "whitelist",
            "permit",
            "allowlist",
            "loadbalancersourceranges",
        ],
        Statement(Keyword::Allow, "allow from 198.51.100.0/24"),
    ),
    (
        &["block", "blacklist", "denylist", "ban"],
        Statement(Keyword::Deny, "deny from 203.0.113.0/24"),
    ),
    (&["reject", "return"], Text("on-empty reject")),
    (&["drop"], Text("on-empty drop")),
    // Files and constants.
    (
        &["source", "import", "load", "read", "includes", ".include"],
        Statement(Keyword::Include, "include \"conf.d/*.flb\""),
    ),
    (
        &["var", "let", "const", "variable", "defvar", "macro"],
        Statement(Keyword::Define, "define office = 198.51.100.0/24"),
    ),
    (
        &[
            "global",
            "default",
            "global_defs",
            "globals",
            "settings",
            "options",
        ],
        Text("defaults {"),
    ),
    // What flbc has not.
    (
        &[
            "virtual_ipaddress",
            "virtual_ipaddress_excluded",
            "vrrp_instance",
            "vrrp_sync_group",
            "vrrp_script",
            "vrrp",
            "track_interface",
            "track_script",
            "static_ipaddress",
            "lvs_sync_daemon",
        ],
        Nothing(VRRP),
    ),
    (
        &[
            "tcp_check",
            "http_get",
            "ssl_get",
            "misc_check",
            "smtp_check",
            "dns_check",
            "udp_check",
            "ping_check",
            "bfd_check",
            "file_check",
            "delay_loop",
            "delay_before_retry",
            "health_check",
            "health-check",
            "healthcheck",
            "health",
            "check",
            "checks",
            "connect_timeout",
            "connect_port",
            "retry",
            "nb_get_retry",
            "fall",
            "rise",
            "inter",
            "interval",
            "httpchk",
            "monitor",
            "probe",
            "livenessprobe",
            "readinessprobe",
            "alpha",
            "omega",
            "inhibit_on_failure",
            "max_fails",
            "fail_timeout",
            "warmup",
            "slow_start",
            "proxy_next_upstream",
            "healthchecknodeport",
            "tcp-check",
            "http-check",
        ],
        Nothing(CHECKS),
    ),
    (
        &[
            "quorum",
            "quorum_up",
            "quorum_down",
            "hysteresis",
            "min-servers",
            "backup_use",
        ],
        Nothing(
            "flbc serves as long as one server is up; `backup` at the end of a server's line makes it serve when no other does",
        ),
    ),
    (
        &[
            "notify",
            "notify_up",
            "notify_down",
            "notify_master",
            "notify_backup",
            "notify_fault",
            "notification_email",
            "smtp_server",
            "smtp_alert",
            "email",
        ],
        Nothing("flbc runs no programs and sends no mail"),
    ),
    (
        &[
            "router_id",
            "enable_script_security",
            "script_user",
            "daemon",
            "user",
            "group",
            "worker_processes",
            "worker_connections",
            "pid",
            "nbthread",
            "nbproc",
            "chroot",
            "pidfile",
            "maxconn",
            "uthreshold",
            "lthreshold",
        ],
        Nothing(PROCESS),
    ),
    (
        &[
            "log",
            "access_log",
            "error_log",
            "logging",
            "syslog",
            "stats",
        ],
        Nothing(LOGS),
    ),
    (
        &[
            "server_name",
            "location",
            "acl",
            "http-request",
            "http-response",
            "ssl",
            "ssl_certificate",
            "ssl_preread",
            "rewrite",
            "cookie",
            "proxy_protocol",
            "virtualhost",
            "ha_suspend",
            "option",
            "retries",
            "compression",
            "header",
            "redirect",
            "resolver",
            "proxy_set_header",
        ],
        Nothing(LAYER_7),
    ),
    (
        &[
            "limit",
            "limit_conn",
            "limit_req",
            "rate",
            "rate-limit",
            "newrtlimit",
            "estconnlimit",
            "max_conns",
        ],
        Nothing(LIMITS),
    ),
    (
        &[
            "name",
            "description",
            "comment",
            "id",
            "label",
            "title",
            "metadata",
            "kind",
            "apiversion",
            "selector",
            "priority",
            "state",
            "status",
            "enabled",
        ],
        Nothing("the name stands behind `service`, and remarks stand behind `#`"),
    ),
    (
        &[
            "table",
            "chain",
            "rule",
            "add",
            "map",
            "set",
            "type",
            "flush",
            "hook",
            "policy",
            "element",
            "elements",
            "counter",
            "meta",
            "ct",
            "jump",
            "goto",
            "dport",
            "sport",
            "saddr",
            "daddr",
            "ip6",
            "inet",
            "ipvsadm",
            "iptables",
            "-a",
            "flowtable",
            "vmap",
            "numgen",
            "jhash",
        ],
        Nothing(
            "this is flb, from which flbc makes the nft rules; a file starts with `service www {`",
        ),
    ),
    // Parts of flb's own statements.
    (
        &["from"],
        Noted(
            "allow from 198.51.100.0/24",
            ": it stands in the line of its statement",
        ),
    ),
    (
        &["by", "table_size"],
        Noted(
            "scheduler hash by source",
            ": it stands in the line of its statement",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_word_is_known_once_and_is_none_of_flbs() {
        let mut seen = HashSet::new();
        for word in WORDS.iter().flat_map(|(words, _)| *words) {
            assert!(seen.insert(*word), "{word} stands twice");
            assert_eq!(*word, word.to_ascii_lowercase());
            assert_eq!(Keyword::of(word), None, "{word}");
            assert!(instead_of(word, "").is_some());
        }
    }

    #[test]
    fn what_stands_behind_a_word_is_taken_along() {
        for (word, arguments, text) in [
            ("real_server", " 10.0.0.1 80", "write `server 10.0.0.1:80`"),
            ("bind", " 192.0.2.1:443", "write `vip 192.0.2.1 tcp 443`"),
            ("persistence_timeout", " 300", "write `persist 300s`"),
            (
                "lb_kind",
                " DR",
                "write `mode dr on eth0`, with the values that you mean",
            ),
            ("import", " 'a.flb'", "write `include \"a.flb\"`"),
        ] {
            assert_eq!(instead_of(word, arguments).as_deref(), Some(text));
        }
    }
}

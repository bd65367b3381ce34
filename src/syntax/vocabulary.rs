//! The words that start a statement: flb's own, and those that people bring along from elsewhere.

use super::grammar::Rule;

/// The kinds of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Service,
    Pool,
    Defaults,
}

impl BlockKind {
    /// The block that a keyword starts.
    pub(super) fn of_keyword(keyword: &str) -> Option<Self> {
        match keyword {
            "service" => Some(Self::Service),
            "pool" => Some(Self::Pool),
            "defaults" => Some(Self::Defaults),
            _ => None,
        }
    }

    /// The block that a keyword starts, if need be with a slip of the hand.
    pub(super) fn meant_by(keyword: &str) -> Option<Self> {
        nearest(keyword, ["service", "pool", "defaults"]).and_then(Self::of_keyword)
    }

    /// The statements that it may hold.
    pub(super) fn statements(self) -> &'static [&'static str] {
        match self {
            Self::Service => &[
                "vip",
                "mode",
                "scheduler",
                "persist",
                "track",
                "allow",
                "deny",
                "on-empty",
                "pool",
                "server",
            ],
            Self::Pool => &["server"],
            Self::Defaults => &[
                "mode",
                "scheduler",
                "persist",
                "track",
                "on-empty",
                "allow",
                "deny",
            ],
        }
    }
}

/// The statements that may stand at the top level of a file.
pub(super) const TOP_STATEMENTS: &[&str] = &["include", "define", "defaults", "pool", "service"];

/// How a statement is written.
pub(super) struct Form {
    /// Its first word.
    pub(super) keyword: &'static str,
    /// The grammar's rule for it.
    pub(super) rule: Rule,
    /// Its form, as in flb.5.
    pub(super) usage: &'static str,
    /// One that is right.
    pub(super) example: &'static str,
}

macro_rules! forms {
    ($($keyword:literal $rule:ident: $form:literal, $example:literal;)+) => {
        &[$(Form { keyword: $keyword, rule: Rule::$rule, usage: $form, example: $example },)+]
    };
}

const FORMS: &[Form] = forms! {
    "include" include: "include \"PATH\"", "include \"conf.d/*.flb\"";
    "define" define: "define NAME = VALUE, ...", "define office = 198.51.100.0/24";
    "defaults" defaults: "defaults { ... }", "defaults {";
    "pool" pool: "pool NAME", "pool web";
    "service" service: "service NAME { ... }", "service www {";
    "vip" vip: "vip ADDR, ... PROTO, ... PORTS", "vip 192.0.2.10 tcp 80, 443";
    "mode" mode: "mode nat [masquerade | snat ADDR, ...] | mode dr on IFACE, ... [via IFACE [from MAC]]", "mode dr on eth0";
    "scheduler" scheduler: "scheduler NAME [by KEY] [table N]", "scheduler maglev by source";
    "persist" persist: "persist DURATION [by source[/PREFIX4[/PREFIX6]]]", "persist 5m";
    "track" track: "track DURATION", "track 5m";
    "on-empty" on_empty: "on-empty reject | drop", "on-empty reject";
    "allow" allow: "allow from PREFIX, ...", "allow from 198.51.100.0/24, 10.0.0.0/8";
    "deny" deny: "deny from PREFIX, ...", "deny from 203.0.113.0/24";
    "server" server: "server [NAME] ADDR[:PORT] [weight N] [mac MAC] [via IFACE [from MAC]] [drain | down | backup]", "server web1 10.20.0.11:8080 weight 3";
};

/// How the statement with this keyword is written.
pub(super) fn form_of(keyword: &str) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.keyword == keyword)
}

/// The options of `server`.
pub(super) const SERVER_OPTIONS: &[&str] = &["weight", "mac", "via", "drain", "down", "backup"];

/// What to write instead of a word that other tools have, or that starts no statement in flb.
pub(super) fn foreign_word(word: &str) -> Option<&'static str> {
    FOREIGN_WORDS
        .iter()
        .find(|(words, _)| words.contains(&word))
        .map(|(_, help)| *help)
}

/// Words of keepalived, nginx, HAProxy and nft, and parts of flb's own statements.
const FOREIGN_WORDS: &[(&[&str], &str)] = &[
    (
        &["virtual_server", "virtual_server_group", "frontend"],
        "flb says `service NAME { ... }`, with `vip 192.0.2.10 tcp 80` in it",
    ),
    (&["upstream", "backend"], "flb says `pool NAME { ... }`"),
    (
        &["proxy_pass", "use_backend", "default_backend"],
        "flb says `pool NAME`, in a service",
    ),
    (
        &["real_server", "members", "servers", "nodes"],
        "flb says `server ADDR:PORT`, one line each, in a service or a pool",
    ),
    (&["sorry_server"], "flb says `server ADDR:PORT backup`"),
    (
        &["lb_algo", "lvs_sched", "balance", "algorithm", "lb_policy"],
        "flb says `scheduler`, such as `scheduler round-robin`",
    ),
    (&["ip_hash"], "flb says `scheduler hash by source`"),
    (
        &["least_conn", "leastconn", "lc", "wlc"],
        "nf_tables cannot count live connections at scheduling time; `scheduler round-robin` comes closest",
    ),
    (
        &["lb_kind", "lvs_method"],
        "flb says `mode nat` or `mode dr on IFACE`",
    ),
    (&["nat"], "flb says `mode nat`"),
    (&["dr", "droute"], "flb says `mode dr on IFACE`"),
    (
        &["dnat"],
        "flb says `mode nat`, with a `server` line for each address",
    ),
    (&["snat"], "flb says `mode nat snat ADDR`"),
    (&["masquerade"], "flb says `mode nat masquerade`"),
    (
        &["persistence_timeout", "stick-table", "stick", "sticky"],
        "flb says `persist`, such as `persist 5m`",
    ),
    (
        &["persistence_granularity"],
        "flb says `persist 5m by source/24`",
    ),
    (
        &["timeout"],
        "flb says `persist` or `track` with a duration, such as `persist 5m`",
    ),
    (
        &["listen", "bind", "address", "addr"],
        "flb says `vip ADDR PROTO PORTS`, such as `vip 192.0.2.10 tcp 80`",
    ),
    (
        &["protocol", "proto", "tcp", "udp", "sctp", "port", "ports"],
        "protocol and ports stand in the `vip` line: `vip 192.0.2.10 tcp 80, 443`",
    ),
    (
        &["virtual_ipaddress", "vrrp_instance", "vrrp_sync_group"],
        "flbc adds no address to an interface and speaks no VRRP; keepalived can do that beside it",
    ),
    (
        &[
            "TCP_CHECK",
            "HTTP_GET",
            "SSL_GET",
            "MISC_CHECK",
            "delay_loop",
            "health_check",
            "check",
            "option",
        ],
        "flbc does not check servers; mark one that is gone with `down` at the end of its line",
    ),
    (
        &["http", "stream", "events"],
        "flb has no block around its services: `service NAME { ... }` stands at the top level",
    ),
    (&["global", "default"], "flb says `defaults { ... }`"),
    (
        &[
            "table", "chain", "rule", "add", "map", "set", "type", "flush",
        ],
        "this is flb, from which flbc makes the nft rules; a file starts with `service NAME { ... }`",
    ),
    (
        &["reject", "drop"],
        "flb says `on-empty reject` or `on-empty drop`",
    ),
    (&["accept"], "flb says `allow from PREFIX, ...`"),
    (&["source", "import"], "flb says `include \"PATH\"`"),
    (
        &["var", "let", "const"],
        "flb says `define NAME = VALUE, ...`",
    ),
    (
        SERVER_OPTIONS,
        "it stands at the end of a server's line: `server 10.20.0.11 weight 2`",
    ),
    (&["on"], "it stands in the `mode` line: `mode dr on eth0`"),
    (
        &["from"],
        "it stands in the line of its statement: `allow from 198.51.100.0/24`",
    ),
    (
        &["by"],
        "it stands in the line of its statement: `scheduler hash by source`",
    ),
];

/// Words as a message lists them.
pub(super) fn quoted_list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// The word that was most likely meant.
pub(super) fn nearest<'w>(
    written: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    // Nothing that long is a slip of the hand, and the distance takes quadratic time.
    if written.len() > 24 {
        return None;
    }
    let written = written.to_lowercase().replace('_', "-");
    let slips = match written.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    };
    words
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written, word), word))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

//! Names of schedulers, and why some that other balancers have cannot be.

use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, nearest, quote};
use crate::model::HashKey;
use crate::syntax::SCHEDULER_ALIASES;

/// A scheduler by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// `round-robin`
    RoundRobin,
    /// `random`
    Random,
    /// `hash`
    Hash,
    /// `maglev`
    Maglev,
}

/// Every scheduler's own name.
const NAMES: [(&str, Algorithm); 4] = [
    ("round-robin", Algorithm::RoundRobin),
    ("random", Algorithm::Random),
    ("hash", Algorithm::Hash),
    ("maglev", Algorithm::Maglev),
];

/// What a scheduler can go by.
pub(crate) const KEYS: [(&str, HashKey); 2] = [
    ("source", HashKey::Source),
    ("source-port", HashKey::SourcePort),
];

/// A scheduler by its name or alias, and what it goes by if the alias says so: `sh` is `hash by source`.
pub(crate) fn algorithm(text: &str) -> Result<(Algorithm, Option<HashKey>), Wrong> {
    let mut aliases = SCHEDULER_ALIASES.iter();
    let (name, key) = match aliases.find(|(alias, ..)| *alias == text) {
        Some((_, name, key)) => (*name, *key),
        None => (text, None),
    };
    match NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, algorithm)) => {
            let key = KEYS.iter().find(|(word, _)| Some(*word) == key);
            Ok((*algorithm, key.map(|(_, key)| *key)))
        }
        None => Err(explain(text)),
    }
}

/// Why others' schedulers cannot be, and what comes closest.
const IMPOSSIBLE: &[(&[&str], &str, &str)] = &[
    (
        &[
            "lc",
            "wlc",
            "sed",
            "nq",
            "ovf",
            "twos",
            "leastconn",
            "least-conn",
            "least_conn",
            "least-connections",
            "least_connections",
            "least-connection",
            "least-time",
            "least_time",
            "least_request",
        ],
        "nf_tables cannot count live connections at scheduling time",
        "write `round-robin`, or `random`; more `weight` gives a server more clients",
    ),
    (
        &["lblc", "lblcr"],
        "nf_tables cannot count live connections at scheduling time",
        "write `maglev by source`: a client stays with its server",
    ),
    (
        &["dh"],
        "it hashes the destination, which is the same for all clients of a VIP",
        "write `maglev by source`",
    ),
    (
        &["fo"],
        "flb says it at the servers",
        "write `backup` at the end of a server's line: it is used while no other is up",
    ),
    (
        &[
            "uri",
            "url_param",
            "hdr",
            "rdp-cookie",
            "cookie",
            "header",
            "url",
        ],
        "rules in the kernel see addresses and ports, not requests",
        "write `maglev by source`: a client stays with its server",
    ),
];

/// Others' names for what flb has.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &["roundrobin", "static-rr", "weighted-round-robin"],
        "round-robin",
    ),
    (
        &["source", "ip-hash", "ip_hash", "source-hash", "iphash"],
        "hash by source",
    ),
    (
        &[
            "consistent",
            "consistent-hash",
            "ring-hash",
            "ring_hash",
            "ketama",
        ],
        "maglev",
    ),
    (&["jhash"], "hash"),
    (&["numgen"], "round-robin"),
];

fn explain(text: &str) -> Wrong {
    if let Some(wrong) = in_plain_signs(text, Code::UnknownWord, algorithm) {
        return wrong;
    }
    let lower = if text.len() <= 64 {
        text.to_ascii_lowercase()
    } else {
        String::new()
    };
    let word = lower.as_str();
    if let Some((_, why, help)) = IMPOSSIBLE.iter().find(|(words, ..)| words.contains(&word)) {
        let message = format!("There is no scheduler {}: {why}", quote(text));
        return Wrong::new(Code::ImpossibleScheduler, message).help(*help);
    }
    let wrong = Wrong::new(
        Code::UnknownWord,
        format!("{} is not a scheduler", quote(text)),
    );
    if let Some((_, name)) = FOREIGN.iter().find(|(words, _)| words.contains(&word)) {
        return wrong.help(format!("write `{name}`"));
    }
    match nearest(text, NAMES.map(|(name, _)| name)) {
        Some(name) => wrong.help(format!("did you mean `{name}`?")),
        None => wrong.help("write `round-robin`, `random`, `hash` or `maglev`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each name must stand, and how it stands there.
    #[test]
    fn names_stand_wherever_they_are_listed() {
        let page = std::fs::read_to_string("man/flb.5").unwrap();
        let dictionary = std::fs::read_to_string("fuzz/flb.dict").unwrap();
        let golden: String = std::fs::read_dir("tests/golden")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "flb"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let help = algorithm("fastest").unwrap_err().help.unwrap();
        for (name, _) in NAMES {
            assert!(help.contains(&format!("`{name}`")), "{help}");
            let item = format!("\n.It Ic {name}");
            let ends = ["\n", " "].map(|end| format!("{item}{end}"));
            assert!(
                ends.iter().any(|item| page.contains(item)),
                "flb.5 has no item for `{name}`"
            );
            assert!(
                dictionary.contains(&format!("\"{name}\"")),
                "fuzz/flb.dict has no `{name}`"
            );
            assert!(
                golden.contains(&format!("scheduler {name}")),
                "no golden has `scheduler {name}`"
            );
        }
    }

    #[test]
    fn knows_aliases_and_reasons() {
        for (text, algorithm_, key) in [
            ("rr", Algorithm::RoundRobin, None),
            ("wrr", Algorithm::RoundRobin, None),
            ("sh", Algorithm::Hash, Some(HashKey::Source)),
            ("mh", Algorithm::Maglev, Some(HashKey::Source)),
            ("maglev", Algorithm::Maglev, None),
        ] {
            assert_eq!(algorithm(text), Ok((algorithm_, key)));
        }
        for (alias, name, _) in SCHEDULER_ALIASES {
            assert!(algorithm(alias).is_ok(), "{alias} is an alias of {name}");
        }
        for (words, ..) in IMPOSSIBLE {
            for word in *words {
                assert_eq!(algorithm(word).unwrap_err().code, Code::ImpossibleScheduler);
            }
        }
        for (text, help) in [
            ("maglv", "did you mean `maglev`?"),
            ("Round_Robin", "did you mean `round-robin`?"),
            ("roundrobin", "write `round-robin`"),
            ("ip_hash", "write `hash by source`"),
            (
                "fastest",
                "write `round-robin`, `random`, `hash` or `maglev`",
            ),
        ] {
            let wrong = algorithm(text).unwrap_err();
            assert_eq!(
                (wrong.code, wrong.help.as_deref()),
                (Code::UnknownWord, Some(help))
            );
        }
    }
}

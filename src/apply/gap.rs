//! Why what was applied is not in force, beside what others changed in the tables.

use std::collections::BTreeSet;
use std::fmt;

use crate::diagnostic::listed;
use crate::diff::Observed;
use crate::emit::netlink::Interfaces;
use crate::notes::{Last, LastTables};

use super::Remembered;

/// Why what was applied is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// The tables are gone.
    Gone,
    /// Other tables are in their place.
    Others,
    /// A run was killed around its transaction.
    Killed,
    /// An interface has the name of one that rules were bound to, and is another.
    Stranger(String),
    /// An interface that services need is gone.
    Missing {
        /// The interface.
        interface: String,
        /// The services.
        services: Vec<String>,
    },
    /// A service was left out of the last apply.
    LeftOut {
        /// The service.
        service: String,
        /// The interfaces that were missing.
        interfaces: Vec<String>,
        /// Whether they are there by now.
        there_now: bool,
    },
}

/// What is not as the last apply left it, but for what is in the tables.
pub(super) fn gaps(
    last: &Last,
    known: &Remembered<'_>,
    observed: &Observed,
    interfaces: &Interfaces,
) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let had_tables = known.ids.each().iter().any(Option::is_some);
    match last.tables {
        LastTables::Same => {}
        LastTables::Others if !had_tables => {}
        LastTables::Others if observed.has_tables() => gaps.push(Gap::Others),
        LastTables::Others => gaps.push(Gap::Gone),
    }
    if last.killed {
        gaps.push(Gap::Killed);
    }
    gaps.extend(known.strangers(interfaces).into_iter().map(Gap::Stranger));
    let missing = known.interfaces.keys();
    for interface in missing.filter(|name| !interfaces.contains_key(*name)) {
        let model = known.model();
        let needs =
            |service: &&crate::model::Service| service.interfaces(model).contains(&interface);
        let services = model.services.iter().filter(needs);
        gaps.push(Gap::Missing {
            interface: interface.to_string(),
            services: services.map(|service| service.name.to_string()).collect(),
        });
    }
    for (service, lacked) in known.effective.lacking() {
        gaps.push(Gap::LeftOut {
            service: service.to_string(),
            interfaces: lacked.iter().map(ToString::to_string).collect(),
            there_now: lacked.iter().all(|name| interfaces.contains_key(name)),
        });
    }
    gaps
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |all: &[String]| listed(all.iter().map(String::as_str), "and");
        match self {
            Self::Gone => f.write_str(
                "the tables of the last apply are gone: somebody flushed the ruleset, or deleted them; `flbc apply` brings them back, `flbc unload` says that it was meant",
            ),
            Self::Others => f.write_str(
                "the tables are not those of the last apply: somebody loaded others in their place",
            ),
            Self::Killed => f.write_str(
                "a run of flbc was killed while it changed the tables: `flbc apply` says what there is",
            ),
            Self::Stranger(interface) => write!(
                f,
                "`{interface}` is another interface than at the last apply: nothing is bound to it; the next `flbc apply` puts it right"
            ),
            Self::Missing {
                interface,
                services,
            } => {
                let many: BTreeSet<&String> = services.iter().collect();
                write!(
                    f,
                    "there is no interface `{interface}` any more, which service{} {} need{}",
                    if many.len() == 1 { "" } else { "s" },
                    words(services),
                    if many.len() == 1 { "s" } else { "" },
                )
            }
            Self::LeftOut {
                service,
                interfaces,
                there_now,
            } => {
                let were = if interfaces.len() == 1 { "was" } else { "were" };
                write!(
                    f,
                    "service `{service}` was left out of the last apply, as {} {were} not there",
                    words(interfaces)
                )?;
                if *there_now {
                    f.write_str("; the next `flbc apply` brings it in")?;
                }
                Ok(())
            }
        }
    }
}

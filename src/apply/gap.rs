//! Why what was applied is not in force, beside what others changed in the tables.

use std::collections::BTreeSet;
use std::fmt;

use crate::diagnostic::listed;
use crate::diff::Observed;
use crate::emit::netlink::{Interfaces, TableFamily};
use crate::kernel::ID_STEM;
use crate::notes::wishes::Wishes;
use crate::notes::{Last, LastTables};

use super::remembered::{Remembered, Stranger};

/// Why what was applied is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// There are tables that an apply made, and no note says what it was.
    Unknown,
    /// A table is switched off.
    Dormant(TableFamily),
    /// The tables are gone.
    Gone,
    /// Other tables are in their place.
    Others,
    /// A run was killed around its transaction.
    Killed,
    /// A run was killed between writing down what it sets, and its transaction.
    Wished(Vec<String>),
    /// An interface has the name of one that rules were bound to, and is another.
    Stranger(Stranger),
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

/// What can be told of tables without a note.
pub(super) fn without_a_note(observed: &Observed) -> Vec<Gap> {
    let tables = TableFamily::BOTH.map(|family| Some((family, observed.table(family)?)));
    let mut gaps = Vec::new();
    for (family, table) in tables.into_iter().flatten() {
        let applied = table.id.as_ref().is_some_and(|id| id.starts_with(ID_STEM));
        if applied && !gaps.contains(&Gap::Unknown) {
            gaps.push(Gap::Unknown);
        }
        if table.dormant {
            gaps.push(Gap::Dormant(family));
        }
    }
    gaps
}

/// The servers that something else was set on than holds.
pub(super) fn wished(wishes: &Wishes, known: &Remembered<'_>) -> Option<Gap> {
    let holds = &known.effective.layers().operator;
    let differs = wishes
        .iter()
        .filter(|(key, wish)| holds.get(key) != Some(wish));
    let keys: Vec<String> = differs.map(|(key, _)| key.to_string()).collect();
    (!keys.is_empty()).then_some(Gap::Wished(keys))
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |all: &[String]| listed(all.iter().map(String::as_str), "and");
        match self {
            Self::Unknown => f.write_str(
                "what was applied last is not known, as its note under /run/flbc is gone or damaged, or could not be written: others may have changed it since; `flbc apply FILE` compares, and notes it again",
            ),
            Self::Dormant(family) => write!(
                f,
                "the table in {} is switched off (dormant): no packet meets it; `flbc apply --keep` switches it on",
                family.name()
            ),
            Self::Gone => f.write_str(
                "the tables of the last apply are gone: somebody flushed the ruleset, or deleted them; `flbc apply --keep` brings them back with what was set, `flbc unload` says that it was meant",
            ),
            Self::Others => f.write_str(
                "the tables are not those of the last apply: somebody loaded others in their place",
            ),
            Self::Killed => f.write_str(
                "a run of flbc was killed while it changed the tables: `flbc apply --keep` says what there is",
            ),
            Self::Wished(keys) => write!(
                f,
                "a run of flbc was killed before what it set was in force, on {}: `flbc apply --keep` fulfils it",
                words(keys)
            ),
            Self::Stranger(stranger) => write!(
                f,
                "{stranger}, and what was bound to it may not be; `flbc apply --keep` puts it right"
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
                    f.write_str("; `flbc apply --keep` brings it in")?;
                }
                Ok(())
            }
        }
    }
}

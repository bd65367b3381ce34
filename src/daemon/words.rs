//! What the daemon says.

use std::fmt::Write as _;
use std::time::Duration;

use crate::apply::{Applied, Gap};
use crate::control::{Level, Said};
use crate::diagnostic::listed;
use crate::diff::Drift;
use crate::kernel::events::Process;
use crate::operate::set::Set;
use crate::view::drifted::TOLD;

/// That a file has no service.
pub(super) fn no_service(file: &str) -> String {
    format!(
        "{file} yields no service, and applying it would remove all that is there; `flbc unload` does that"
    )
}

/// The first of what was applied, in one line.
pub(super) fn started(file: &str, applied: &Applied) -> String {
    if applied.is_nothing() {
        return format!("{file} is in force, as it was before; watching");
    }
    format!("{file} is in force: {}; watching", difference(applied))
}

/// That nothing is kept in force, as before.
pub(super) fn idle(file: &str) -> String {
    format!("nothing is kept in force, as it was unloaded: `flbc reload` has {file} in force")
}

/// What was read again.
pub(super) fn reloaded(file: &str, applied: &Applied) -> String {
    if applied.is_nothing() {
        return format!("{file} was read again: no difference");
    }
    format!(
        "{file} was read again and is in force: {}",
        difference(applied)
    )
}

/// Why it was not.
pub(super) fn not_reloaded(file: &str, why: &str) -> String {
    let first = why.lines().find(|line| !line.trim().is_empty());
    format!(
        "{file} was not applied, and what was in force stays: {}",
        first.unwrap_or("it has a fault")
    )
}

/// What follows the machine's interfaces.
pub(super) fn followed(applied: &Applied) -> String {
    let mut text = if applied.is_nothing() {
        "the interfaces changed".to_owned()
    } else {
        format!("the interfaces changed: {}", difference(applied))
    };
    if applied.left_out > 0 {
        let services = if applied.left_out == 1 {
            "service"
        } else {
            "services"
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "; {} {services} left out until their interfaces are there",
            applied.left_out
        );
    }
    for note in &applied.notes {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}

/// That no service can be in force yet.
pub(super) fn waits_for(file: &str, interfaces: &[&str]) -> String {
    let which = listed(interfaces.iter().copied(), "and");
    format!("{file} waits for interfaces that are not there: {which}")
}

/// What was put right.
pub(super) fn repaired(
    broken: &[String],
    applied: &Applied,
    took: Duration,
    others: &[Process],
) -> String {
    let mut what = broken.to_vec();
    if what.is_empty() {
        what.push("what was applied was not in force".to_owned());
    }
    let by = match others {
        [] => String::new(),
        some => format!(", after {} changed the kernel's rules", who(some)),
    };
    let totals = applied.totals;
    let mut text = format!(
        "put right{by}: {}; {} elements added, {} removed, {} other changes, in {:.1} ms",
        what.join("; "),
        totals.added,
        totals.removed,
        totals.structure,
        took.as_secs_f64() * 1e3,
    );
    for note in &applied.notes {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}

/// That the next repair is later.
pub fn held(others: &[Process], pause: Duration) -> String {
    format!(
        "what was applied is not in force, and stays so for {} s: it is taken away again and again, last by {}; end that, then `flbc reload` brings it back at once",
        pause.as_secs().max(1),
        who(others)
    )
}

/// Those who changed the kernel's rules.
fn who(others: &[Process]) -> String {
    let names: Vec<String> = others.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "somebody".to_owned()
    } else {
        names.join(", ")
    }
}

/// What was set.
pub(super) fn set(set: &Set) -> String {
    let text = set.text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let changed: Vec<&str> = lines
        .iter()
        .filter(|line| line.starts_with(['+', '-', '~']))
        .copied()
        .collect();
    if changed.is_empty() {
        lines.join("; ")
    } else {
        changed.join("; ")
    }
}

/// What was set before, and is in force now.
pub(super) fn set_at_last(applied: &Applied) -> String {
    let text = applied.text(false);
    let lines = text.lines().map(str::trim);
    let changed: Vec<&str> = lines
        .filter(|line| line.starts_with(['+', '-', '~']))
        .collect();
    format!("what was set is in force: {}", changed.join("; "))
}

/// How much what was applied matters.
pub(super) fn level(applied: &Applied) -> Level {
    if applied.left_out > 0 || !applied.notes.is_empty() {
        Level::Warning
    } else {
        Level::Info
    }
}

/// The same words as `flbc apply`.
pub(super) fn applied(applied: &Applied, said: &mut Said) {
    for sentence in applied.warnings() {
        said.warn(&sentence);
    }
    if applied.is_nothing() {
        said.say(&format!("no difference{}\n", applied.older_flows()));
    } else {
        said.say(&applied.text(false));
    }
    said.end(applied.exit());
}

/// Why what was applied is not in force, without what to do about it: that is being done.
pub(super) fn of_gap(gap: &Gap) -> String {
    let text = gap.to_string();
    let first = text.split(';').next().unwrap_or_default();
    first.to_owned()
}

/// What others changed.
pub(super) fn of_drift(drift: &[Drift]) -> Vec<String> {
    let told = drift.iter().take(TOLD).map(ToString::to_string);
    let more = drift.len().saturating_sub(TOLD);
    let rest = (more > 0).then(|| format!("and {more} more"));
    told.chain(rest).collect()
}

fn difference(applied: &Applied) -> String {
    applied.difference.to_string()
}

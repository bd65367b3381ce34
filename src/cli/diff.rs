//! `flbc diff`

use std::fmt::Write as _;
use std::path::Path;

use super::report::Report;
use super::{Exit, output};
use crate::diagnostic::Diagnostics;
use crate::model::Model;
use crate::outline::{Difference, Outline, between_plans};
use crate::schedule;
use crate::source::Sources;

/// `flbc diff`
pub(super) fn run(report: &Report, old: &Path, new: &Path) -> Exit {
    let (old, new) = match (read(report, old), read(report, new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let [old_plan, new_plan] =
        [&old, &new].map(|model| schedule::schedule(model, &mut Diagnostics::new()));
    let moves = between_plans(&old_plan, (&new, &new_plan), |_| true);
    let difference = Difference::between(&Outline::of(&old), &Outline::of(&new), &moves);
    Report::warnings(&difference.warnings);
    if difference.is_empty() {
        return Exit::Fine;
    }
    let mut text = difference.text();
    let _ = writeln!(text, "{difference}");
    output::say(&text, Exit::Differs)
}

fn read(report: &Report, file: &Path) -> Result<Model, Exit> {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = report.model(file, &mut sources, &mut sink)?;
    // For its warnings.
    schedule::schedule(&model, &mut sink);
    report.human(&sink, &sources);
    Ok(model)
}

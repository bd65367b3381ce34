//! `flbc apply` and `flbc unload`

use std::path::Path;

use super::report::Report;
use super::{Exit, output, tables};
use crate::apply::{Applied, Failure};
use crate::diagnostic::Diagnostics;
use crate::kernel::KernelError;
use crate::lower::layout::Layout;
use crate::model::Model;
use crate::operate::{Earlier, Job, Refused};
use crate::source::Sources;

/// How `flbc apply` is to go about it.
#[derive(Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option that is given or not"
)]
pub(super) struct How {
    /// Nothing is changed.
    pub(super) dry_run: bool,
    /// What `flbc set` changed stays.
    pub(super) keep: bool,
    /// The kernel's time is told.
    pub(super) timing: bool,
    /// A file without any service is applied too.
    pub(super) allow_empty: bool,
    /// A table that another program made is taken over.
    pub(super) force: bool,
}

/// `flbc apply`
pub(super) fn run(report: &Report, how: How, target: (&str, Option<Layout>), file: &Path) -> Exit {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = match report.model(file, &mut sources, &mut sink) {
        Ok(model) => model,
        Err(exit) => return exit,
    };
    if let Some(exit) = report.refuse_empty(&model, how.allow_empty, (&sink, &sources), file) {
        return exit;
    }
    match applied(how, target, model, &mut sink) {
        Ok(applied) => {
            report.human(&sink, &sources);
            if how.timing {
                let milliseconds = applied.transaction.as_secs_f64() * 1e3;
                Report::print(&format!("kernel transaction {milliseconds:.3} ms\n"));
            }
            told(&applied, how.dry_run)
        }
        Err(Refused::Failed(Failure::Kernel(KernelError::NoPrivilege))) if how.dry_run => {
            uncompared()
        }
        Err(refused) => report.refused(&refused, sink, &sources),
    }
}

fn applied(
    how: How,
    (table, layout): (&str, Option<Layout>),
    model: Model,
    sink: &mut Diagnostics,
) -> Result<Applied, Refused> {
    let (mut tables, _turn) = if how.dry_run {
        let mut tables = tables::open_to_look(table)?;
        tables.force = how.force;
        (tables, None)
    } else {
        let mut tables = tables::open(table)?;
        tables.force = how.force;
        let turn = tables::turn(&mut tables)?;
        (tables, Some(turn))
    };
    let earlier = if how.keep {
        Earlier::Kept
    } else {
        Earlier::Dropped
    };
    let job = Job::new(&mut tables, model, earlier, layout, sink)?;
    if how.dry_run {
        job.check(&mut tables, sink)
    } else {
        job.commit(&mut tables, sink)
    }
}

/// What the kernel has cannot be read.
fn uncompared() -> Exit {
    Report::failure(&format!(
        "{}, to read what the kernel has; without it, `--against RULES` compares with what `flbc compile` wrote earlier",
        KernelError::NoPrivilege
    ));
    Exit::Unprivileged
}

/// `flbc unload`
pub(super) fn unload(report: &Report, table: &str, force: bool) -> Exit {
    match unloaded(table, force) {
        Ok(Some(applied)) => told(&applied, false),
        Ok(None) => output::say("nothing to unload\n", Exit::Fine),
        Err(refused) => report.refused(&refused, Diagnostics::new(), &Sources::new()),
    }
}

fn unloaded(table: &str, force: bool) -> Result<Option<Applied>, Refused> {
    let mut tables = tables::open(table)?;
    tables.force = force;
    let _turn = tables::turn(&mut tables)?;
    Ok(tables.unload()?)
}

/// Tells what an apply did or would do.
fn told(applied: &Applied, dry_run: bool) -> Exit {
    Report::warnings(&applied.warnings());
    if applied.is_nothing() {
        let text = format!("no difference{}\n", applied.older_flows());
        return output::say(&text, applied.exit());
    }
    let exit = if dry_run {
        Exit::Differs
    } else {
        applied.exit()
    };
    output::say(&applied.text(dry_run), exit)
}

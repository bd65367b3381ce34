//! `flbc apply`, `flbc diff` and `flbc unload`

use std::fmt::Write as _;
use std::path::Path;

use super::report::Report;
use super::{Exit, output, trial};
use crate::apply::{self, Applied, Claimed, Failure, Request};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::kernel::cache::{self, Cache};
use crate::kernel::{KernelError, Linux, Refusal};
use crate::lower::layout::Layout;
use crate::model::Model;
use crate::outline::{Difference, Outline, between_plans};
use crate::schedule;
use crate::source::Sources;

/// So many things that somebody else changed are told one by one.
const TOLD: usize = 10;

/// How `flbc apply` is to go about it.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Nothing is changed.
    pub(super) dry_run: bool,
    /// What `flbc set` changed stays.
    pub(super) keep: bool,
    /// The kernel's time is told.
    pub(super) timing: bool,
}

/// `flbc apply`
pub(super) fn run(
    report: &Report,
    how: How,
    (table, layout): (&str, Option<Layout>),
    file: &Path,
) -> Exit {
    let How {
        dry_run,
        keep,
        timing,
    } = how;
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let mut model = match report.model(file, &mut sources, &mut sink) {
        Ok(model) => model,
        Err(exit) => return exit,
    };
    let lock = match (!dry_run).then(|| trial::exclusive(table)).transpose() {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let mut kernel = match Linux::open().map_err(Failure::from) {
        Ok(kernel) => kernel,
        Err(Failure::Kernel(KernelError::NoPrivilege)) if dry_run => return uncompared(),
        Err(failure) => return failed(report, failure, sink, &sources),
    };
    let cache = Cache::new(cache::DIRECTORY);
    if let Err(exit) = completed(report, &mut kernel, &mut model, &mut sink, &sources) {
        return exit;
    }
    let overrides = keep.then(|| apply::overrides(&mut kernel, &cache, table));
    let overrides = model.set(overrides.unwrap_or_default());
    let plan = schedule::schedule(&model, &mut sink);
    let request = Request {
        table,
        layout,
        model: &model,
        plan: &plan,
        overrides: &overrides,
        commit: !dry_run,
    };
    let outcome = apply::apply(&mut kernel, &cache, &request, &mut sink);
    drop(lock);
    match outcome {
        Ok(applied) => {
            report.human(&sink, &sources);
            if timing {
                let milliseconds = applied.transaction.as_secs_f64() * 1e3;
                eprintln!("kernel transaction {milliseconds:.3} ms");
            }
            told(&applied, dry_run)
        }
        Err(Failure::Kernel(KernelError::NoPrivilege)) if dry_run => uncompared(),
        Err(failure) => failed(report, failure, sink, &sources),
    }
}

/// Looks up what the file leaves to be looked up.
pub(super) fn completed(
    report: &Report,
    kernel: &mut Linux,
    model: &mut Model,
    sink: &mut Diagnostics,
    sources: &Sources,
) -> Result<(), Exit> {
    match apply::complete(kernel, model, sink) {
        Ok(()) if sink.errors() == 0 => Ok(()),
        Ok(()) => {
            report.human(sink, sources);
            Err(Exit::Bad)
        }
        Err(error) => Err(failed(report, error.into(), std::mem::take(sink), sources)),
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
pub(super) fn unload(report: &Report, table: &str) -> Exit {
    let lock = match trial::exclusive(table) {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let outcome = Linux::open()
        .map_err(Failure::Kernel)
        .and_then(|mut kernel| apply::unload(&mut kernel, &Cache::new(cache::DIRECTORY), table));
    drop(lock);
    match outcome {
        Ok(Some(applied)) => told(&applied, false),
        Ok(None) => say("nothing to unload\n", Exit::Fine),
        Err(failure) => failed(report, failure, Diagnostics::new(), &Sources::new()),
    }
}

/// `flbc diff`
pub(super) fn diff(report: &Report, old: &Path, new: &Path) -> Exit {
    let (old, new) = match (read(report, old), read(report, new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let [old_plan, new_plan] =
        [&old, &new].map(|model| schedule::schedule(model, &mut Diagnostics::new()));
    let moves = between_plans(&old_plan, (&new, &new_plan), |_| true);
    let difference = Difference::between(&Outline::of(&old), &Outline::of(&new), &moves);
    warn(&difference.warnings);
    if difference.is_empty() {
        return Exit::Fine;
    }
    let mut text = lines(&difference);
    let _ = writeln!(text, "{difference}");
    say(&text, Exit::Differs)
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

fn lines(difference: &Difference) -> String {
    let mut text = difference.lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Tells what an apply did or would do.
fn told(applied: &Applied, dry_run: bool) -> Exit {
    warn_of(applied);
    if applied.totals.is_empty() && applied.difference.is_empty() {
        let text = format!("no difference{}\n", older(applied));
        return say(&text, Exit::Fine);
    }
    let exit = if dry_run { Exit::Differs } else { Exit::Fine };
    say(&text_of(applied, dry_run), exit)
}

/// Tells what the operator should know of an apply.
pub(super) fn warn_of(applied: &Applied) {
    warn(&applied.difference.warnings);
    warn(&applied.notes);
    let mut drift: Vec<String> = applied
        .drift
        .iter()
        .take(TOLD)
        .map(|drift| format!("changed by somebody else: {drift}"))
        .collect();
    if let Some(more) = applied.drift.len().checked_sub(TOLD)
        && more > 0
    {
        drift.push(format!("changed by somebody else: and {more} more"));
    }
    warn(&drift);
}

/// What an apply did or would do: line by line, and in all.
pub(super) fn text_of(applied: &Applied, dry_run: bool) -> String {
    let totals = applied.totals;
    let mut text = lines(&applied.difference);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}; in the kernel {} elements added, {} removed, {} other changes{}{}{}{}{}",
        applied.difference,
        totals.added,
        totals.removed,
        totals.structure,
        match applied.forgotten {
            0 => String::new(),
            1 => ", 1 connection forgotten".to_owned(),
            many => format!(", {many} connections forgotten"),
        },
        match applied.marked {
            0 => String::new(),
            1 => ", 1 connection numbered anew".to_owned(),
            many => format!(", {many} connections numbered anew"),
        },
        older(applied),
        match applied.clients {
            0 => String::new(),
            1 => ", 1 remembered client forgotten".to_owned(),
            many => format!(", {many} remembered clients forgotten"),
        },
        if dry_run { " (not applied)" } else { "" },
    );
    text
}

/// What became of flows that would pass their service by.
fn older(applied: &Applied) -> String {
    match applied.older {
        0 => String::new(),
        1 => ", 1 flow forgotten that is older than its service".to_owned(),
        many => format!(", {many} flows forgotten that are older than their service"),
    }
}

pub(super) fn say(text: &str, exit: Exit) -> Exit {
    let written = output::to_stdout(output::bytes(text.as_bytes()));
    exit.max(Report::written(written, "standard output"))
}

pub(super) fn warn(sentences: &[String]) {
    for sentence in sentences {
        Report::warning(sentence);
    }
}

/// Tells why nothing was applied.
pub(super) fn failed(
    report: &Report,
    failure: Failure,
    mut sink: Diagnostics,
    sources: &Sources,
) -> Exit {
    match failure {
        Failure::Numbers => {
            report.human(&sink, sources);
            Exit::Bad
        }
        Failure::Interfaces(missing) => {
            for interface in missing {
                let message = format!("There is no interface `{}` on this host", interface.name);
                let help = "`ip link` lists those that there are";
                sink.report(located(Code::NoSuchInterface, interface.origin, message).help(help));
            }
            report.human(&sink, sources);
            Exit::Refused
        }
        Failure::Claimed(claimed) => {
            for Claimed { vip, by, table } in claimed {
                let message = format!("flbc's table `{table}` has `{by}`, which meets this");
                let help = format!(
                    "a VIP, protocol and port belong to one table: put these services into one file, or remove the other with `flbc unload --table {table}`"
                );
                let origin = Some(vip.span).filter(|span| span.is_somewhere());
                sink.report(located(Code::VipOfAnotherTable, origin, message).help(help));
            }
            report.human(&sink, sources);
            Exit::Refused
        }
        Failure::Kernel(KernelError::Refused(refusals)) => {
            for refusal in &refusals {
                sink.report(refused(refusal));
            }
            report.human(&sink, sources);
            Exit::Refused
        }
        Failure::Kernel(KernelError::NoPrivilege) => {
            report.human(&sink, sources);
            Report::failure(&format!("{}", KernelError::NoPrivilege));
            Exit::Unprivileged
        }
        Failure::Kernel(error) => {
            report.human(&sink, sources);
            Report::failure(&format!("{error}; the kernel has what it had"));
            Exit::Refused
        }
        Failure::Crowded => {
            report.human(&sink, sources);
            Report::failure(
                "other programs change the kernel's rules all the time: no moment was left for these; the kernel has what it had",
            );
            Exit::Refused
        }
    }
}

fn refused(refusal: &Refusal) -> Diagnostic {
    let message = format!(
        "The kernel refuses to {}: {} ({})",
        refusal.what, refusal.reason, refusal.errno
    );
    located(Code::KernelRefused, refusal.origin, message)
}

fn located(code: Code, origin: Option<crate::source::Span>, message: String) -> Diagnostic {
    match origin {
        Some(span) => Diagnostic::new(code, span, message),
        None => Diagnostic::placeless(code, message),
    }
}

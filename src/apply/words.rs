//! An apply in sentences: what it did, what the operator should know of it, and why there was none.

use std::error::Error;
use std::fmt::{self, Write as _};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Exit};
use crate::diff::Drift;
use crate::kernel::{KernelError, Refusal};
use crate::source::Span;

use super::{Applied, Claimed, Failure};
use crate::view::drifted::TOLD;

impl Applied {
    /// Whether nothing was to be done.
    pub fn is_nothing(&self) -> bool {
        self.totals.is_empty() && self.difference.is_empty()
    }

    /// How a run ends that did it.
    pub const fn exit(&self) -> Exit {
        match self.left_out {
            0 => Exit::Fine,
            _ => Exit::InPart,
        }
    }

    /// What it did, or would do: line by line, and in all.
    pub fn text(&self, dry_run: bool) -> String {
        let totals = self.totals;
        let mut text = self.difference.text();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}; in the kernel {} elements added, {} removed, {} other changes{}{}{}{}{}",
            self.difference,
            totals.added,
            totals.removed,
            totals.structure,
            match self.forgotten {
                0 => String::new(),
                1 => ", 1 connection forgotten".to_owned(),
                many => format!(", {many} connections forgotten"),
            },
            match self.marked {
                0 => String::new(),
                1 => ", 1 connection numbered anew".to_owned(),
                many => format!(", {many} connections numbered anew"),
            },
            self.older_flows(),
            match self.clients {
                0 => String::new(),
                1 => ", 1 remembered client forgotten".to_owned(),
                many => format!(", {many} remembered clients forgotten"),
            },
            if dry_run { " (not applied)" } else { "" },
        );
        text
    }

    /// What became of flows that would pass their service by: nothing, or words that follow a comma.
    pub fn older_flows(&self) -> String {
        match self.older {
            0 => String::new(),
            1 => ", 1 flow forgotten that is older than its service".to_owned(),
            many => format!(", {many} flows forgotten that are older than their service"),
        }
    }

    /// What the operator should know of it, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut sentences = self.difference.warnings.clone();
        sentences.extend_from_slice(&self.notes);
        sentences.extend(drifted(&self.drift, ""));
        sentences
    }
}

/// What others changed in flbc's tables, a sentence each, with `then` behind it: what becomes of it.
pub fn drifted(drift: &[Drift], then: &str) -> Vec<String> {
    let told = drift.iter().take(TOLD);
    let mut sentences: Vec<String> = told
        .map(|one| format!("changed by somebody else: {one}{then}"))
        .collect();
    match drift.len().saturating_sub(TOLD) {
        0 => {}
        more => sentences.push(format!("changed by somebody else: and {more} more")),
    }
    sentences
}

impl Failure {
    /// How a run that failed so ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Numbers => Exit::Bad,
            Self::Kernel(error) => error.exit(),
            Self::Interfaces(_) | Self::Claimed(_) | Self::Strange { .. } | Self::Crowded => {
                Exit::Refused
            }
        }
    }

    /// Reports to `sink` what has a place in a file; returns the sentence where it has none.
    pub fn report(&self, sink: &mut Diagnostics) -> Option<String> {
        match self {
            // Reported where it was found.
            Self::Numbers => {}
            Self::Interfaces(missing) => {
                for interface in missing {
                    let message =
                        format!("There is no interface `{}` on this host", interface.name);
                    let fault = located(Code::NoSuchInterface, interface.origin, message);
                    sink.report(fault.help("`ip link` lists those that there are"));
                }
            }
            Self::Claimed(claimed) => {
                for Claimed { vip, by, table } in claimed {
                    let message = format!("flbc's table `{table}` has `{by}`, which meets this");
                    let origin = Some(vip.span).filter(|span| span.is_somewhere());
                    let fault = located(Code::VipOfAnotherTable, origin, message);
                    sink.report(fault.help(format!(
                        "a VIP, protocol and port belong to one table: put these services into one file, or remove the other with `flbc unload --table {table}`"
                    )));
                }
            }
            Self::Kernel(KernelError::Refused(refusals)) => {
                for refusal in refusals {
                    sink.report(refused(refusal));
                }
            }
            Self::Kernel(KernelError::NoPrivilege) => {
                return Some(KernelError::NoPrivilege.to_string());
            }
            Self::Kernel(error) => return Some(format!("{error}; the kernel has what it had")),
            Self::Strange { .. } => {
                let fault = Diagnostic::placeless(Code::StrangeTable, self.to_string());
                sink.report(fault.help(
                    "`--table NAME` gives flbc's tables another name; `--force` takes this one over, and what is in it is lost",
                ));
            }
            Self::Crowded => return Some(format!("{self}; the kernel has what it had")),
        }
        None
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interfaces(_) => f.write_str("the rules name interfaces that are not there"),
            Self::Strange { family, has } => write!(
                f,
                "Another program made the table of this name in {}: it has {has}, which flbc does not make",
                family.name()
            ),
            Self::Claimed(_) => f.write_str("another table of flbc's has VIPs of these"),
            Self::Numbers => f.write_str("there are more servers or slots than numbers"),
            Self::Kernel(error) => error.fmt(f),
            Self::Crowded => f.write_str(
                "other programs change the kernel's rules all the time: no moment was left for these",
            ),
        }
    }
}

impl Error for Failure {}

fn refused(refusal: &Refusal) -> Diagnostic {
    let message = format!(
        "The kernel refuses to {}: {} ({})",
        refusal.what, refusal.reason, refusal.errno
    );
    located(Code::KernelRefused, refusal.origin, message)
}

fn located(code: Code, origin: Option<Span>, message: String) -> Diagnostic {
    match origin {
        Some(span) => Diagnostic::new(code, span, message),
        None => Diagnostic::placeless(code, message),
    }
}

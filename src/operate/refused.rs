//! Why flbc did not do what it was asked for, and how a run ends that way.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use crate::apply::Failure;
use crate::diagnostic::{Diagnostics, Exit, quote};
use crate::kernel::KernelError;
use crate::model::DurationWords;
use crate::notes::lock::Holder;
use crate::notes::trial::{Open, Outcome};
use crate::notes::wishes::Unreadable;
use crate::ruleset::name::DEFAULT_TABLE;

/// So many names are told where one does not fit.
const TOLD: usize = 8;

/// Why it was not done. The kernel has what it had.
#[derive(Debug)]
pub enum Refused {
    /// A fault in the file, or found while it was applied; it is in the sink.
    Faulty,
    /// Another flbc is changing the same tables.
    Busy {
        /// How long it was waited for.
        waited: Duration,
        /// Who that is, where it can be read.
        holder: Option<Holder>,
    },
    /// A trial is open: what it tries is confirmed or taken back first.
    OnTrial {
        /// The tables.
        table: String,
        /// The trial.
        open: Open,
    },
    /// Whether a trial is open cannot be told.
    TrialUnknown {
        /// Why.
        error: io::Error,
    },
    /// What was before the trial that is open is not known.
    NoWayBack {
        /// The tables.
        table: String,
        /// Why.
        error: io::Error,
    },
    /// No trial is open.
    NoTrial {
        /// How the last one ended, and how long ago.
        last: Option<(Outcome, Duration)>,
    },
    /// Something about a trial cannot be done.
    Trial {
        /// What.
        doing: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Nobody knows which file the tables were made from.
    NothingRemembered {
        /// Where notes are kept.
        notes: PathBuf,
    },
    /// There is no such service, or the service has no such server.
    Unknown {
        /// The service, where that is known and the server is not.
        service: Option<String>,
        /// What was written.
        written: String,
        /// Which was most likely meant.
        meant: Option<String>,
        /// All that there are.
        there_are: Vec<String>,
    },
    /// A state that a server of weight 0 cannot have.
    NoShare {
        /// The server's name.
        name: String,
        /// The service and the server as they were written.
        written: (String, String),
    },
    /// What was set is not known, so that it cannot be kept.
    WishesUnknown(Unreadable),
    /// What was set cannot be written down.
    WishesUnwritten {
        /// Where.
        notes: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It could not be applied.
    Failed(Failure),
}

impl Refused {
    /// How a run that was refused so ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Busy { .. }
            | Self::OnTrial { .. }
            | Self::TrialUnknown { .. }
            | Self::NoWayBack { .. } => Exit::Busy,
            Self::Failed(failure) => failure.exit(),
            Self::Faulty
            | Self::NoTrial { .. }
            | Self::Trial { .. }
            | Self::NothingRemembered { .. }
            | Self::Unknown { .. }
            | Self::NoShare { .. }
            | Self::WishesUnknown(_)
            | Self::WishesUnwritten { .. } => Exit::Bad,
        }
    }

    /// Reports to `sink` what has a place in a file; returns the sentence where it has none.
    pub fn report(&self, sink: &mut Diagnostics) -> Option<String> {
        match self {
            Self::Faulty => None,
            Self::Failed(failure) => failure.report(sink),
            Self::Busy { .. }
            | Self::OnTrial { .. }
            | Self::TrialUnknown { .. }
            | Self::NoWayBack { .. }
            | Self::NoTrial { .. }
            | Self::Trial { .. }
            | Self::NothingRemembered { .. }
            | Self::Unknown { .. }
            | Self::NoShare { .. }
            | Self::WishesUnknown(_)
            | Self::WishesUnwritten { .. } => Some(self.to_string()),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faulty => f.write_str("the file has a fault"),
            Self::Busy { waited, holder } => busy(f, *waited, holder.as_ref()),
            Self::OnTrial { table, open } => on_trial(f, &option(table), *open),
            Self::TrialUnknown { error } => {
                write!(
                    f,
                    "whether a trial is open cannot be told: {error}; nothing was changed"
                )?;
                // What says by itself what mends it is no word of the system's.
                match error.get_ref() {
                    Some(_) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                    _ => f.write_str(": run this as the user whose folder that is"),
                }
            }
            Self::NoWayBack { table, error } => write!(
                f,
                "a trial is open, and what was before it is not known: {error}; nothing was changed: `flbc confirm{}` keeps what it tries",
                option(table)
            ),
            Self::NoTrial { last } => {
                f.write_str("no trial is open")?;
                match last {
                    Some((Outcome::WentBack, ago)) => write!(
                        f,
                        ": the last one went back to what was before, {} ago",
                        seconds(*ago)
                    ),
                    Some((Outcome::Confirmed, ago)) => {
                        write!(f, ": the last one was confirmed, {} ago", seconds(*ago))
                    }
                    Some((Outcome::Void, _)) | None => Ok(()),
                }
            }
            Self::Trial { doing, error } => write!(f, "{doing}: {error}"),
            Self::NothingRemembered { notes } => write!(
                f,
                "nothing is remembered of the file that these tables were made from, since none was applied, `{}` was emptied, or others are in their place; apply it first with `flbc apply FILE`, or name it here: `flbc set --file FILE ...`",
                notes.display()
            ),
            Self::Unknown {
                service,
                written,
                meant,
                there_are,
            } => {
                match service {
                    None => f.write_str("there is no service")?,
                    Some(service) => write!(f, "service `{service}` has no server")?,
                }
                write!(f, " {}; ", quote(written))?;
                match meant {
                    Some(name) => write!(f, "did you mean `{name}`?"),
                    None => write!(f, "there are: {}", few(there_are)),
                }
            }
            Self::NoShare {
                name,
                written: (service, server),
            } => write!(
                f,
                "`{name}` has weight 0, so that it is drained; give it a share: `flbc set {service} {server} weight 1`"
            ),
            Self::WishesUnknown(unreadable) => {
                write!(f, "{unreadable}; nothing was changed")?;
                if unreadable.is_lost {
                    f.write_str(
                        ": `flbc apply FILE` without `--keep` ends all that was set, and begins anew",
                    )?;
                }
                Ok(())
            }
            Self::WishesUnwritten { notes, error } => write!(
                f,
                "what is set cannot be written down in `{}`, and would be lost: {error}; nothing was changed",
                notes.display()
            ),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

fn busy(f: &mut fmt::Formatter<'_>, waited: Duration, holder: Option<&Holder>) -> fmt::Result {
    let held = holder.map_or(waited, |holder| holder.held);
    let held = DurationWords(Duration::from_secs(held.as_secs()));
    write!(f, "another flbc has been changing these tables for {held}")?;
    match holder {
        Some(holder) => write!(
            f,
            ": {}; wait for it or end it (`kill {}`)",
            HolderWords(holder),
            holder.pid
        ),
        None => f.write_str("; wait for it or end it"),
    }
}

fn on_trial(f: &mut fmt::Formatter<'_>, option: &str, open: Open) -> fmt::Result {
    f.write_str("a trial is open")?;
    match open.remaining {
        Some(Duration::ZERO) if open.watched => {
            f.write_str(", and its time is over: the process that goes back is stopped, or waits")?;
        }
        Some(left) => write!(f, " for another {}", seconds(left))?,
        None => {}
    }
    if !open.watched {
        f.write_str(", but the process that was to go back was killed")?;
    }
    if open.remaining.is_none() {
        f.write_str(", and the note that says until when is damaged")?;
    }
    write!(
        f,
        ": `flbc confirm{option}` keeps what it tries, `flbc try --back{option}` goes back at once; then try again"
    )
}

impl Error for Refused {}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<KernelError> for Refused {
    fn from(error: KernelError) -> Self {
        Self::Failed(error.into())
    }
}

/// The first of many names: `a, b and 3 more`.
pub fn few<S: AsRef<str>>(names: &[S]) -> String {
    let first: Vec<&str> = names.iter().take(TOLD).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(TOLD) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// ` --table NAME`, where it must be said.
pub fn option(table: &str) -> String {
    if table == DEFAULT_TABLE {
        String::new()
    } else {
        format!(" --table {table}")
    }
}

/// Which process has the lock: its number and its command line.
pub struct HolderWords<'h>(pub &'h Holder);

impl fmt::Display for HolderWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder {
            pid,
            command,
            held: _,
        } = self.0;
        write!(f, "process {pid}, {}", quote(command))
    }
}

/// In whole seconds, the last one begun too.
pub fn seconds(duration: Duration) -> String {
    let begun = u64::from(duration.subsec_nanos() > 0);
    let whole = Duration::from_secs(duration.as_secs() + begun);
    DurationWords(whole).to_string()
}

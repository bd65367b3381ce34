//! Why the kernel did not do what it was asked.

use std::fmt;
use std::sync::Arc;

use rustix::io::Errno;

use crate::diagnostic::Exit;
use crate::emit::netlink::change::{Change, Step};
use crate::source::Span;

/// Why the kernel did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelError {
    /// It does not take some of the changes, and made none.
    Refused(Vec<Refusal>),
    /// Somebody else changed its rules meanwhile; nothing was done. Worth another try.
    Changed,
    /// It takes that from a process with `CAP_NET_ADMIN` alone.
    NoPrivilege,
    /// It has no memory left for the whole transaction, or no room for one so large.
    OutOfMemory,
    /// It takes no transaction as large as this from a process in a user namespace.
    NoRoom {
        /// How large it is.
        bytes: usize,
        /// What `net.core.wmem_max` must be for it.
        setting: usize,
    },
    /// It took every change, but not all of them together.
    NotTogether(Errno),
    /// A system call failed.
    Failed {
        /// What was to be done.
        doing: &'static str,
        /// Why it was not.
        errno: Errno,
    },
}

impl KernelError {
    /// How a run that met it ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoPrivilege => Exit::Unprivileged,
            Self::Refused(_)
            | Self::Changed
            | Self::OutOfMemory
            | Self::NoRoom { .. }
            | Self::NotTogether(_)
            | Self::Failed { .. } => Exit::Refused,
        }
    }

    /// Whether it was only that what rules put into a map, or take out of it, was another thing by then.
    pub fn is_out_of_date(&self) -> bool {
        let Self::Refused(refusals) = self else {
            return false;
        };
        let mut reasons = refusals.iter().map(|refusal| &refusal.reason);
        reasons.all(|reason| matches!(reason, Reason::Missing | Reason::Exists))
    }
}

/// One change that the kernel does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The change, by its place.
    pub change: usize,
    /// What it was to do.
    pub what: String,
    /// The element of it, by its place, if it adds or removes several and the kernel said which.
    pub element: Option<usize>,
    /// Where it comes from.
    pub origin: Option<Span>,
    /// The kernel's own error number.
    pub errno: Errno,
    /// What that means here.
    pub reason: Reason,
}

/// What an error number means for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is no interface of this name.
    NoInterface(Arc<str>),
    /// The table belongs to a process that is still there (`flags owner`).
    Owned,
    /// What is to be removed is still used.
    Busy,
    /// The kernel has no memory left.
    OutOfMemory,
    /// The set has no room left.
    SetFull,
    /// The kernel lacks a module, or was built without what it holds.
    NoModule(String),
    /// The kernel has it, but another version of it: newer and older ones take less.
    Unsupported(String),
    /// It is there already.
    Exists,
    /// It is not there.
    Missing,
    /// Anything else.
    Other,
}

impl Refusal {
    /// What the kernel's answer to a change means. `expression` is the one that it blames in a rule.
    pub(crate) fn new(
        place: usize,
        change: &Change,
        element: Option<usize>,
        expression: Option<&str>,
        errno: Errno,
    ) -> Self {
        Self {
            change: place,
            what: change.to_string(),
            element,
            origin: change.origin(element),
            errno,
            reason: reason(change, expression, errno),
        }
    }
}

fn reason(change: &Change, expression: Option<&str>, errno: Errno) -> Reason {
    match (&change.step, errno) {
        (_, Errno::NOMEM | Errno::NOBUFS) => Reason::OutOfMemory,
        // Without privilege the kernel refuses the whole transaction, not each change.
        (_, Errno::PERM) => Reason::Owned,
        (_, Errno::BUSY) => Reason::Busy,
        (_, Errno::EXIST) => Reason::Exists,
        (Step::AddElements { .. }, Errno::NFILE) => Reason::SetFull,
        (
            Step::AddChain {
                hook: Some(hook), ..
            },
            Errno::NOENT,
        ) => match hook.devices.first() {
            Some(device) => Reason::NoInterface(device.clone()),
            None => Reason::NoModule(format!("nft_chain_{}", hook.kind)),
        },
        (
            Step::AddChain {
                hook: Some(hook), ..
            },
            Errno::OPNOTSUPP,
        ) => Reason::Unsupported(format!("chains of type `{}`", hook.kind)),
        (Step::AddRule { .. }, Errno::NOENT) => match expression {
            // These are always there; the set is not.
            Some("lookup" | "dynset") | None => Reason::Missing,
            Some(name) => Reason::NoModule(format!("nft_{name}")),
        },
        // An expression that the kernel did not find is `NOENT`: this one it found, and it declined.
        (Step::AddRule { .. }, Errno::OPNOTSUPP) => match expression {
            Some(name) => Reason::Unsupported(format!("`{name}`")),
            None => Reason::Other,
        },
        (_, Errno::NOENT) => Reason::Missing,
        _ => Reason::Other,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface(name) => write!(f, "there is no interface `{name}`"),
            Self::Owned => write!(f, "another program holds this table for itself"),
            Self::Busy => write!(f, "something still uses it"),
            Self::OutOfMemory => write!(f, "the kernel has no memory left for it"),
            Self::SetFull => write!(f, "the set has no room left"),
            Self::NoModule(name) => write!(f, "the kernel lacks the module {name}"),
            Self::Unsupported(what) => {
                write!(f, "this kernel knows {what}, but does not take this form")
            }
            Self::Exists => write!(f, "it is there already"),
            Self::Missing => write!(f, "something that it needs is not there"),
            Self::Other => write!(f, "the kernel does not take it"),
        }
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusals) => {
                write!(f, "the kernel refused the changes")?;
                for refusal in refusals.iter().take(1) {
                    write!(
                        f,
                        ": cannot {}: {} ({})",
                        refusal.what, refusal.reason, refusal.errno
                    )?;
                }
                Ok(())
            }
            Self::Changed => write!(f, "another program changed the kernel's rules meanwhile"),
            Self::NoPrivilege => write!(f, "this needs root, or the capability CAP_NET_ADMIN"),
            Self::OutOfMemory => write!(f, "the kernel has no memory left for the changes"),
            Self::NoRoom { bytes, setting } => write!(
                f,
                "the changes are one transaction of {bytes} bytes, and in this container the kernel takes none so large; `sysctl -w net.core.wmem_max={setting}` on the host itself makes room for it"
            ),
            Self::NotTogether(errno) => {
                write!(
                    f,
                    "the kernel took each change but not all together ({errno})"
                )
            }
            Self::Failed { doing, errno } => {
                write!(f, "cannot {doing}: {}", crate::diagnostic::reason(errno))
            }
        }
    }
}

impl std::error::Error for KernelError {}

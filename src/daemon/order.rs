//! What the daemon hears, what is to be done about it, and what came of that.

use crate::kernel::events::Process;

/// What the daemon hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard<C> {
    /// Somebody committed something to the kernel's rules.
    Generation {
        /// The generation that it made.
        number: u32,
        /// Who it was, where the kernel says so.
        by: Option<Process>,
    },
    /// Another flbc is about to change the tables.
    Turn,
    /// An interface that the configuration names came or went, or is another, or has another MAC address.
    Interfaces,
    /// Something was missed: all may be otherwise.
    Missed,
    /// The files may have changed.
    Files,
    /// Somebody wants the file to be read again.
    Reload(C),
    /// Somebody wants a server to be set.
    Set(C),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order<C> {
    /// Read the file, and make the kernel have what it says, with what was set.
    Start,
    /// Find out whether what should be in force is. `whole`: in all that there is; else only whether the tables are there.
    Look {
        /// How far.
        whole: bool,
    },
    /// Make the kernel have what it should have.
    Enforce(Why),
    /// Read the file again, and make the kernel have what it says. Nobody may have asked for it: the file changed.
    Reload(Option<C>),
    /// Set what these ask for, all at once.
    Set(Vec<C>),
}

/// Why the kernel is to be made to have what it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Others changed it.
    Repair,
    /// The machine's interfaces changed.
    Interfaces,
    /// What was set is written down and not in force: whoever set it was killed, or a trial went back.
    Set,
    /// It failed before.
    Again,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<C> {
    /// It was done, or could not be, for good: what is known to be in force is so at this generation, if it is known.
    Done {
        /// The generation.
        known: Option<u32>,
    },
    /// The same, and others' changes were put right by it.
    Repaired {
        /// The generation.
        known: Option<u32>,
    },
    /// It was done, and cannot be noted, so that it is not known to be in force: another try may note it.
    Unnoted {
        /// Whether others' changes were put right by it.
        repaired: bool,
    },
    /// Another flbc is at work on these tables: it was not done.
    Busy(Order<C>),
    /// A trial is open: it was not done.
    OnTrial(Order<C>),
    /// All is as it should be, at this generation, as far as it was looked at.
    InForce {
        /// The generation.
        generation: u32,
        /// Whether all was looked at.
        whole: bool,
    },
    /// Others changed it.
    Broken,
    /// It is not what it should be by now, and nobody changed it.
    Behind(Why),
    /// Another flbc removed the tables: nothing is to be in force.
    Unloaded,
    /// It failed, and may work later.
    Failed,
    /// What it needs is not there: once it comes, that is heard.
    Waits,
}

/// Which order something came of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// [`Order::Start`]
    Start,
    /// [`Order::Look`]
    Look,
    /// [`Order::Enforce`]
    Enforce(Why),
    /// [`Order::Reload`]
    Reload,
    /// [`Order::Set`]
    Set,
}

impl<C> Order<C> {
    /// Which one it is.
    pub const fn kind(&self) -> Done {
        match self {
            Self::Start => Done::Start,
            Self::Look { .. } => Done::Look,
            Self::Enforce(why) => Done::Enforce(*why),
            Self::Reload(_) => Done::Reload,
            Self::Set(_) => Done::Set,
        }
    }
}

//! What happens in the kernel: other programs' transactions, and interfaces, addresses and neighbours that come, change
//! and go.
//!
//! Whoever wants to know opens a [`Feed`] first and looks at everything then, so that nothing falls between. Events say
//! what was when they were sent; by the time that they are read the kernel may be somewhere else.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::MacAddress;

use super::KernelError;

mod feed;
mod reader;

pub use feed::Feed;
pub use reader::Reader;

/// Tells what happens in a kernel.
pub trait Watch {
    /// What has happened since this was last asked: nothing, if nothing has. It does not wait, and one call tells so much
    /// at most that it ends whatever others do; the next tells the rest.
    ///
    /// # Errors
    ///
    /// [`KernelError::Failed`]. Nothing is lost by it: the next call tells what there was, or that something was missed.
    fn events(&mut self) -> Result<Vec<Event>, KernelError>;
}

impl<W: Watch> Watch for &mut W {
    fn events(&mut self) -> Result<Vec<Event>, KernelError> {
        (**self).events()
    }
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction has changed the rules: somebody's, or one of flbc's own, which is told by its generation.
    Generation(Generation),
    /// There is a new interface. One that is made anew has gone before, and has another number.
    LinkCame(Link),
    /// An interface is another than it was: its name, its MAC address, up or down, with or without carrier.
    LinkChanged {
        /// As it was last told.
        before: Link,
        /// As it is.
        after: Link,
    },
    /// There is no such interface any more, as it was last told.
    LinkGone(Link),
    /// An interface has this address now, and it can be used; told again when something about it changes.
    AddressCame(Address),
    /// An interface has this address no more.
    AddressGone(Address),
    /// A neighbour was found, lost, or has another MAC address; told also when nothing but its age changes.
    Neighbour(Neighbour),
    /// More has happened than could be kept: whoever must know looks at all of it. It comes when things are told again,
    /// so that what happens after it is told.
    Missed(Source),
}

impl Event {
    /// Where it comes from.
    pub const fn source(&self) -> Source {
        match self {
            Self::Generation(_) => Source::Rules,
            Self::LinkCame(_)
            | Self::LinkChanged { .. }
            | Self::LinkGone(_)
            | Self::AddressCame(_)
            | Self::AddressGone(_) => Source::Interfaces,
            Self::Neighbour(_) => Source::Neighbours,
            Self::Missed(source) => *source,
        }
    }
}

/// Where events come from: what happens in one of these can be missed, and others' events still be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Generations.
    Rules,
    /// Interfaces and their addresses.
    Interfaces,
    /// Neighbours.
    Neighbours,
}

impl Source {
    /// All of them, in the order in which a [`Feed`] reads them.
    pub const ALL: [Self; 3] = [Self::Rules, Self::Interfaces, Self::Neighbours];
}

/// A transaction that has changed the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The generation that it made.
    pub number: u32,
    /// Who committed it, if the kernel says so.
    pub process: Option<Process>,
}

/// Who has committed a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The number of its thread, which is the process's if it has no other. It is counted as the machine itself counts: in a
    /// container with processes of its own the process has another number.
    #[serde(rename = "pid")]
    pub id: u32,
    /// What the thread is called, at most 15 characters, none that controls a terminal. Whoever it is chose it.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.name, self.id)
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its own MAC address, if it has one.
    pub mac: Option<MacAddress>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether there is somebody at the other end.
    pub carrier: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The number of the interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// How many of its bits are those of its network.
    pub prefix: u8,
}

/// Who has an address, seen from an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The number of the interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Its MAC address; `None` where nobody answers, or the kernel has forgotten who did.
    pub mac: Option<MacAddress>,
}

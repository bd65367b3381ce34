//! What `flbc run` and whoever asks it say to each other: a line of JSON each way, over a socket in the folder of the notes.
//!
//! ```text
//! flbc reload, set, events, status ──Request──▶ flbc run
//!                                  ◀──Answer───  one, or one for each event
//! ```
//!
//! Nothing depends on it: a command that gets no answer does itself what it can. So an answer is waited for as long as a
//! person waits, and no longer.

use serde::{Deserialize, Serialize};

use crate::operate::set::Demand;

pub mod client;
mod record;
mod said;
pub mod server;

pub use record::{Kind, Level, Record};
pub use said::Said;

/// The longest request, in bytes.
pub const LONGEST_REQUEST: usize = 16 << 10;

/// The end of the name of the socket, among the notes of its tables.
pub const SOCKET: &str = "sock";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Who it is, and what it does.
    About,
    /// Not to listen to the kernel's transactions until whoever asks has made its own, for which it has the lock: see
    /// [`crate::kernel::events::Feed::listen_to_rules`].
    Quiet,
    /// To read its file again.
    Reload {
        /// How faults are to look.
        looks: Looks,
    },
    /// To set one server.
    Set {
        /// The service.
        service: String,
        /// The server.
        server: String,
        /// What it is to be.
        demand: Demand,
    },
    /// What happened.
    Events {
        /// Whether to go on with what happens from now on.
        follow: bool,
    },
}

impl Request {
    /// Whether it changes nothing.
    pub const fn only_looks(&self) -> bool {
        match self {
            Self::About | Self::Events { .. } => true,
            Self::Quiet | Self::Reload { .. } | Self::Set { .. } => false,
        }
    }
}

/// How text that is made elsewhere is to look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// Whether it has colours.
    pub color: bool,
    /// Whether it has frames.
    pub unicode: bool,
    /// How wide it may be, in columns.
    pub width: Option<usize>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// Who it is, and what it does.
    About(About),
    /// What was asked for was tried: what came of it, word for word.
    Done(Said),
    /// One thing that happened. What was asked for ends with the end of the connection.
    Record(Record),
    /// It is not done: the request is none, or not this user's.
    Refused {
        /// Why.
        why: String,
    },
}

/// What a daemon is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Since when it runs: seconds since 1970.
    pub since: u64,
    /// The file that it was told to run.
    pub configured: String,
    /// What it keeps in force.
    pub running: Running,
    /// What it does at the moment, where it does not simply watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
    /// Why what should be in force is not, where it knows of something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// How often it repaired what others had changed.
    pub repairs: u64,
    /// Since when its file has faults, so that what it keeps in force is older: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faulty_since: Option<u64>,
    /// When it last read its file without faults: seconds since 1970.
    pub read_at: u64,
}

/// What a daemon keeps in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// Its file.
    File,
    /// What another run of flbc applied: its command line.
    Applied(String),
    /// Nothing: the tables were unloaded.
    Nothing,
}

impl Running {
    /// In words: a file, or what else there is to say of it.
    pub fn words(&self, configured: &str) -> String {
        match self {
            Self::File => configured.to_owned(),
            Self::Applied(command) => {
                let file = command.split(' ').next_back();
                let file = file.filter(|file| !file.starts_with("--") && *file != command);
                match file {
                    Some(file) => format!("{file} (by `{command}`)"),
                    None => format!("what `{command}` applied"),
                }
            }
            Self::Nothing => "nothing, as it was unloaded".to_owned(),
        }
    }
}

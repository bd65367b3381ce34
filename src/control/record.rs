//! What happened, when, why and by whom.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::diagnostic::escape;
use crate::kernel::events::Process;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Record {
    /// When: milliseconds since 1970, by the machine's clock.
    pub at: u64,
    /// How much it matters.
    pub level: Level,
    /// What it is.
    pub kind: Kind,
    /// In a sentence.
    pub text: String,
    /// The service that it is about.
    pub service: Option<String>,
    /// The real server that it is about.
    pub server: Option<String>,
    /// The interface that it is about.
    pub interface: Option<String>,
    /// Why it happened.
    pub cause: Option<String>,
    /// Who made it happen, the first ones first.
    pub processes: Vec<Process>,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(with = "time")]
    time: u64,
    level: Level,
    code: Kind,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// The first who made it happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
    /// All others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other_processes: Vec<Process>,
}

impl From<Record> for Written {
    fn from(record: Record) -> Self {
        let Record {
            at,
            level,
            kind,
            text,
            service,
            server,
            interface,
            cause,
            processes,
        } = record;
        let mut processes = processes.into_iter();
        Self {
            time: at,
            level,
            code: kind,
            text,
            service,
            server,
            interface,
            cause,
            process: processes.next(),
            other_processes: processes.collect(),
        }
    }
}

impl From<Written> for Record {
    fn from(written: Written) -> Self {
        let Written {
            time,
            level,
            code,
            text,
            service,
            server,
            interface,
            cause,
            process,
            other_processes,
        } = written;
        Self {
            at: time,
            level,
            kind: code,
            text,
            service,
            server,
            interface,
            cause,
            processes: process.into_iter().chain(other_processes).collect(),
        }
    }
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Info,
    /// Worth a look.
    Warning,
    /// Something is not as it should be, and stays so.
    Error,
}

impl Level {
    /// The priority in the journal: what `sd-daemon(3)` puts before a line.
    pub const fn priority(self) -> &'static str {
        match self {
            Self::Info => "<6>",
            Self::Warning => "<4>",
            Self::Error => "<3>",
        }
    }

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident $code:literal,)+) => {
        /// What can happen. Codes never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $variant,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its code.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }
    };
}

kinds! {
    /// The daemon has its configuration in force, and watches.
    Started "started",
    /// The daemon ends; the rules stay.
    Stopped "stopped",
    /// The file was read again, and is in force.
    Reloaded "reloaded",
    /// The file was not applied: what was in force stays.
    ReloadFailed "reload-failed",
    /// Another run of flbc applied something: it is what is kept in force from now on.
    Applied "applied",
    /// Another run of flbc removed the tables: nothing is kept in force until somebody applies or reloads.
    Unloaded "unloaded",
    /// A server was set.
    Set "set",
    /// What others had changed was put right.
    Repaired "repaired",
    /// What others had changed could not be put right.
    RepairFailed "repair-failed",
    /// It was put right too often: the next time is later.
    RepairHeld "repair-held",
    /// What is in force follows the machine's interfaces.
    Followed "followed",
    /// It could not follow them.
    FollowFailed "follow-failed",
    /// A trial is open: it is left alone.
    TrialBegan "trial-began",
    /// The trial is over.
    TrialEnded "trial-ended",
    /// Something that the daemon needs failed, and is tried again.
    Trouble "trouble",
    /// An interface that the configuration names came, went, or is another.
    Interface "interface",
    /// Another program takes the place of this one.
    Renewed "renewed",
}

impl Record {
    /// Something that happened, and nothing is known of it but this.
    pub const fn new(at: u64, level: Level, kind: Kind, text: String) -> Self {
        Self {
            at,
            level,
            kind,
            text,
            service: None,
            server: None,
            interface: None,
            cause: None,
            processes: Vec::new(),
        }
    }

    /// A line for whoever has a clock and a notion of what matters, without its end.
    pub fn line(&self) -> String {
        format!("{}: {}", self.kind.code(), escape(&self.text))
    }
}

impl fmt::Display for Record {
    /// A line for people, without its end. What came from a file or the kernel is made safe for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", time::words(self.at))?;
        if self.level != Level::Info {
            write!(f, "{}: ", self.level.name())?;
        }
        f.write_str(&self.line())
    }
}

/// Times as people and programs read them: in UTC, to the millisecond, by RFC 3339.
mod time {
    use super::{Duration, UNIX_EPOCH};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn words(at: u64) -> String {
        let time = UNIX_EPOCH + Duration::from_millis(at);
        humantime::format_rfc3339_millis(time).to_string()
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub(super) fn serialize<S: Serializer>(at: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&words(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let words = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&words).map_err(D::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH);
        let milliseconds = since.map_err(D::Error::custom)?.as_millis();
        u64::try_from(milliseconds).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let event = Record {
            at: 1_795_879_500_123,
            level: Level::Warning,
            kind: Kind::Repaired,
            text: "the tables were gone".to_owned(),
            service: Some("www".to_owned()),
            server: None,
            interface: None,
            cause: Some("flushed".to_owned()),
            processes: vec![Process {
                id: 7,
                name: "nft".to_owned(),
            }],
        };
        let text = serde_json::to_string(&event).expect("plain data");
        assert_eq!(
            text,
            r#"{"time":"2026-11-28T15:25:00.123Z","level":"warning","code":"repaired","text":"the tables were gone","service":"www","cause":"flushed","process":{"pid":7,"name":"nft"}}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&text).ok(), Some(event));
    }

    #[test]
    fn no_two_kinds_have_one_code() {
        let mut codes: Vec<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
    }
}

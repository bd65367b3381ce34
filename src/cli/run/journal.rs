//! What the daemon says to whoever keeps its log: a line for each thing that happened, and no flood.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::report::Report;
use crate::control::{Kind, Record};

/// So many lines about one thing within a second.
const EACH: u32 = 5;
const WINDOW: Duration = Duration::from_secs(1);

/// So many things are told apart.
const MOST: usize = 10_000;

/// What a line is about: the kind of thing, the service, and the server or interface.
type About = (Kind, Option<String>, Option<String>);

/// The log.
#[derive(Debug)]
pub(super) struct Journal {
    /// Whether the other end is the journal, which wants priorities and has a clock of its own.
    prefixed: bool,
    /// How many lines had nowhere to go.
    lost: u64,
    /// By what it is about: since when lines are counted, how many there were, and how many were left out.
    about: BTreeMap<About, (Duration, u32, u64)>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            prefixed: std::env::var_os("JOURNAL_STREAM").is_some(),
            lost: 0,
            about: BTreeMap::new(),
        }
    }

    /// Shows text of many lines, as far as it goes at once.
    pub(super) fn show(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            if takes_a_line() {
                Report::print(line);
            } else {
                self.lost += 1;
            }
        }
    }

    /// Says what happened, unless much was said about the same a moment ago: that is said with the next line about it.
    pub(super) fn say(&mut self, record: &Record, now: Duration) {
        if self.about.len() >= MOST {
            self.about
                .retain(|_, (since, _, left_out)| now < *since + WINDOW || *left_out > 0);
        }
        let thing = record.server.clone().or_else(|| record.interface.clone());
        let key = (record.kind, record.service.clone(), thing);
        let (since, lines, left_out) = self.about.entry(key).or_insert((now, 0, 0));
        if now >= *since + WINDOW {
            (*since, *lines) = (now, 0);
        }
        *lines += 1;
        if *lines > EACH {
            *left_out += 1;
            return;
        }
        let more = std::mem::take(left_out);
        let line = if self.prefixed {
            record.line()
        } else {
            record.to_string()
        };
        let mut more = match more {
            0 => String::new(),
            more => format!(" ({more} lines like this were left out)"),
        };
        if !takes_a_line() {
            self.lost += 1;
            return;
        }
        match std::mem::take(&mut self.lost) {
            0 => {}
            // Writing to a String cannot fail.
            lost => _ = write!(more, " ({lost} lines were lost: nobody read them)"),
        }
        let priority = if self.prefixed {
            record.level.priority()
        } else {
            ""
        };
        Report::print(&format!("{priority}{line}{more}\n"));
    }
}

/// Whether standard error takes a line at once. A pipe that nobody reads must not stop the daemon; one that can be written to
/// has room for 4,096 bytes.
fn takes_a_line() -> bool {
    let stderr = io::stderr();
    let mut end = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec::default();
    poll(&mut end, Some(&now)).is_ok_and(|ready| ready > 0)
}

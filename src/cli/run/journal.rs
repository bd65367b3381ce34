//! What the daemon says to whoever keeps its log: a line for each thing that happened, and no flood.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::report::Report;
use crate::control::{Kind, Record};

/// So many lines about one thing within a second.
const EACH: u32 = 5;
const WINDOW: Duration = Duration::from_secs(1);

/// So many things are told apart.
const MOST: usize = 10_000;

/// The log.
#[derive(Debug)]
pub(super) struct Journal {
    /// Whether the other end is the journal, which wants priorities and has a clock of its own.
    is_journal: bool,
    /// By what it is about: since when lines are counted, how many there were, and how many were left out.
    about: BTreeMap<(Kind, Option<String>, Option<String>), (Duration, u32, u64)>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            is_journal: std::env::var_os("JOURNAL_STREAM").is_some(),
            about: BTreeMap::new(),
        }
    }

    /// Says what happened, unless much was said about the same a moment ago: that is said with the next line about it.
    pub(super) fn say(&mut self, record: &Record, now: Duration) {
        if self.about.len() >= MOST {
            self.about.retain(|_, (since, _, left_out)| now < *since + WINDOW || *left_out > 0);
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
        let line = if self.is_journal {
            record.line()
        } else {
            record.to_string()
        };
        let more = match more {
            0 => String::new(),
            more => format!(" ({more} lines like this were left out)"),
        };
        let priority = if self.is_journal {
            record.level.priority()
        } else {
            ""
        };
        Report::print(&format!("{priority}{line}{more}\n"));
    }
}

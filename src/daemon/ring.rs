//! What happened lately.

use std::collections::VecDeque;

use crate::control::Record;

/// So many events are kept.
const MOST: usize = 10_000;

/// The last events, the oldest first. Nothing of it outlives the daemon.
#[derive(Debug, Default)]
pub struct Ring {
    events: VecDeque<Record>,
}

impl Ring {
    /// Keeps one more, and forgets the oldest where there are too many.
    pub fn push(&mut self, event: Record) {
        if self.events.len() >= MOST {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// All of them, the oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Record> {
        self.events.iter()
    }
}

//! What has happened in a kernel in memory and was not asked for yet: kept as Linux keeps it.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::events::{Event, Link, Reader, Source};

/// So many of one source Linux keeps, about.
const ROOM: usize = 10_000;

/// What Linux tells.
#[derive(Debug, Clone)]
pub(super) enum Notice {
    /// What is told as it is.
    Event(Event),
    /// All about an interface, as it is now.
    Link(Link),
    /// That there is no interface of this number.
    Gone(u32),
}

impl Notice {
    const fn source(&self) -> Source {
        match self {
            Self::Event(event) => event.source(),
            Self::Link(_) | Self::Gone(_) => Source::Interfaces,
        }
    }
}

/// What has happened, until it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Happenings {
    kept: BTreeMap<Source, Vec<Notice>>,
    overrun: BTreeSet<Source>,
    reader: Reader,
}

impl Happenings {
    /// Keeps it, if there is room; from then on nothing of its source, until all that is kept was asked for.
    pub(super) fn add(&mut self, notice: Notice) {
        let source = notice.source();
        let kept = self.kept.entry(source).or_default();
        if kept.len() >= ROOM {
            self.overrun.insert(source);
        }
        if !self.overrun.contains(&source) {
            kept.push(notice);
        }
    }

    /// Loses what happens in this, until it is asked for.
    pub(super) fn overrun(&mut self, source: Source) {
        self.overrun.insert(source);
    }

    /// All that has happened; the interfaces are these now.
    pub(super) fn take(&mut self, links: BTreeMap<u32, Link>) -> Vec<Event> {
        let mut links = Some(links);
        let mut events = Vec::new();
        for source in Source::ALL {
            let kept = self.kept.remove(&source).unwrap_or_default();
            for notice in kept {
                events.extend(match notice {
                    Notice::Event(event) => Some(event),
                    Notice::Link(link) => self.reader.link(link),
                    Notice::Gone(index) => self.reader.gone(index),
                });
            }
            if self.overrun.remove(&source) {
                if source == Source::Interfaces
                    && let Some(links) = links.take()
                {
                    events.extend(self.reader.replace(links));
                }
                events.push(Event::Missed(source));
            }
        }
        events
    }

    /// Begins with these interfaces.
    pub(super) fn begin(links: BTreeMap<u32, Link>) -> (Self, Vec<Event>) {
        let mut happenings = Self::default();
        let events = happenings.reader.replace(links);
        (happenings, events)
    }
}

//! What the kernel tells, as far as it is about what is kept in force.

use std::time::Duration;

use super::Daemon;
use crate::control::{Kind, Level};
use crate::daemon::order::Heard;
use crate::kernel::events::{Event, Feed, Source, Watch as _};

/// How long it is not listened after that failed.
const DEAF: Duration = Duration::from_secs(1);

impl Daemon {
    /// Hears what the kernel tells. Where that fails all is looked at instead, once a second.
    pub(super) fn hear_kernel(&mut self, now: Duration) {
        if let Some(until) = self.deaf {
            if now < until {
                return;
            }
            // From the beginning: whatever was wrong with the old one.
            match Feed::open() {
                Ok(feed) => (self.feed, self.deaf) = (feed, None),
                Err(_) => self.deaf = Some(now + DEAF),
            }
            self.core.hear(Heard::Missed, now);
        }
        match self.feed.events() {
            Ok(events) => {
                for event in events {
                    self.hear(event, now);
                }
            }
            Err(error) => {
                self.deaf = Some(now + DEAF);
                self.core.hear(Heard::Missed, now);
                self.happened(Level::Error, Kind::Trouble, error.to_string());
            }
        }
    }

    fn hear(&mut self, event: Event, now: Duration) {
        match event {
            Event::Generation(generation) => self.core.hear(
                Heard::Generation {
                    number: generation.number,
                    by: generation.process,
                },
                now,
            ),
            Event::LinkCame(link) => self.hear_of(&link.name, "is there", now),
            Event::LinkGone(link) => self.hear_of(&link.name, "is gone", now),
            Event::LinkChanged { before, after } => {
                if before.name != after.name {
                    let to = format!("is called `{}` now", after.name);
                    self.hear_of(&before.name, &to, now);
                    self.hear_of(&after.name, "is there", now);
                } else if before.mac != after.mac {
                    self.hear_of(&after.name, "has another MAC address", now);
                } else if (before.up, before.carrier) != (after.up, after.carrier) {
                    let is = match (after.up, after.carrier) {
                        (false, _) => "is switched off",
                        (true, false) => "has nobody at its other end",
                        (true, true) => "works again",
                    };
                    self.tell_of(&after.name, is);
                }
            }
            Event::Missed(Source::Rules | Source::Interfaces) => {
                self.core.hear(Heard::Missed, now);
            }
            // The kernel asks neighbours itself, and no rule has an address of this machine's.
            Event::AddressCame(_)
            | Event::AddressGone(_)
            | Event::Neighbour(_)
            | Event::Missed(Source::Neighbours) => {}
        }
    }

    /// Hears of an interface, if the configuration names it.
    fn hear_of(&mut self, interface: &str, what: &str, now: Duration) {
        if self.tell_of(interface, what) {
            self.core.hear(Heard::Interfaces, now);
        }
    }

    fn tell_of(&mut self, interface: &str, what: &str) -> bool {
        let is_named = self.hands.names_interface(interface);
        if is_named {
            let text = format!("interface `{interface}` {what}");
            let mut record = self.record(Level::Info, Kind::Interface, text);
            record.interface = Some(interface.to_owned());
            self.tell(record);
        }
        is_named
    }
}

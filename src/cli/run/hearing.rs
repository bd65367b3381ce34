//! Hearing what the kernel tells.

use std::time::Duration;

use super::Daemon;
use crate::control::{Kind, Level};
use crate::daemon::order::Heard;
use crate::kernel::events::{Feed, Watch as _};

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
                    let (heard, records) = self.hands.hear(event);
                    for record in records {
                        self.tell(record);
                    }
                    if let Some(heard) = heard {
                        self.core.hear(heard, now);
                    }
                }
            }
            Err(error) => {
                self.deaf = Some(now + DEAF);
                self.core.hear(Heard::Missed, now);
                self.happened(Level::Error, Kind::Trouble, error.to_string());
            }
        }
    }
}

//! Files that are followed: whether any of those that were read last, or a folder that was looked into, is another by now.
//!
//! They are looked at and not listened to: so links, mounts and file systems of other machines are followed like all others,
//! and however many files there are take no more than a fiftieth of the time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::source::{FilePrint, Sources};

/// How often they are looked at, at most.
const EACH: Duration = Duration::from_secs(1);

/// How long they must have been the same before they are read: whoever writes several writes them one after the other.
const SETTLED: Duration = Duration::from_millis(300);
/// How long that is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looking takes one part in so many of the time.
const SHARE: u32 = 50;

/// What is followed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    looked: Vec<(PathBuf, Option<FilePrint>)>,
    next: Duration,
    /// Since when they change, and what they were when that was last seen.
    changing: Option<(Duration, Vec<Option<FilePrint>>)>,
}

impl Followed {
    /// These are what is to be followed from now on.
    pub(super) fn look_at(&mut self, sources: &Sources, now: Duration) {
        self.looked = sources.looked_at().cloned().collect();
        self.next = now + EACH;
        self.changing = None;
    }

    /// When they are to be looked at next.
    pub(super) fn next(&self) -> Duration {
        self.next
    }

    /// Whether they are others than when they were read, and have been the same for a moment.
    pub(super) fn changed(&mut self, now: Duration) -> bool {
        if now < self.next {
            return false;
        }
        let begun = Instant::now();
        let prints: Vec<Option<FilePrint>> = self
            .looked
            .iter()
            .map(|(path, _)| FilePrint::of(path))
            .collect();
        let pause = begun.elapsed() * SHARE;
        let same = self.looked.iter().map(|(_, then)| then).eq(prints.iter());
        if same {
            self.changing = None;
            self.next = now + EACH.max(pause);
            return false;
        }
        let (since, before) = match self.changing.take() {
            Some((since, before)) => (since, Some(before)),
            None => (now, None),
        };
        if before.as_ref() == Some(&prints) || now >= since + PATIENCE {
            self.next = now + EACH.max(pause);
            return true;
        }
        self.changing = Some((since, prints));
        self.next = now + SETTLED.max(pause);
        false
    }
}

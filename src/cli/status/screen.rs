//! Readings one after the other: on a terminal in one place, and until somebody has had enough.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A signal that comes between a look and the wait for it is seen this much later.
const PATIENCE: Duration = Duration::from_millis(250);

/// A text that takes the place of the one before. What has no room on the screen is left out: it would scroll.
pub(super) fn redrawn(text: &str) -> String {
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    let room = if rows > 1 {
        usize::from(rows) - 1
    } else {
        usize::MAX
    };
    let lines = text.lines().count();
    let shown = if lines > room {
        room.saturating_sub(1)
    } else {
        lines
    };
    let mut screen = "\x1b[H".to_owned();
    for line in text.lines().take(shown) {
        // Writing to a String cannot fail.
        let _ = writeln!(screen, "{line}\x1b[K");
    }
    if shown < lines {
        let _ = writeln!(screen, "and {} lines more\x1b[K", lines - shown);
    }
    screen.push_str("\x1b[J");
    screen
}

/// Time between readings, which a signal or a reader that goes away ends.
pub(super) struct Pause {
    stopped: Arc<AtomicBool>,
}

impl Pause {
    pub(super) fn new() -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, stopped.clone())?;
        }
        Ok(Self { stopped })
    }

    /// Waits; says whether it is over.
    pub(super) fn ends(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let stdout = io::stdout();
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Asked for nothing, it still tells that the other end of a pipe is closed. A signal ends it.
            let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
            let timeout = Timespec::try_from(left.min(PATIENCE)).ok();
            if poll(&mut ends, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
                return true;
            }
        }
    }
}

//! How often something is done: repairs that others undo, and tries that fail.

use std::collections::VecDeque;
use std::time::Duration;

/// So many repairs within so long go without a word about how many they are.
const AT_ONCE: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// How long the later ones are apart.
const MINUTES: [u64; 5] = [1, 2, 4, 8, 15];

/// When to repair what somebody takes away again and again.
///
/// Three repairs within a minute are made at once. Then the next is a minute after the last, and as long as what it mends is
/// broken again before twice that time has passed, two, four, eight, and from then on fifteen minutes. What stays whole for that long begins
/// anew.
#[derive(Debug, Clone, Default)]
pub struct Repairs {
    /// When the last few were.
    recent: VecDeque<Duration>,
    /// How many pauses were waited for, one longer than the other.
    pauses: usize,
    /// Until when the last pause goes.
    until: Duration,
}

impl Repairs {
    /// When what is broken `now` may be repaired: `now` or later.
    pub fn when(&mut self, now: Duration) -> Duration {
        if self.pauses > 0 {
            if now <= self.until {
                return self.until;
            }
            // It was whole all the time of the pause.
            self.pauses = 0;
            self.recent.clear();
        }
        while self.recent.front().is_some_and(|at| *at + WINDOW <= now) {
            self.recent.pop_front();
        }
        if self.recent.len() < AT_ONCE {
            return now;
        }
        self.pause(self.recent.back().copied().unwrap_or(now));
        self.until
    }

    /// Whether what is broken `now` has to wait for the end of a pause.
    pub fn holds(&self, now: Duration) -> bool {
        self.pauses > 0 && now < self.until
    }

    /// It was repaired.
    pub fn repaired(&mut self, now: Duration) {
        if self.pauses > 0 {
            self.pause(now);
        } else {
            self.recent.push_back(now);
            if self.recent.len() > AT_ONCE {
                self.recent.pop_front();
            }
        }
    }

    /// An operator says that all is well from now on.
    pub fn forgive(&mut self) {
        *self = Self::default();
    }

    fn pause(&mut self, now: Duration) {
        let minutes = MINUTES.get(self.pauses).or(MINUTES.last());
        self.until = now + Duration::from_secs(60 * minutes.copied().unwrap_or_default());
        self.pauses += 1;
    }
}

/// When to try what failed again: 1, 2, 4 seconds later, and so on to a minute.
#[derive(Debug, Clone, Default)]
pub struct Retries {
    failed: u32,
}

impl Retries {
    const LONGEST: Duration = Duration::from_secs(60);

    /// It failed; says when to try it again.
    pub fn failed(&mut self, now: Duration) -> Duration {
        let pause = Duration::from_secs(1 << self.failed.min(6)).min(Self::LONGEST);
        self.failed = self.failed.saturating_add(1);
        now + pause
    }

    /// It worked.
    pub fn worked(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Breaks it a second after each repair, and says how long after the break each repair came.
    fn fought(repairs: &mut Repairs, mut now: Duration, times: usize) -> (Vec<u64>, Duration) {
        let mut waited = Vec::new();
        for _ in 0..times {
            now += at(1);
            let when = repairs.when(now);
            waited.push(when.saturating_sub(now).as_secs());
            now = when;
            assert_eq!(
                repairs.when(now),
                now.max(when),
                "it is time, and then it is not"
            );
            repairs.repaired(now);
        }
        (waited, now)
    }

    #[test]
    fn whoever_fights_is_let_win_for_longer_and_longer() {
        let mut repairs = Repairs::default();
        let (waited, now) = fought(&mut repairs, at(1_000), 10);
        assert_eq!(waited, [0, 0, 0, 59, 119, 239, 479, 899, 899, 899]);
        // Whole for as long as the last pause: it begins anew.
        let (waited, _) = fought(&mut repairs, now + at(900), 4);
        assert_eq!(waited, [0, 0, 0, 59]);
        repairs.forgive();
        let (waited, _) = fought(&mut repairs, at(1_000_000), 4);
        assert_eq!(waited, [0, 0, 0, 59]);
    }

    #[test]
    fn what_breaks_now_and_then_is_mended_at_once() {
        let mut repairs = Repairs::default();
        for minute in 0..1_000 {
            let now = at(1_000 + minute * 25);
            assert_eq!(repairs.when(now), now);
            repairs.repaired(now);
        }
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let mut retries = Retries::default();
        let pauses: Vec<u64> = (0..9).map(|_| retries.failed(at(0)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        retries.worked();
        assert_eq!(retries.failed(at(5)), at(6));
    }
}

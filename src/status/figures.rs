//! What was counted, and how much that is a second.

use serde::Serialize;

use crate::diff::Counter;

/// What was counted since the beginning; nothing where the kernel does not see it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Figures {
    /// New connections, in nat.
    pub connections: Option<u64>,
    /// From clients to real servers.
    pub to: Option<Amount>,
    /// From real servers to clients, in nat.
    pub from: Option<Amount>,
    /// The same, a second, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rates>,
}

/// How much passed one way.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Amount {
    /// How many packets.
    pub packets: u64,
    /// How long they were together, with their IP headers.
    pub bytes: u64,
}

/// What [`Figures`] are a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rates {
    /// New connections, in nat.
    pub connections: Option<f64>,
    /// From clients to real servers.
    pub to: Option<Rate>,
    /// From real servers to clients, in nat.
    pub from: Option<Rate>,
}

/// How much passes one way, a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    /// Packets.
    pub packets: f64,
    /// Bits.
    pub bits: f64,
}

impl From<Counter> for Amount {
    fn from(counter: Counter) -> Self {
        Self {
            packets: counter.packets,
            bytes: counter.bytes,
        }
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
        })
    }
}

impl Figures {
    /// Adds how much came since `before`, so many seconds ago.
    pub(super) fn compare(&mut self, before: &Self, seconds: f64) {
        let amounts = |now: Option<Amount>, then: Option<Amount>| {
            let (now, then) = now.zip(then)?;
            Some(Rate {
                packets: rate(now.packets, then.packets, seconds),
                bits: rate(now.bytes, then.bytes, seconds) * 8.0,
            })
        };
        let connections = self.connections.zip(before.connections);
        self.rate = Some(Rates {
            connections: connections.map(|(now, then)| rate(now, then, seconds)),
            to: amounts(self.to, before.to),
            from: amounts(self.from, before.from),
        });
    }
}

/// How much a second. A counter that is lower than before began anew.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(now: u64, then: u64, seconds: f64) -> f64 {
    now.checked_sub(then).unwrap_or(now) as f64 / seconds.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_is_of_what_came_since_and_a_counter_may_begin_anew() {
        let rates = [rate(30, 10, 2.0), rate(5, 5, 2.0), rate(4, 10, 2.0)];
        assert!(
            rates
                .iter()
                .zip([10.0, 0.0, 2.0])
                .all(|(a, b)| (a - b).abs() < 1e-9)
        );
    }
}

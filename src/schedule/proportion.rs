//! Weights to numbers of slots.

/// The most slots that exact proportions may take.
pub const MAX_SLOTS: u32 = 4096;

/// How many slots each server gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Slots, server by server.
    pub counts: Vec<u32>,
    /// Where the weights had to be rounded: the server whose share is furthest from what it asked for.
    pub worst: Option<Worst>,
}

impl Shares {
    /// How often all of them are dealt out so that they fill so many slots; once where that would not be exact.
    pub fn turns(&self, slots: u32) -> usize {
        let total: u32 = self.counts.iter().sum();
        let exact = self.worst.is_none() && slots.checked_rem(total) == Some(0);
        if exact {
            (slots / total).max(1) as usize
        } else {
            1
        }
    }
}

/// The largest error of rounded weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// The server whose share errs most, by its place among the weights.
    pub at: usize,
    /// Its share against the one that its weight asked for, as a fraction: -1 is nothing at all, 0.01 is
    /// one per cent too much.
    pub error: f64,
}

/// Divides slots among weights, all at least 1.
///
/// Exact where the weights over their greatest common divisor add up to at most [`MAX_SLOTS`]. Beyond
/// that the slots are [`MAX_SLOTS`] (or one a server, where there are more servers), by largest remainder;
/// of equal remainders the earlier wins.
pub fn shares(weights: &[u16]) -> Shares {
    let Sum {
        divisor,
        total,
        slots,
    } = Sum::of(weights);
    if total / divisor == slots {
        let exact = weights.iter().map(|w| narrow(u64::from(*w) / divisor));
        return Shares {
            counts: exact.collect(),
            worst: None,
        };
    }
    let mut counts: Vec<u64> = weights
        .iter()
        .map(|w| u64::from(*w) * slots / total)
        .collect();
    let missing = slots - counts.iter().sum::<u64>();
    let mut by_remainder: Vec<(u64, usize)> = weights
        .iter()
        .enumerate()
        .map(|(at, w)| (u64::from(*w) * slots % total, at))
        .collect();
    by_remainder.sort_by_key(|(remainder, at)| (std::cmp::Reverse(*remainder), *at));
    // Fewer are missing than there are servers: each remainder is below one slot.
    for (_, at) in by_remainder
        .iter()
        .take(usize::try_from(missing).unwrap_or(0))
    {
        if let Some(count) = counts.get_mut(*at) {
            *count += 1;
        }
    }
    let counts: Vec<u32> = counts.into_iter().map(narrow).collect();
    let worst = worst(weights, &counts, total, slots);
    Shares { counts, worst }
}

/// How many slots [`shares`] divides among these weights.
pub fn slots(weights: &[u16]) -> u32 {
    narrow(Sum::of(weights).slots)
}

/// What weights add up to.
struct Sum {
    divisor: u64,
    total: u64,
    slots: u64,
}

impl Sum {
    fn of(weights: &[u16]) -> Self {
        let divisor = weights
            .iter()
            .fold(0, |divisor, weight| gcd(divisor, u64::from(*weight)))
            .max(1);
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let exact = total / divisor;
        let slots = if exact <= u64::from(MAX_SLOTS) {
            exact
        } else {
            u64::from(MAX_SLOTS).max(weights.len() as u64)
        };
        Self {
            divisor,
            total,
            slots,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn worst(weights: &[u16], counts: &[u32], total: u64, slots: u64) -> Option<Worst> {
    weights
        .iter()
        .zip(counts)
        .enumerate()
        .map(|(at, (weight, count))| {
            let asked = f64::from(*weight) / total as f64;
            let got = f64::from(*count) / slots as f64;
            Worst {
                at,
                error: got / asked - 1.0,
            }
        })
        .filter(|worst| worst.error != 0.0)
        .max_by(|a, b| a.error.abs().total_cmp(&b.error.abs()))
}

/// Counts are at most `MAX_SLOTS`, or the number of servers.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_weights_are_exact_and_divided() {
        assert_eq!(shares(&[10, 2, 2]).counts, [5, 1, 1]);
        assert_eq!(shares(&[65535, 65535]).counts, [1, 1]);
        assert_eq!(shares(&[4095, 1]).counts, [4095, 1]);
    }

    #[test]
    fn large_weights_are_rounded_by_largest_remainder() {
        let rounded = shares(&[65535, 1]);
        assert_eq!(rounded.counts, [4096, 0]);
        let worst = rounded.worst.unwrap();
        assert_eq!(worst.at, 1);
        assert!((worst.error + 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn more_servers_than_slots_get_one_each() {
        assert_eq!(shares(&vec![3; 5000]).counts, vec![1; 5000]);
        assert_eq!(shares(&vec![3; 5000]).worst, None);
    }

    #[test]
    fn shares_are_dealt_out_as_often_as_they_fit() {
        let turns = |weights: &[u16], slots| shares(weights).turns(slots);
        assert_eq!(turns(&[1, 1], 10), 5);
        assert_eq!(turns(&[5, 1, 1], 14), 2);
        assert_eq!(turns(&[5, 1, 1], 10), 1);
        assert_eq!(turns(&[7, 7, 7], 2), 1);
        // No server has a share by the file.
        assert_eq!(turns(&[1, 1], slots(&[])), 1);
        assert_eq!(slots(&[10, 2, 2]), 7);
        assert_eq!(slots(&[65535, 1]), 4096);
        // What is rounded is not exact however often it is dealt out.
        let mut rounded = vec![2; 4499];
        rounded.push(3);
        assert_eq!(turns(&rounded, 9000), 1);
    }

    proptest! {
        #[test]
        fn every_share_is_within_one_slot(weights in prop::collection::vec(1u16.., 1..40)) {
            let Shares { counts, worst } = shares(&weights);
            let slots: u64 = counts.iter().map(|c| u64::from(*c)).sum();
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            prop_assert!(slots <= u64::from(MAX_SLOTS));
            for (weight, count) in weights.iter().zip(&counts) {
                let off = (u64::from(*count) * total).abs_diff(u64::from(*weight) * slots);
                prop_assert!(off < total, "{count} of {slots} for {weight} of {total}");
                prop_assert!(worst.is_some() || off == 0);
            }
        }
    }
}

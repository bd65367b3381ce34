//! Slots in an order that spreads each server out: 5, 1, 1 is `a a b a c a a`, not `a a a a a b c`.

/// The owner of each slot, by its place among `counts`.
///
/// Smooth weighted round-robin: before each slot every server gains its count in credit, the richest (of
/// equals the first) takes the slot and pays the sum of all.
pub fn interleave(counts: &[u32]) -> Vec<u32> {
    let total: i64 = counts.iter().map(|c| i64::from(*c)).sum();
    let indices = 0..u32::try_from(counts.len()).unwrap_or(u32::MAX);
    if counts.iter().all(|c| *c == 1) {
        return indices.collect();
    }
    let mut servers: Vec<(u32, i64, i64)> = indices
        .zip(counts)
        .map(|(at, count)| (at, i64::from(*count), 0))
        .collect();
    let mut owners = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    for _ in 0..total {
        let mut richest: Option<&mut (u32, i64, i64)> = None;
        for server in &mut servers {
            server.2 += server.1;
            if richest.as_ref().is_none_or(|best| server.2 > best.2) {
                richest = Some(server);
            }
        }
        if let Some((at, _, credit)) = richest {
            owners.push(*at);
            *credit -= total;
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documented_order() {
        assert_eq!(interleave(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(interleave(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(interleave(&[3, 0]), [0, 0, 0]);
    }

    proptest! {
        #[test]
        fn each_server_owns_its_count_and_is_never_starved(
            counts in prop::collection::vec(1u32..40, 1..12)
        ) {
            let owners = interleave(&counts);
            let total: u32 = counts.iter().sum();
            prop_assert_eq!(owners.len(), total as usize);
            for (at, count) in counts.iter().enumerate() {
                let places: Vec<usize> = (0..owners.len()).filter(|s| owners[*s] as usize == at).collect();
                prop_assert_eq!(places.len(), *count as usize);
                // Never later than a server that waits for twice its fair gap, around the ring.
                let fair = total.div_ceil(*count) as usize;
                for pair in places.windows(2) {
                    prop_assert!(pair[1] - pair[0] <= 2 * fair, "{:?}", owners);
                }
            }
        }
    }
}

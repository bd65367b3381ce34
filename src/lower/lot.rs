//! Numbers that follow from who somebody is, and from nothing that was before.
//!
//! Whoever needs a number has a rank: a hash of its identity. The rank draws numbers, one after the other, and the
//! first that nobody of a lower rank has is its own. So the same identities have the same numbers on every machine, in
//! whatever order they came and whoever was there before.
//!
//! The hash is FNV-1a, with 64 bits; the numbers drawn are those of `SplitMix64` seeded with it. Both are a few lines, and
//! never change: another hash would be another number for every server of everybody.

use rustc_hash::FxHashMap;

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// So many numbers are drawn. Whoever finds all of them taken takes the next free one after the last.
const DRAWS: u32 = 64;

/// A hash while it is made, of fields one after the other. Each has its length or is as long as the one before it says,
/// so that no two identities read the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LotIdentity(u64);

impl LotIdentity {
    /// The identity that those of everything in tables of this name begin with.
    pub(super) fn in_table(table: &str) -> Self {
        Self(FNV_START).with(table.as_bytes()).with(&[0])
    }

    /// The same with more bytes.
    #[must_use]
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
        });
        Self(hash)
    }

    /// The number of this turn below `room`, which is not 0.
    fn draw(self, turn: u32, room: u32) -> u32 {
        let drawn = turn.min(DRAWS - 1);
        let steps = u64::from(drawn).wrapping_add(1);
        let mut mixed = self.0.wrapping_add(steps.wrapping_mul(GOLDEN));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let first = ((mixed >> 32) * u64::from(room)) >> 32;
        let number = (first + u64::from(turn - drawn)) % u64::from(room);
        u32::try_from(number).unwrap_or_default()
    }
}

/// A number below `room` for each, none twice; `None` for those of the highest ranks where there are more of them than
/// numbers.
///
/// Each asks for what it draws, and of two that ask for the same the lower rank has it: whoever is turned away draws
/// again. That ends with the same whoever asked first. Of those of one identity, the second and the third have ranks
/// of their own.
pub(super) fn draw(mut all: Vec<LotIdentity>, room: u32) -> Vec<Option<u32>> {
    let mut namesakes: FxHashMap<LotIdentity, u32> = FxHashMap::default();
    namesakes.reserve(all.len());
    for identity in &mut all {
        let before = namesakes.entry(*identity).or_default();
        if *before > 0 {
            *identity = identity.with(&before.to_be_bytes());
        }
        *before += 1;
    }
    let mut turns = vec![0; all.len()];
    let mut holders: FxHashMap<u32, usize> = FxHashMap::default();
    holders.reserve(all.len());
    let rank = |at: usize| (all.get(at), at);
    for newcomer in 0..all.len() {
        let mut asking = newcomer;
        while let Some(turn) = turns.get_mut(asking)
            && *turn < room.saturating_add(DRAWS)
        {
            let Some(number) = all.get(asking).map(|identity| identity.draw(*turn, room)) else {
                break;
            };
            let Some(holder) = holders.get_mut(&number) else {
                holders.insert(number, asking);
                break;
            };
            if rank(asking) < rank(*holder) {
                std::mem::swap(holder, &mut asking);
            }
            // Whoever has no number now goes on drawing.
            if let Some(turn) = turns.get_mut(asking) {
                *turn += 1;
            }
        }
    }
    let mut numbers = vec![None; all.len()];
    for (number, holder) in holders {
        if let Some(place) = numbers.get_mut(holder) {
            *place = Some(number);
        }
    }
    numbers
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn everybody(count: u32) -> Vec<LotIdentity> {
        let table = LotIdentity::in_table("flbc");
        (0..count).map(|i| table.with(&i.to_be_bytes())).collect()
    }

    /// The same as by rank, one after the other.
    fn one_after_the_other(all: &[LotIdentity], room: u32) -> FxHashMap<LotIdentity, u32> {
        let mut order = all.to_vec();
        order.sort_unstable();
        let mut taken = rustc_hash::FxHashSet::default();
        let mut numbers = FxHashMap::default();
        for identity in order {
            let draws = (0..room + DRAWS).map(|turn| identity.draw(turn, room));
            let free = draws.into_iter().find(|number| !taken.contains(number));
            if let Some(number) = free {
                taken.insert(number);
                numbers.insert(identity, number);
            }
        }
        numbers
    }

    #[test]
    fn numbers_depend_on_who_is_there_and_on_nothing_else() {
        for (count, room) in [(1, 1), (20, 4095), (4095, 4095), (100, 128), (300, 200)] {
            let mut all = everybody(count);
            let wanted = one_after_the_other(&all, room);
            assert_eq!(wanted.len(), room.min(count) as usize);
            for turn in 0..3 {
                let numbers = draw(all.clone(), room);
                for (identity, number) in all.iter().zip(&numbers) {
                    assert_eq!(*number, wanted.get(identity).copied(), "{room} {turn}");
                }
                all.reverse();
                all.rotate_left(count as usize / 3);
            }
        }
    }

    #[test]
    fn those_of_one_identity_have_numbers_of_their_own() {
        let one = everybody(1);
        let numbers = draw([one.clone(), one.clone(), one].concat(), 1 << 30);
        let mut distinct = numbers.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 3);
        assert!(!distinct.contains(&None));
    }

    #[test]
    fn the_numbers_of_all_versions_and_machines_are_these() {
        let numbers = draw(everybody(3), 1 << 30);
        let numbers: Vec<u32> = numbers.into_iter().map(Option::unwrap).collect();
        // Worked out by another program.
        assert_eq!(numbers, [1_024_333_220, 982_074_008, 941_575_001]);
    }

    #[test]
    fn a_hundred_thousand_meet_five_times() {
        let all = everybody(100_000);
        let first: std::collections::BTreeSet<u32> = all
            .iter()
            .map(|identity| identity.draw(0, 1 << 30))
            .collect();
        let met = all.len() - first.len();
        assert!((1..=12).contains(&met), "{met}");
    }
}

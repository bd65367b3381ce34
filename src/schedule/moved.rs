//! Which share of a service's clients gets another server when its slots change.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::maglev::ServerIdentity;
use super::{Block, Choice};
use crate::model::HashKey;

/// Who has which clients: each slot has an equal part of them.
#[derive(Debug, Clone)]
pub struct Owned<'a> {
    /// What of a client is hashed; `None` where one server has them all.
    key: Option<HashKey>,
    /// The owner of each slot, by its place among the servers; at least one.
    slots: Cow<'a, [u32]>,
    servers: Vec<ServerIdentity>,
}

impl<'a> Owned<'a> {
    /// Slots that are drawn by a hash, with the owner of each by its place among `servers`; `None` if there are none.
    pub fn by_hash(key: HashKey, slots: Vec<u32>, servers: Vec<ServerIdentity>) -> Option<Self> {
        (!slots.is_empty()).then_some(Self {
            key: Some(key),
            slots: Cow::Owned(slots),
            servers,
        })
    }

    /// One server has all clients.
    pub fn by_one(server: ServerIdentity) -> Self {
        Self {
            key: None,
            slots: Cow::Borrowed(&[0]),
            servers: vec![server],
        }
    }

    /// Those of a block; `None` where nobody has clients, or each draws anew.
    pub fn of(block: &'a Block<'_>) -> Option<Self> {
        match &block.choice {
            Choice::Empty => None,
            Choice::Only(at) => block
                .servers
                .get(*at)
                .map(|server| Self::by_one(ServerIdentity::of(server))),
            Choice::Slots { draw, owners } => Some(Self {
                key: Some(draw.client_key()?),
                slots: Cow::Borrowed(owners),
                servers: block
                    .servers
                    .iter()
                    .map(|s| ServerIdentity::of(s))
                    .collect(),
            }),
        }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    fn owner(&self, slot: usize) -> Option<ServerIdentity> {
        let place = self.slots.get(slot)?;
        self.servers.get(*place as usize).copied()
    }
}

/// How many clients get another server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Their share of all clients.
    pub share: f64,
    /// The least that could be: the clients of servers that have none now, and what others have less than they had.
    pub least: f64,
    /// Whether the same is hashed as before. Where it is not, the share is what is to be expected.
    pub exact: bool,
}

/// What becomes of the clients when one takes the place of the other.
///
/// A slot is drawn as `(hash * slots) >> 32`: it is an interval of hashes, and hashes stay.
pub fn moved(old: &Owned<'_>, new: &Owned<'_>) -> Moved {
    let (old_slots, new_slots) = (old.slots() as u64, new.slots() as u64);
    // On a scale where each old slot is as long as there are new ones, and the reverse, both have whole lengths.
    let whole = old_slots * new_slots;
    let mut parts: FxHashMap<ServerIdentity, (u64, u64)> = FxHashMap::default();
    for owner in (0..old.slots()).filter_map(|slot| old.owner(slot)) {
        parts.entry(owner).or_default().0 += new_slots;
    }
    for owner in (0..new.slots()).filter_map(|slot| new.owner(slot)) {
        parts.entry(owner).or_default().1 += old_slots;
    }
    let less = parts.values().map(|(had, has)| had.saturating_sub(*has));
    let least = ratio(less.sum(), whole);
    let exact = old.key.is_none() || new.key.is_none() || old.key == new.key;
    let share = if exact {
        ratio(differing(old, new), whole)
    } else {
        let met = |(had, has): &(u64, u64)| ratio(*had, whole) * ratio(*has, whole);
        1.0 - parts.values().map(met).sum::<f64>()
    };
    Moved {
        share,
        least,
        exact,
    }
}

/// The length of the intervals that have another owner.
fn differing(old: &Owned<'_>, new: &Owned<'_>) -> u64 {
    let (old_slots, new_slots) = (old.slots() as u64, new.slots() as u64);
    let (mut old_at, mut new_at) = (0, 0);
    let (mut from, mut differing) = (0, 0);
    while old_at < old.slots() && new_at < new.slots() {
        let old_end = (old_at as u64 + 1) * new_slots;
        let new_end = (new_at as u64 + 1) * old_slots;
        let to = old_end.min(new_end);
        if old.owner(old_at) != new.owner(new_at) {
            differing += to - from;
        }
        old_at += usize::from(old_end == to);
        new_at += usize::from(new_end == to);
        from = to;
    }
    differing
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn owned(key: HashKey, slots: &[u32]) -> Owned<'static> {
        let servers = (0..10).map(|at| ServerIdentity {
            address: Ipv4Addr::from(at).into(),
            port: None,
        });
        Owned::by_hash(key, slots.to_vec(), servers.collect()).unwrap()
    }

    fn of(old: &[u32], new: &[u32]) -> (f64, f64) {
        let key = HashKey::Source;
        let moved = moved(&owned(key, old), &owned(key, new));
        assert!(moved.exact);
        (moved.share, moved.least)
    }

    #[test]
    fn slots_are_intervals_of_hashes() {
        assert_eq!(of(&[0, 1], &[0, 1]), (0.0, 0.0));
        assert_eq!(of(&[0, 1], &[1, 0]), (1.0, 0.0));
        assert_eq!(of(&[0, 1], &[0, 0, 1, 1]), (0.0, 0.0));
        assert_eq!(of(&[0, 1], &[0, 2, 1, 1]), (0.25, 0.25));
        assert_eq!(of(&[0, 1], &[2, 0, 1, 1]), (0.25, 0.25));
        // Halves and thirds meet in sixths.
        assert_eq!(of(&[0, 1], &[0, 1, 1]), (1.0 / 6.0, 1.0 / 6.0));
        assert_eq!(of(&[0, 1], &[0, 0, 1]), (1.0 / 6.0, 1.0 / 6.0));
        assert_eq!(of(&[0, 1, 2], &[0, 2, 0]), (2.0 / 3.0, 1.0 / 3.0));
        assert_eq!(of(&[3], &[3, 4, 3, 4]), (0.5, 0.5));
    }

    #[test]
    fn another_key_is_another_hash() {
        let by = |key| owned(key, &[0, 1, 1, 1]);
        let moved = moved(&by(HashKey::Source), &by(HashKey::SourcePort));
        assert!(!moved.exact && moved.least == 0.0);
        assert!((moved.share - (1.0 - 1.0 / 16.0 - 9.0 / 16.0)).abs() < 1e-9);
    }

    proptest! {
        /// The kernel's own arithmetic, hash by hash, says the same.
        #[test]
        fn hashes_find_the_same(
            old in prop::collection::vec(0_u32..4, 1..40),
            new in prop::collection::vec(0_u32..4, 1..40),
        ) {
            let (share, least) = of(&old, &new);
            let owner = |slots: &[u32], hash: u32| {
                let count = u32::try_from(slots.len()).unwrap();
                slots[crate::schedule::jhash::bucket(hash, count) as usize]
            };
            let hashes = (0..20_000_u32).map(|at| at * (u32::MAX / 20_000));
            let moved = hashes.filter(|hash| owner(&old, *hash) != owner(&new, *hash)).count();
            let found = f64::from(u32::try_from(moved).unwrap()) / 20_000.0;
            prop_assert!((found - share).abs() < 0.01, "{found} instead of {share}");
            prop_assert!(least <= share + 1e-9);
        }
    }
}

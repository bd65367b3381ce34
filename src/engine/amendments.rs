//! What became of servers and slots since the note was written. What is again as the note has it amends nothing: a server
//! that goes and comes all day makes no note grow.

use std::collections::BTreeMap;

use crate::apply::remembered::Amended;
use crate::model::{LayerChanges, Layers, ServerKey};

/// All of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Amendments {
    now: Amended,
    /// What the note has of the same, as far as that is known.
    noted: Amended,
}

impl Amendments {
    /// Those of a note that was amended already.
    pub(super) fn known(now: Amended) -> Self {
        Self {
            now,
            noted: Amended::default(),
        }
    }

    /// As it is written down.
    pub(super) const fn all(&self) -> &Amended {
        &self.now
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let LayerChanges { operator, health } = &self.now.layers;
        operator.len() + health.len() + self.now.slots.len()
    }

    /// Adds changes to what is said of servers, of whom this was said before.
    pub(super) fn add(&mut self, changes: &LayerChanges, before: &Layers) {
        let (now, noted) = (&mut self.now.layers, &mut self.noted.layers);
        let said = |key: &ServerKey| before.operator.get(key).copied();
        amend(
            &changes.operator,
            said,
            [&mut now.operator, &mut noted.operator],
        );
        let said = |key: &ServerKey| before.health.get(key).copied();
        amend(&changes.health, said, [&mut now.health, &mut noted.health]);
    }

    /// The slots of a block lie elsewhere.
    pub(super) fn move_slots(&mut self, block: u32, [before, first]: [u32; 2]) {
        let (now, noted) = (&mut self.now.slots, &mut self.noted.slots);
        let moved = BTreeMap::from([(block, first)]);
        amend(&moved, |_| before, [now, noted]);
    }
}

fn amend<K: Ord + Clone, T: Copy + PartialEq>(
    changes: &BTreeMap<K, T>,
    before: impl Fn(&K) -> T,
    [now, noted]: [&mut BTreeMap<K, T>; 2],
) {
    for (key, change) in changes {
        if !now.contains_key(key) {
            noted.insert(key.clone(), before(key));
        }
        if noted.get(key) == Some(change) {
            noted.remove(key);
            now.remove(key);
        } else {
            now.insert(key.clone(), *change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Place, Verdict};

    #[test]
    fn what_is_again_as_the_note_has_it_amends_nothing() {
        let key = ServerKey {
            place: Place::Pool("web".into()),
            server: "web1".into(),
        };
        let change = |verdict: Option<Verdict>| LayerChanges {
            health: [(key.clone(), verdict)].into(),
            ..LayerChanges::default()
        };
        let dead = Some(Verdict::Dead);
        let mut layers = Layers::default();
        let mut amendments = Amendments::default();
        for (verdict, many) in [(dead, 1), (None, 0), (dead, 1), (Some(Verdict::Alive), 1)] {
            amendments.add(&change(verdict), &layers);
            change(verdict).put_into(&mut layers);
            assert_eq!(amendments.len(), many);
        }
        for (slots, many) in [([7, 9], 2), ([9, 8], 2), ([8, 7], 1)] {
            amendments.move_slots(3, slots);
            assert_eq!(amendments.len(), many);
        }
        // What the note has of those that amended it before is not known.
        let mut amendments = Amendments::known(amendments.all().clone());
        amendments.add(&change(None), &layers);
        assert_eq!(amendments.all().layers, change(None));
    }
}

//! Counters that go on where elements are made anew.
//!
//! A set that has become too small is made anew with all that is in it, an element that leads elsewhere goes and comes,
//! and a real server may get another number. What was counted so far is read before the transaction and given to the
//! new elements: what passes between the two is lost to the counters, and nothing is counted twice.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::{Bytes, Counter, Element, Shape, TableFamily, kind};

use super::Observed;
use super::observed::{ElementKey, identity};

/// What a set's elements have counted.
type Counted = Vec<(Element, Counter)>;

/// Real servers whose numbers change.
#[derive(Debug, Default)]
pub struct Renumbered {
    /// From the number that a server had to the one that it has from now on, where these differ.
    pub moved: FxHashMap<u32, u32>,
    /// The numbers that no server has any more.
    pub gone: FxHashSet<u32>,
}

impl Renumbered {
    /// The number that the server of this one has from now on.
    fn now(&self, number: u32) -> Option<u32> {
        let moved = self.moved.get(&number).copied();
        moved.or_else(|| (!self.gone.contains(&number)).then_some(number))
    }
}

/// Gives the elements that `changes` add what they, or those that they come from, have counted in the tables `has`.
///
/// `read` reads what is in a set; it is asked only for sets of which something is to be kept.
///
/// # Errors
///
/// Those of `read`.
pub fn carry<E>(
    has: &Observed,
    changes: &mut Vec<Change>,
    renumbered: &Renumbered,
    mut read: impl FnMut(TableFamily, &str) -> Result<Counted, E>,
) -> Result<(), E> {
    for family in TableFamily::BOTH {
        let Some(table) = has.table(family) else {
            continue;
        };
        for set in table.sets.iter().filter(|set| set.shape.counts()) {
            let mut anew = Anew::of(family, &set.name, &set.shape, changes);
            // Packets count in a set under whatever number its servers have.
            let moves = set.shape.is_dynamic() && !renumbered.moved.is_empty() && !anew.ends;
            if !moves && !anew.is_anything() {
                continue;
            }
            let counted = read(family, &set.name)?;
            if moves && !anew.whole {
                let elsewhere = anew.clear(&counted, renumbered);
                changes.extend(cleared(family, &set.name, elsewhere));
            }
            let kept = anew.kept(&set.shape, counted, renumbered);
            if set.shape.is_dynamic() {
                changes.extend(added(family, &set.name, kept));
            } else {
                fill(family, &set.name, changes, &kept);
            }
        }
    }
    Ok(())
}

/// What of a set is made anew.
#[derive(Default)]
struct Anew {
    /// Whether the whole set is made anew.
    whole: bool,
    /// Elements that go.
    gone: FxHashSet<ElementKey>,
    /// Whether the set goes and does not come again.
    ends: bool,
}

impl Anew {
    fn of(family: TableFamily, name: &str, shape: &Shape, changes: &[Change]) -> Self {
        let mut anew = Self::default();
        let (mut goes, mut comes) = (false, shape.is_dynamic());
        for change in changes.iter().filter(|change| change.family == family) {
            match &change.step {
                Step::DeleteSet { set } if **set == *name => goes = true,
                Step::AddSet {
                    set, shape: new, ..
                } if **set == *name => {
                    anew.whole = goes && new.key_type == shape.key_type && new.counts();
                }
                Step::DeleteElements { set, elements } | Step::ClearElements { set, elements }
                    if **set == *name =>
                {
                    anew.gone.extend(elements.iter().map(identity));
                }
                Step::AddElements { set, .. } if **set == *name => comes = true,
                _ => {}
            }
        }
        anew.ends = goes && !anew.whole;
        // A set that only loses something has nothing to keep, nor has one that goes.
        if !comes || anew.ends {
            anew.gone.clear();
        }
        anew
    }

    /// The elements under numbers that are another server's from now on, or nobody's: they go.
    fn clear(&mut self, counted: &Counted, renumbered: &Renumbered) -> Vec<Element> {
        let moved = counted
            .iter()
            .map(|(element, _)| element)
            .filter(|element| {
                let number = element.key.as_slice().first_chunk();
                number.is_some_and(|number| {
                    renumbered.moved.contains_key(&u32::from_ne_bytes(*number))
                })
            });
        let moved: Vec<Element> = moved.cloned().collect();
        self.gone.extend(moved.iter().map(identity));
        moved
    }

    fn is_anything(&self) -> bool {
        self.whole || !self.gone.is_empty()
    }

    /// What the new elements begin with, each under the key that it has from now on.
    fn kept(
        &self,
        shape: &Shape,
        counted: Counted,
        renumbered: &Renumbered,
    ) -> FxHashMap<ElementKey, (Element, Counter)> {
        let by_number = kind::fields(shape.key_type).first() == Some(&kind::MARK);
        let mut kept = FxHashMap::default();
        for (mut element, counter) in counted {
            let before = identity(&element);
            if !self.whole && !self.gone.contains(&before) {
                continue;
            }
            if by_number {
                let Some(key) = with_number(&element.key, renumbered) else {
                    continue;
                };
                // A number that is cleared because it is another server's from now on.
                if shape.is_dynamic() && !self.whole && key == element.key {
                    continue;
                }
                element.key = key;
            }
            // Two servers that are one from now on have counted together.
            let sum: &mut (Element, Counter) = kept
                .entry(identity(&element))
                .or_insert_with(|| (element, Counter::default()));
            sum.1.packets += counter.packets;
            sum.1.bytes += counter.bytes;
        }
        kept
    }
}

/// A key that begins with the number of a real server, with the one that the server has now.
fn with_number(key: &Bytes, renumbered: &Renumbered) -> Option<Bytes> {
    let (number, rest) = key.as_slice().split_first_chunk()?;
    let now = renumbered.now(u32::from_ne_bytes(*number))?;
    let whole = [&now.to_ne_bytes()[..], rest].concat();
    Bytes::new(&whole)
}

/// What packets put into a set, and is to go. It may be there no more.
fn cleared(family: TableFamily, set: &str, elements: Vec<Element>) -> Option<Change> {
    (!elements.is_empty()).then(|| Change {
        family,
        step: Step::ClearElements {
            set: Arc::from(set),
            elements,
        },
    })
}

/// The elements of a set that packets fill: no step adds them yet.
fn added(
    family: TableFamily,
    set: &str,
    kept: FxHashMap<ElementKey, (Element, Counter)>,
) -> Option<Change> {
    if kept.is_empty() {
        return None;
    }
    let mut kept: Vec<(Element, Counter)> = kept.into_values().collect();
    kept.sort_by_key(|(element, _)| element.key);
    let (elements, counters) = kept.into_iter().unzip();
    Some(Change {
        family,
        step: Step::AddElements {
            set: Arc::from(set),
            elements,
            origins: Vec::new(),
            counters,
        },
    })
}

fn fill(
    family: TableFamily,
    name: &str,
    changes: &mut [Change],
    kept: &FxHashMap<ElementKey, (Element, Counter)>,
) {
    for change in changes.iter_mut().filter(|change| change.family == family) {
        if let Step::AddElements {
            set,
            elements,
            counters,
            ..
        } = &mut change.step
            && **set == *name
        {
            let counted = |element: &Element| {
                let kept = kept.get(&identity(element));
                kept.map(|(_, counter)| *counter).unwrap_or_default()
            };
            *counters = elements.iter().map(counted).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::diff::{ObservedSet, ObservedTable};
    use crate::emit::netlink::Data;
    use crate::emit::netlink::constant::set;

    use super::*;

    fn shape(keys: &[u32], flags: u32) -> Shape {
        Shape {
            flags,
            key_type: kind::concatenation(keys),
            key_length: 4,
            data_type: None,
            data_length: 0,
            size: 1024,
            fields: Vec::new(),
            statements: vec!["counter".into()],
        }
    }

    fn element(number: u32, rest: &[u8]) -> Element {
        Element {
            key: Bytes::new(&[&number.to_ne_bytes()[..], rest].concat()).unwrap_or_default(),
            key_end: None,
            data: Data::None,
            comment: None,
        }
    }

    fn of(packets: u64) -> Counter {
        Counter { packets, bytes: 0 }
    }

    fn has(name: &str, shape: Shape) -> Observed {
        let set = ObservedSet {
            name: name.into(),
            shape,
            elements: Vec::new(),
            counters: Vec::new(),
        };
        Observed {
            inet: Some(ObservedTable {
                sets: vec![set],
                ..ObservedTable::default()
            }),
            ..Observed::default()
        }
    }

    fn renumbered(moved: &[(u32, u32)], gone: &[u32]) -> Renumbered {
        Renumbered {
            moved: moved.iter().copied().collect(),
            gone: gone.iter().copied().collect(),
        }
    }

    fn change(step: Step) -> Change {
        let family = TableFamily::Inet;
        Change { family, step }
    }

    fn delete(elements: Vec<Element>) -> Change {
        let set = "addr4".into();
        change(Step::DeleteElements { set, elements })
    }

    fn add(elements: Vec<Element>) -> Change {
        change(Step::AddElements {
            set: "addr4".into(),
            elements,
            origins: Vec::new(),
            counters: Vec::new(),
        })
    }

    /// What is added last, with its counters.
    fn last(changes: &[Change]) -> Vec<(Element, u64)> {
        match changes.last().map(|change| &change.step) {
            Some(Step::AddElements {
                elements, counters, ..
            }) => {
                let packets = counters.iter().map(|counter| counter.packets);
                elements.iter().cloned().zip(packets).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn counters_follow_a_server_to_its_new_number_and_no_stranger() {
        let has = has("addr4", shape(&[kind::MARK], 0));
        // Server 1 is 5 from now on, and 1 is a newcomer's; 2 is gone; 3 was there all the time.
        let mut changes = vec![
            delete(vec![element(1, &[]), element(2, &[])]),
            add(vec![element(1, &[]), element(5, &[])]),
        ];
        let renumbered = renumbered(&[(1, 5)], &[2]);
        let counted = vec![
            (element(1, &[]), of(10)),
            (element(2, &[]), of(20)),
            (element(3, &[]), of(30)),
        ];
        let read = |_, _: &str| Ok::<_, ()>(counted.clone());
        assert_eq!(carry(&has, &mut changes, &renumbered, read), Ok(()));
        assert_eq!(
            last(&changes),
            [(element(1, &[]), 0), (element(5, &[]), 10)]
        );
    }

    #[test]
    fn what_only_goes_or_only_comes_is_not_read() {
        let has = has("addr4", shape(&[kind::MARK], 0));
        for mut changes in [
            vec![delete(vec![element(1, &[])])],
            vec![add(vec![element(1, &[])])],
            vec![change(Step::DeleteSet {
                set: "addr4".into(),
            })],
        ] {
            let before = changes.clone();
            assert_eq!(
                carry(&has, &mut changes, &Renumbered::default(), |_, _| Err(())),
                Ok(())
            );
            assert_eq!(changes, before);
        }
    }

    /// No step adds what packets put into a set: it is put back where the set is made anew.
    #[test]
    fn a_set_that_packets_fill_is_filled_with_what_was_in_it() {
        let shape = shape(&[kind::MARK, kind::CT_DIRECTION], set::DYNAMIC);
        let has = has("traffic", shape.clone());
        let mut changes = vec![
            change(Step::DeleteSet {
                set: "traffic".into(),
            }),
            change(Step::AddSet {
                set: "traffic".into(),
                shape: Shape {
                    size: 4096,
                    ..shape
                },
                origin: None,
            }),
        ];
        let renumbered = renumbered(&[(1, 101)], &[2]);
        let counted = vec![
            (element(1, &[0]), of(10)),
            (element(1, &[1]), of(11)),
            (element(2, &[0]), of(20)),
        ];
        let read = |_, _: &str| Ok::<_, ()>(counted.clone());
        assert_eq!(carry(&has, &mut changes, &renumbered, read), Ok(()));
        assert_eq!(
            last(&changes),
            [(element(101, &[0]), 10), (element(101, &[1]), 11)]
        );
    }

    /// Where the set stays, only what belongs to another number is put back: a number that is cleared stays clear.
    #[test]
    fn a_number_that_is_another_servers_begins_anew() {
        let shape = shape(&[kind::MARK, kind::CT_DIRECTION], set::DYNAMIC);
        let has = has("traffic", shape);
        let clear = Step::ClearElements {
            set: "traffic".into(),
            elements: vec![element(1, &[0]), element(2, &[0])],
        };
        let mut changes = vec![change(clear)];
        let renumbered = renumbered(&[(1, 7)], &[]);
        let counted = vec![(element(1, &[0]), of(10)), (element(2, &[0]), of(20))];
        let read = |_, _: &str| Ok::<_, ()>(counted.clone());
        assert_eq!(carry(&has, &mut changes, &renumbered, read), Ok(()));
        assert_eq!(last(&changes), [(element(7, &[0]), 10)]);
        // Also where no step says so: a newcomer has the number that was another's.
        let mut changes = Vec::new();
        assert_eq!(carry(&has, &mut changes, &renumbered, read), Ok(()));
        assert_eq!(last(&changes), [(element(7, &[0]), 10)]);
        let cleared = Step::ClearElements {
            set: "traffic".into(),
            elements: vec![element(1, &[0])],
        };
        assert_eq!(changes[0].step, cleared);
    }
}

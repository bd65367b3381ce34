//! What rules remember in dynamic maps: counted, and forgotten.

use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::diff::ObservedSet;
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::batch::Ending;
use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::constant::{data, element, message};
use crate::emit::netlink::{Bytes, Data, Element, TableFamily};

use super::linux::{Linux, next_generation};
use super::{Entry, KernelError, Memory, Reason, Recollection};

/// How often a map is read through for what is to be forgotten: elements may escape a reading, as others come and go
/// meanwhile, and the last one must find none.
const PASSES: usize = 20;

/// What times out within this many milliseconds may be gone before it is deleted, and is left to itself after the
/// kernel has refused.
const SOON: u64 = 2000;

/// The elements in a message.
fn entries_in(attributes: Attributes<'_>) -> impl Iterator<Item = Entry> {
    let list = attributes.find(element::LIST);
    let all = list.into_iter().flat_map(Attribute::inside);
    all.filter_map(|one| {
        let one = one.inside();
        let value = |kind| one.find(kind)?.inside().find(data::VALUE);
        Some(Entry {
            key: Bytes::new(value(element::KEY)?.value)?,
            server: u32::from_ne_bytes(value(element::DATA)?.value.try_into().ok()?),
            timeout: one
                .find(element::TIMEOUT)
                .and_then(Attribute::u64)
                .unwrap_or_default(),
            left: one
                .find(element::EXPIRATION)
                .and_then(Attribute::u64)
                .unwrap_or(u64::MAX),
        })
    })
}

impl Linux {
    /// The dynamic maps of a table.
    fn dynamic_maps(
        &mut self,
        family: TableFamily,
        table: &str,
    ) -> Result<Vec<ObservedSet>, KernelError> {
        let mut sets = self.read_declarations(family, table)?;
        sets.retain(|set| set.shape.is_dynamic() && set.shape.data_length == 4);
        Ok(sets)
    }

    fn entries(
        &mut self,
        family: TableFamily,
        table: &str,
        map: &str,
        mut each: impl FnMut(Entry),
    ) -> Result<(), KernelError> {
        let read = self.socket.dump(
            message::GET_ELEMENTS,
            family.number(),
            |w| {
                w.string(element::TABLE, table);
                w.string(element::SET, map);
            },
            |_, attributes| entries_in(attributes).for_each(&mut each),
        );
        match read {
            // Somebody's transaction came in between; what was read counts.
            Err(KernelError::Changed) => Ok(()),
            other => other,
        }
    }

    /// What a dynamic map has under a key: the number of a server, and for how long.
    ///
    /// # Errors
    ///
    /// Those of reading. A map that is not there has nothing.
    pub fn remembered(
        &mut self,
        family: TableFamily,
        table: &str,
        map: &str,
        key: &[u8],
    ) -> Result<Option<(u32, Duration)>, KernelError> {
        let mut found = None;
        self.socket.get(
            message::GET_ELEMENTS,
            family.number(),
            |w| {
                w.string(element::TABLE, table);
                w.string(element::SET, map);
                w.nested(element::LIST, |w| {
                    w.nested(element::ELEMENT, |w| {
                        w.nested(element::KEY, |w| w.bytes(data::VALUE, key));
                    });
                });
            },
            |_, attributes| found = entries_in(attributes).next(),
        )?;
        Ok(found.map(|entry| (entry.server, Duration::from_millis(entry.left))))
    }

    /// See [`super::Kernel::memories`].
    pub(super) fn read_memories(&mut self, table: &str) -> Result<Vec<Memory>, KernelError> {
        let mut memories = Vec::new();
        for family in TableFamily::BOTH {
            for map in self.dynamic_maps(family, table)? {
                let mut by_server: FxHashMap<u32, usize> = FxHashMap::default();
                self.entries(family, table, &map.name, |entry| {
                    *by_server.entry(entry.server).or_default() += 1;
                })?;
                memories.push(Memory {
                    family,
                    map: map.name,
                    room: map.shape.size,
                    by_server,
                });
            }
        }
        Ok(memories)
    }

    /// See [`super::Kernel::recollections`].
    pub(super) fn read_recollections(
        &mut self,
        table: &str,
    ) -> Result<Vec<Recollection>, KernelError> {
        let mut all = Vec::new();
        for family in TableFamily::BOTH {
            for map in self.dynamic_maps(family, table)? {
                // A reading can show an element twice, or not at all, while the map grows or shrinks; and a key can have
                // two, see `TOGETHER` in apply/carry.rs. The longest that was seen of each key counts.
                let mut entries: FxHashMap<Bytes, Vec<Entry>> = FxHashMap::default();
                for _ in 0..PASSES {
                    let mut pass: FxHashMap<Bytes, Vec<Entry>> = FxHashMap::default();
                    self.entries(family, table, &map.name, |entry| {
                        pass.entry(entry.key).or_default().push(entry);
                    })?;
                    let mut more = false;
                    for (key, listed) in pass {
                        let known = entries.entry(key).or_default();
                        if listed.len() > known.len() {
                            more = true;
                            *known = listed;
                        }
                    }
                    if !more {
                        break;
                    }
                }
                all.push(Recollection {
                    family,
                    map: map.name,
                    entries: entries.into_values().flatten().collect(),
                });
            }
        }
        Ok(all)
    }

    /// See [`super::Kernel::forget_remembered`].
    pub(super) fn delete_remembered(
        &mut self,
        table: &str,
        servers: &FxHashSet<u32>,
        generation: u32,
    ) -> Result<(usize, u32), KernelError> {
        let mut forgotten = 0;
        let (mut known, mut now) = (generation, generation);
        for family in TableFamily::BOTH {
            for map in self.dynamic_maps(family, table)? {
                let mut refused = false;
                for _ in 0..PASSES {
                    let mut doomed: FxHashSet<Bytes> = FxHashSet::default();
                    self.entries(family, table, &map.name, |entry| {
                        let going = refused && entry.left < SOON;
                        if servers.contains(&entry.server) && !going {
                            doomed.insert(entry.key);
                        }
                    })?;
                    if doomed.is_empty() {
                        break;
                    }
                    let count = doomed.len();
                    let elements = doomed.into_iter().map(|key| Element {
                        key,
                        key_end: None,
                        data: Data::None,
                        comment: None,
                    });
                    let change = Change {
                        family,
                        step: Step::DeleteElements {
                            set: map.name.clone(),
                            elements: elements.collect(),
                        },
                    };
                    match self.transact(table, &[change], Some(now), Ending::Commit) {
                        Ok(()) => {
                            forgotten += count;
                            let next = next_generation(now);
                            // What others did in between is nothing that this run knows of.
                            if known == now {
                                known = next;
                            }
                            now = next;
                        }
                        Err(KernelError::Refused(refusals))
                            if refusals.iter().all(|r| r.reason == Reason::Missing) =>
                        {
                            refused = true;
                        }
                        Err(KernelError::Changed) => now = self.read_generation()?,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok((forgotten, known))
    }
}

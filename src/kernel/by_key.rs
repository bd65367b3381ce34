//! Elements that are asked for by their keys, where there are too many to list.
//!
//! The kernel lists a set in parts of 32 KiB, and walks through the whole set, from its start, for each of them. So a list of
//! twice as many elements takes four times as long: one of two million takes a minute. An element that is asked for by its key
//! takes two microseconds, however many there are.

use std::collections::VecDeque;

use crate::diff::ObservedSet;
use crate::emit::netlink::attribute::Attributes;
use crate::emit::netlink::constant::{data, element, message};
use crate::emit::netlink::{TableFamily, kind};
use crate::ruleset::name;

use super::linux::Linux;
use super::{KernelError, Traffic, read};

/// So many slots, and so many counters, are listed; more are asked for one by one. Up to there that is no faster: found by
/// measuring.
const FEW_SLOTS: usize = 1 << 17;
const FEW_COUNTERS: usize = 1 << 16;

/// By so many servers it is guessed how many have counters that packets made.
const TRIED: usize = 200;

/// So many elements are asked for in one message. Each is an answer of its own, and all must have room in the receive
/// buffer, which is small in a user namespace.
const KEYS: usize = 128;

/// Whether a set can be asked for marks.
fn is_by_mark(set: &ObservedSet) -> bool {
    set.shape.key_type == kind::MARK && set.shape.key_length == 4 && !set.shape.is_dynamic()
}

/// The keys under which rules count what these servers were sent, and what they answered.
fn traffic_keys(servers: impl Iterator<Item = u32>) -> impl Iterator<Item = [u8; 8]> {
    servers.flat_map(|server| {
        let [a, b, c, d] = server.to_ne_bytes();
        [0, 1].map(|way| [a, b, c, d, way, 0, 0, 0])
    })
}

impl Linux {
    /// Reads these slots; says whether it did, as it is as fast to list all where they are few.
    pub(super) fn read_slots(
        &mut self,
        family: TableFamily,
        table: &str,
        set: &mut ObservedSet,
        slots: &[u32],
    ) -> Result<bool, KernelError> {
        let many = slots.len() > FEW_SLOTS && is_by_mark(set);
        if many {
            self.read_by_marks(family, table, set, slots)?;
        }
        Ok(many)
    }

    /// The same for elements that count, by the numbers of servers.
    pub(super) fn read_counters_of(
        &mut self,
        family: TableFamily,
        table: &str,
        set: &mut ObservedSet,
        servers: &[u32],
    ) -> Result<bool, KernelError> {
        let many = servers.len() > FEW_COUNTERS && is_by_mark(set);
        if many {
            self.read_by_marks(family, table, set, servers)?;
        }
        Ok(many)
    }

    /// Reads the elements of a set that have these marks for keys, as far as they are there.
    fn read_by_marks(
        &mut self,
        family: TableFamily,
        table: &str,
        set: &mut ObservedSet,
        marks: &[u32],
    ) -> Result<(), KernelError> {
        let of = set.name.clone();
        let mut names = read::Names::default();
        set.elements.reserve_exact(marks.len());
        let keys = marks.iter().map(|mark| mark.to_ne_bytes());
        self.ask_by_keys((family, table, &of), keys, |attributes| {
            read::elements(attributes, &mut names, set);
        })
    }

    /// Asks for the elements of a set that have these keys; `each` gets each that is there.
    fn ask_by_keys<const N: usize>(
        &mut self,
        (family, table, set): (TableFamily, &str, &str),
        mut keys: impl Iterator<Item = [u8; N]>,
        mut each: impl FnMut(Attributes<'_>),
    ) -> Result<(), KernelError> {
        let mut asked: VecDeque<[u8; N]> = VecDeque::new();
        let mut together = KEYS;
        loop {
            let lacking = together.saturating_sub(asked.len());
            asked.extend(keys.by_ref().take(lacking));
            if asked.is_empty() {
                return Ok(());
            }
            let now = together.min(asked.len());
            let mut answered = 0;
            let all = self.socket.get_each(
                message::GET_ELEMENTS,
                family.number(),
                |w| {
                    w.string(element::TABLE, table);
                    w.string(element::SET, set);
                    w.nested(element::LIST, |w| {
                        for key in asked.iter().take(now) {
                            w.nested(element::ELEMENT, |w| {
                                w.nested(element::KEY, |w| w.bytes(data::VALUE, key));
                            });
                        }
                    });
                },
                |attributes| {
                    answered += 1;
                    each(attributes);
                },
            )?;
            // The kernel answers key by key, and stops at the first that is not there. Where that happens often, it is asked
            // for less at once, so that not the same keys are sent to it again and again.
            let done = answered + usize::from(!all);
            asked.drain(..done.clamp(1, now));
            together = if all {
                (together * 2).min(KEYS)
            } else {
                (together / 2).max(1)
            };
        }
    }

    /// What these servers were sent and what they answered; `None` where it is as fast to list what there is.
    ///
    /// Packets make these counters, so there may be none, or one for each way of each server: some are tried.
    pub(super) fn read_traffic_of(
        &mut self,
        table: &str,
        servers: &[u32],
    ) -> Result<Option<Vec<Traffic>>, KernelError> {
        let most = servers.len() * 2;
        if most <= FEW_COUNTERS {
            return Ok(None);
        }
        let step = servers.len() / TRIED + 1;
        let tried = servers.iter().copied().step_by(step);
        let number = tried.len() * 2;
        let found = self.ask_for_traffic(table, tried)?;
        if found.len() * most / number.max(1) <= FEW_COUNTERS {
            return Ok(None);
        }
        self.ask_for_traffic(table, servers.iter().copied())
            .map(Some)
    }

    fn ask_for_traffic(
        &mut self,
        table: &str,
        servers: impl Iterator<Item = u32>,
    ) -> Result<Vec<Traffic>, KernelError> {
        let mut found = Vec::new();
        let set = (TableFamily::Inet, table, name::TRAFFIC);
        self.ask_by_keys(set, traffic_keys(servers), |attributes| {
            read::counted(attributes, |element, counter| {
                found.extend(Traffic::of(&element, counter));
            });
        })?;
        Ok(found)
    }
}

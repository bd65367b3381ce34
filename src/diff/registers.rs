//! Which registers an expression reads and writes, and what is in them.

use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{
    bitwise, byteorder, cmp, ct, data, dynset, exthdr, fib, fwd, hash, immediate, lookup, meta,
    nat, numgen, payload,
};
use crate::emit::netlink::expression::ANONYMOUS_STEM;
use crate::emit::netlink::{KEY_UNIT, Shape};

/// The declaration of a set, by its name.
pub(super) type Sets<'a> = &'a dyn Fn(&str) -> Option<&'a Shape>;

/// How many registers of 4 bytes there are; four of them are one of 16.
const UNITS: u32 = 16;

/// A register that an expression names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// The attribute that names it.
    pub(super) kind: u16,
    /// The kernel's number of it.
    register: u32,
    /// How many bytes of it, and of those behind it, count.
    length: u32,
    /// Whether they are written.
    writes: bool,
}

impl Access {
    /// The registers of 4 bytes: the first, and the one behind the last. None for the verdict.
    fn units(&self) -> std::ops::Range<u32> {
        let first = match self.register {
            whole @ 1..=4 => (whole - 1) * 4,
            small @ 8.. => small - 8,
            // The verdict, or none at all.
            _ => return 0..0,
        };
        first
            ..first
                .saturating_add(self.length.div_ceil(KEY_UNIT))
                .min(UNITS)
    }
}

/// What is in 4 bytes: the step that wrote them, and their place in what it wrote.
type Value = Option<(usize, u32)>;

/// What the registers hold while a rule is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Registers([Value; UNITS as usize]);

impl Registers {
    /// What an expression gets to read; nothing of what it writes.
    pub(super) fn read(&self, access: &Access) -> Option<Vec<Value>> {
        let units = access.units();
        (!access.writes).then(|| {
            let values = units.map(|unit| self.0.get(unit as usize).copied().flatten());
            values.collect()
        })
    }

    /// Notes what this step writes.
    pub(super) fn write(&mut self, access: &Access, step: usize) {
        if access.writes {
            for (place, unit) in access.units().enumerate() {
                if let Some(value) = self.0.get_mut(unit as usize) {
                    *value = Some((step, u32::try_from(place).unwrap_or(u32::MAX)));
                }
            }
        }
    }
}

/// The registers that an expression names; `None` where it is one that flbc does not know.
pub(super) fn accesses(
    name: &str,
    attributes: Attributes<'_>,
    sets: Sets<'_>,
) -> Option<Vec<Access>> {
    let number = |kind| attributes.find(kind).and_then(Attribute::u32);
    let set = |kind| shape(attributes.find(kind)?.string()?, sets);
    let reads = |kind, length| (kind, length, false);
    let writes = |kind, length| (kind, length, true);
    let named: Vec<(u16, u32, bool)> = match name {
        "immediate" => vec![writes(
            immediate::TO,
            value_length(attributes, immediate::DATA),
        )],
        "cmp" => vec![reads(cmp::FROM, value_length(attributes, cmp::DATA))],
        "bitwise" => {
            let length = number(bitwise::LENGTH)?;
            vec![reads(bitwise::FROM, length), writes(bitwise::TO, length)]
        }
        "byteorder" => {
            let length = number(byteorder::LENGTH)?;
            vec![
                reads(byteorder::FROM, length),
                writes(byteorder::TO, length),
            ]
        }
        "payload" => {
            let length = number(payload::LENGTH)?;
            vec![reads(payload::FROM, length), writes(payload::TO, length)]
        }
        "exthdr" => vec![writes(exthdr::TO, number(exthdr::LENGTH)?)],
        "meta" => {
            let length = meta_length(number(meta::KEY)?)?;
            vec![reads(meta::FROM, length), writes(meta::TO, length)]
        }
        "ct" => {
            let length = ct_length(number(ct::KEY)?)?;
            vec![reads(ct::FROM, length), writes(ct::TO, length)]
        }
        "lookup" => {
            let shape = set(lookup::SET)?;
            vec![reads(lookup::FROM, shape.0), writes(lookup::TO, shape.1)]
        }
        "dynset" => {
            let shape = set(dynset::SET)?;
            vec![reads(dynset::KEY, shape.0), reads(dynset::DATA, shape.1)]
        }
        "hash" => vec![
            reads(hash::FROM, number(hash::LENGTH)?),
            writes(hash::TO, KEY_UNIT),
        ],
        "numgen" => vec![writes(numgen::TO, KEY_UNIT)],
        "fib" => vec![writes(fib::TO, KEY_UNIT)],
        "nat" => {
            let address = address_length(number(nat::FAMILY)?)?;
            vec![
                reads(nat::ADDRESS_FIRST, address),
                reads(nat::ADDRESS_LAST, address),
                reads(nat::PORT_FIRST, KEY_UNIT),
                reads(nat::PORT_LAST, KEY_UNIT),
            ]
        }
        "fwd" => {
            let address = number(fwd::FAMILY).map_or(Some(0), address_length)?;
            vec![reads(fwd::DEVICE, KEY_UNIT), reads(fwd::ADDRESS, address)]
        }
        _ => return None,
    };
    let given = named.into_iter().filter_map(|(kind, length, writes)| {
        let register = number(kind)?;
        Some(Access {
            kind,
            register,
            length,
            writes,
        })
    });
    Some(given.collect())
}

/// How long the keys of a set are, and its values.
fn shape(name: &str, sets: Sets<'_>) -> Option<(u32, u32)> {
    // An anonymous set of flbc's holds protocols.
    if name.starts_with(ANONYMOUS_STEM) {
        return Some((1, 0));
    }
    sets(name).map(|shape| (shape.key_length, shape.data_length))
}

fn value_length(attributes: Attributes<'_>, kind: u16) -> u32 {
    let value = attributes
        .find(kind)
        .and_then(|of| of.inside().find(data::VALUE));
    value.map_or(0, |value| u32::try_from(value.value.len()).unwrap_or(0))
}

/// Of the keys that flbc uses.
const fn meta_length(key: u32) -> Option<u32> {
    match key {
        meta::PROTOCOL
        | meta::MARK
        | meta::IIF
        | meta::INTERFACE_TYPE
        | meta::NFPROTO
        | meta::L4PROTO
        | meta::PACKET_TYPE => Some(KEY_UNIT),
        _ => None,
    }
}

/// Of the keys that flbc uses.
const fn ct_length(key: u32) -> Option<u32> {
    match key {
        ct::STATE | ct::STATUS | ct::MARK | ct::DIRECTION_KEY | ct::DESTINATION_V4 => {
            Some(KEY_UNIT)
        }
        ct::DESTINATION_V6 => Some(16),
        _ => None,
    }
}

/// Of a network protocol, by the kernel's number of it.
const fn address_length(family: u32) -> Option<u32> {
    match family {
        2 => Some(4),
        10 => Some(16),
        _ => None,
    }
}

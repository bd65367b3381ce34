//! Messages to nf_tables, one by one: the header that each has, and those that ask.

use super::attribute::Writer;

/// The bytes of a message before its attributes: `nlmsghdr` and `nfgenmsg`.
pub(crate) const HEADER: usize = 20;

pub(super) const SUBSYSTEM: u16 = 10;
pub(super) const BATCH_BEGIN: u16 = 16;
pub(super) const BATCH_END: u16 = 17;
pub(super) const BATCH_GENERATION: u16 = 1;

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

/// The type of a message to nf_tables.
pub(crate) const fn of_rules(kind: u8) -> u16 {
    SUBSYSTEM << 8 | kind as u16
}

/// A message that asks for one thing, or with `dump` for a list.
pub(crate) fn request(
    kind: u16,
    family: u8,
    dump: bool,
    sequence: u32,
    inside: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let mut writer = Writer::default();
    let flags = if dump { REQUEST | DUMP } else { REQUEST };
    let header = Header {
        kind,
        flags,
        sequence,
        family,
        resource: 0,
    };
    header.write(&mut writer, inside);
    writer.into_bytes()
}

/// The header of a message: `nlmsghdr` and `nfgenmsg`.
pub(super) struct Header {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) family: u8,
    pub(super) resource: u16,
}

impl Header {
    /// Writes a message with this header and what `inside` writes.
    pub(super) fn write(&self, w: &mut Writer, inside: impl FnOnce(&mut Writer)) {
        let start = w.len();
        let mut header = [0; HEADER];
        let fields: [(usize, &[u8]); 5] = [
            (4, &self.kind.to_ne_bytes()),
            (6, &self.flags.to_ne_bytes()),
            (8, &self.sequence.to_ne_bytes()),
            (16, &[self.family]),
            (18, &self.resource.to_be_bytes()),
        ];
        for (place, value) in fields {
            for (to, from) in header.iter_mut().skip(place).zip(value) {
                *to = *from;
            }
        }
        w.raw(&header);
        inside(w);
        let length = u32::try_from(w.len() - start).unwrap_or(u32::MAX);
        w.patch(start, &length.to_ne_bytes());
    }
}

/// A message that asks for several things, and for a word when that was all.
pub(crate) fn acknowledged(
    kind: u16,
    family: u8,
    sequence: u32,
    inside: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let mut writer = Writer::default();
    let header = Header {
        kind,
        flags: REQUEST | ACK,
        sequence,
        family,
        resource: 0,
    };
    header.write(&mut writer, inside);
    writer.into_bytes()
}

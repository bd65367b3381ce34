//! Netlink messages, as they stand one after the other in what is received.

use rustix::io::Errno;

use crate::emit::netlink::attribute::Attributes;

/// A message type: the answer to a request, with an error number.
pub(super) const ERROR: u16 = 2;
/// A message type: the end of a dump.
pub(super) const DONE: u16 = 3;
/// A flag: something changed while the kernel dumped.
pub(super) const INTERRUPTED: u16 = 0x10;
/// A flag of an answer: it does not repeat the whole request.
const CAPPED: u16 = 0x100;
/// A flag of an answer: attributes say more.
const EXPLAINED: u16 = 0x200;
/// An attribute of an answer: which byte of the request is to blame.
const OFFSET: u16 = 2;

/// The length of `nlmsghdr`.
pub(super) const NLMSGHDR: usize = 16;

/// One message.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message, and what stands behind it; none where it is damaged.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let word = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
        let length = u32::from_ne_bytes(word(0)?) as usize;
        let [k0, k1, f0, f1] = word(4)?;
        let message = Self {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes(word(8)?),
            payload: bytes.get(NLMSGHDR..length)?,
        };
        let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((message, after))
    }

    /// The error of an answer.
    pub(super) fn errno(&self) -> Option<Errno> {
        let bytes = self.payload.get(..4)?.try_into().ok()?;
        match i32::from_ne_bytes(bytes).saturating_abs() {
            0 => None,
            number @ 1..4096 => Some(Errno::from_raw_os_error(number)),
            _ => Some(Errno::IO),
        }
    }

    /// Which byte of the request the kernel blames.
    pub(super) fn offset(&self) -> Option<u32> {
        if self.flags & EXPLAINED == 0 {
            return None;
        }
        let repeated = self.payload.get(4..)?;
        let length = if self.flags & CAPPED == 0 {
            u32::from_ne_bytes(repeated.get(..4)?.try_into().ok()?) as usize
        } else {
            NLMSGHDR
        };
        let offset = Attributes::new(repeated.get(length.next_multiple_of(4)..)?).find(OFFSET)?;
        Some(u32::from_ne_bytes(offset.value.try_into().ok()?))
    }
}

//! A key or a value, up to 24 bytes, without an allocation: there are hundreds of thousands.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest key: an IPv6 address, a protocol and a port, each padded to 4 bytes.
pub const LONGEST: usize = 24;

/// Up to [`LONGEST`] bytes. What lies behind them is always zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Bytes {
    /// These bytes; `None` if they are too many.
    pub fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            bytes,
            length: u8::try_from(from.len()).ok()?,
        })
    }

    /// The same with `more` behind it, padded with zeros to a multiple of 4; what does not fit is cut.
    #[must_use]
    pub(crate) fn then_padded(mut self, more: &[u8]) -> Self {
        let start = usize::from(self.length);
        for (to, from) in self.bytes.iter_mut().skip(start).zip(more) {
            *to = *from;
        }
        let end = (start + more.len()).next_multiple_of(4).min(LONGEST);
        self.length = u8::try_from(end).unwrap_or(self.length);
        self
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// By words: a set is compared key by key.
impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (words, _) = self.bytes.as_chunks::<8>();
        for word in words {
            state.write_u64(u64::from_ne_bytes(*word));
        }
        state.write_u8(self.length);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_slice() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_slice())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Short;

        impl Visitor<'_> for Short {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {LONGEST} bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Bytes::new(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
            }
        }

        deserializer.deserialize_bytes(Short)
    }
}

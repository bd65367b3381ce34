//! Netlink attributes: type, length, value; numbers in network order.

/// Says that an attribute holds attributes.
const NESTED: u16 = 0x8000;

/// What of an attribute's type is not a flag.
const KIND: u16 = 0x3fff;

/// The bytes before an attribute's value.
const HEADER: usize = 4;

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

/// Writes attributes one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.header(kind, value.len());
        self.raw(value);
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A string and the zero byte that ends it.
    pub(crate) fn string(&mut self, kind: u16, value: &str) {
        self.header(kind, value.len() + 1);
        self.bytes.extend_from_slice(value.as_bytes());
        self.raw(&[0]);
    }

    /// An attribute that holds what `inside` writes: at most 64 KiB.
    pub(crate) fn nested(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.header(kind | NESTED, 0);
        inside(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.patch(start, &length.to_ne_bytes());
    }

    /// Bytes as they are, padded.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    /// Overwrites bytes that were written before.
    pub(crate) fn patch(&mut self, start: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(start..start + value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn header(&mut self, kind: u16, length: usize) {
        let length = u16::try_from(length + HEADER).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }
}

/// One attribute as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// Its type, without flags.
    pub(crate) kind: u16,
    /// Its value.
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub(crate) fn u32(self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    pub(crate) fn u64(self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.try_into().ok()?))
    }

    /// The text before the first zero byte.
    pub(crate) fn string(self) -> Option<&'a str> {
        let end = self.value.iter().position(|byte| *byte == 0);
        let text = self.value.get(..end.unwrap_or(self.value.len()))?;
        std::str::from_utf8(text).ok()
    }

    pub(crate) const fn inside(self) -> Attributes<'a> {
        Attributes::new(self.value)
    }
}

/// Attributes, one after the other, up to the first that is damaged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    bytes: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The first attribute of this type.
    pub(crate) fn find(self, kind: u16) -> Option<Attribute<'a>> {
        self.into_iter().find(|attribute| attribute.kind == kind)
    }
}

impl<'a> IntoIterator for Attributes<'a> {
    type Item = Attribute<'a>;
    type IntoIter = Reader<'a>;

    fn into_iter(self) -> Reader<'a> {
        Reader { rest: self.bytes }
    }
}

/// Reads attributes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Reader<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let [l0, l1, k0, k1, ..] = *self.rest else {
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let kind = u16::from_ne_bytes([k0, k1]) & KIND;
        let value = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.u32(1, 0x0102_0304);
        writer.nested(2, |inside| {
            inside.string(3, "eth0");
            inside.u8(4, 9);
        });
        let bytes = writer.into_bytes();
        let all: Vec<Attribute<'_>> = Attributes::new(&bytes).into_iter().collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].u32(), Some(0x0102_0304));
        let inside: Vec<Attribute<'_>> = all[1].inside().into_iter().collect();
        assert_eq!(inside[0].string(), Some("eth0"));
        assert_eq!(inside[1].value, [9]);
    }

    #[test]
    fn damage_ends_the_reading() {
        for bytes in [
            &[][..],
            &[4, 0, 1],
            &[3, 0, 1, 0],
            &[0, 0, 0, 0],
            &[255, 255, 1, 0, 1],
        ] {
            assert_eq!(Attributes::new(bytes).into_iter().next(), None, "{bytes:?}");
        }
    }
}

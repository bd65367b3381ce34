//! What an element of a set says, out of its bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::emit::netlink::{Data, Element};

/// The mark that its key is: the number of a server, a service or a slot.
pub(crate) fn mark(element: &Element) -> Option<u32> {
    word(element.key.as_slice())
}

/// Its value, where that is none to jump to.
pub(crate) fn value(element: &Element) -> Option<&[u8]> {
    match &element.data {
        Data::Value(value) => Some(value.as_slice()),
        Data::None | Data::Verdict(..) => None,
    }
}

/// A mark, as the kernel has it.
pub(crate) fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// A port, as packets have it.
pub(crate) fn port_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// An address; its family shows in its length.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|b| Ipv4Addr::from(b).into());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| Ipv6Addr::from(b).into()))
        .ok()
}

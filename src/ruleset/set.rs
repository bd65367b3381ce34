//! Sets and maps, and what is in them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Family, Interface, MacAddress, Ports, Protocol};
use crate::source::Span;

use super::Name;

/// A named set, or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The set's name, unique in the table.
    pub name: Name,
    /// The type of a key.
    pub key: KeyType,
    /// The type of a map's values; `None` for a set.
    pub data: Option<DataType>,
    /// How many elements there is room for. Fixed, so that the kernel sizes its hash table once.
    pub size: u32,
    /// How many elements there are, made or not: the size follows from it. 0 where rules add them.
    pub members: usize,
    /// Whether keys hold ranges (`flags interval`).
    pub interval: bool,
    /// Whether every element counts its look-ups.
    pub counter: bool,
    /// Where rules add the elements and each of them times out (`flags dynamic,timeout`), the statement that first
    /// asked for it. Such a set has no elements here, and what is in it in the kernel is never compared.
    pub dynamic: Option<Span>,
    /// What the set is for, told to the reader of the text form.
    pub purpose: &'static str,
    /// The set's elements, each key once.
    pub elements: Vec<Element>,
}

/// The type of a set's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `mark`
    Mark,
    /// `ipv4_addr` or `ipv6_addr`
    Address(Family),
    /// `ipv4_addr . inet_proto . inet_service`, or with `ipv6_addr`
    AddressProtocolPort(Family),
    /// `ipv4_addr . inet_proto`, or with `ipv6_addr`
    AddressProtocol(Family),
    /// `ipv4_addr . inet_service`, or with `ipv6_addr`
    AddressPort(Family),
    /// `ipv4_addr . mark`, or with `ipv6_addr`
    AddressMark(Family),
    /// `mark . ct_dir`, of a set to which [`Statement::Count`](super::Statement::Count) adds: `flags dynamic`, and nothing times out.
    MarkDirection,
    /// Fields of a dynamic map's key, 16 bytes in all at most: nft 1.0.6 makes rules that store longer keys wrongly.
    Fields(&'static [Field]),
    /// So many hashes and then a mark, for a dynamic map whose keys would be longer; at most three. A hash has no name
    /// as a type: nft takes an expression of the same type, `typeof numgen inc mod 2 . meta mark`.
    HashesMark(u8),
    /// So many hashes, at most four, otherwise the same.
    Hashes(u8),
}

/// One field of a key, padded to 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `ipv4_addr`
    Address,
    /// `mark`
    Mark,
    /// `inet_service`
    Port,
}

/// The type of a map's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `verdict`
    Verdict,
    /// `mark`
    Mark,
    /// `ipv4_addr` or `ipv6_addr`
    Address(Family),
    /// `inet_service`
    Port,
    /// `ether_addr`
    Mac,
    /// `iface_index`
    Interface,
}

/// One element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The key, of the set's key type.
    pub key: Key,
    /// The value, of the set's data type.
    pub data: Option<Data>,
    /// Which server or service it stands for, kept by the kernel; at most [`MAX_COMMENT`] bytes.
    pub comment: Option<Arc<str>>,
    /// The place in the source that asked for the element.
    pub origin: Span,
}

/// The longest comment that nft takes, in bytes.
pub const MAX_COMMENT: usize = 127;

/// The key of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A slot's or a server's number.
    Mark(u32),
    /// An address.
    Address(IpAddr),
    /// An address, protocol and port; [`Ports::Any`] where the key has no port.
    Vip(IpAddr, Protocol, Ports),
    /// An address and a port, or a range of ports.
    AddressPorts(IpAddr, Ports),
    /// The lowest address of a prefix, and the number of the list that the prefix is in.
    AddressMark(IpAddr, u32),
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Data {
    /// A slot's or a server's number.
    Mark(u32),
    /// An address.
    Address(IpAddr),
    /// A port.
    Port(u16),
    /// A MAC address.
    Mac(MacAddress),
    /// An interface, by name; the kernel keeps its index.
    Interface(Interface),
    /// `goto CHAIN`
    Goto(Name),
    /// `drop`
    Drop,
    /// `return`
    Return,
}

//! The kernel's numbers, from `linux/netfilter/nf_tables.h`.

/// Messages.
pub(crate) mod message {
    pub(crate) const NEW_TABLE: u8 = 0;
    pub(crate) const GET_TABLE: u8 = 1;
    pub(crate) const DELETE_TABLE: u8 = 2;
    pub(crate) const NEW_CHAIN: u8 = 3;
    pub(crate) const GET_CHAIN: u8 = 4;
    pub(crate) const DELETE_CHAIN: u8 = 5;
    pub(crate) const NEW_RULE: u8 = 6;
    pub(crate) const GET_RULE: u8 = 7;
    pub(crate) const DELETE_RULE: u8 = 8;
    pub(crate) const NEW_SET: u8 = 9;
    pub(crate) const GET_SET: u8 = 10;
    pub(crate) const DELETE_SET: u8 = 11;
    pub(crate) const NEW_ELEMENTS: u8 = 12;
    pub(crate) const GET_ELEMENTS: u8 = 13;
    pub(crate) const DELETE_ELEMENTS: u8 = 14;
    pub(crate) const GET_GENERATION: u8 = 16;
}

/// Messages and attributes of connection tracking, from `linux/netfilter/nfnetlink_conntrack.h`.
pub(crate) mod conntrack {
    /// The type of a message that asks for connections: its subsystem, and the question.
    pub(crate) const GET: u16 = 1 << 8 | 1;
    pub(crate) const ORIGINAL: u16 = 1;
    pub(crate) const STATUS: u16 = 3;
    pub(crate) const MARK: u16 = 8;
    pub(crate) const ID: u16 = 12;
    pub(crate) const ZONE: u16 = 18;
    pub(crate) const MARK_MASK: u16 = 21;
    pub(crate) const STATUS_MASK: u16 = 26;
    /// In a direction.
    pub(crate) const ADDRESSES: u16 = 1;
    pub(crate) const PROTOCOL: u16 = 2;
    /// In the addresses: of IPv4, then of IPv6.
    pub(crate) const SOURCES: [u16; 2] = [1, 3];
    pub(crate) const DESTINATIONS: [u16; 2] = [2, 4];
    /// In the protocol.
    pub(crate) const NUMBER: u16 = 1;
    pub(crate) const SOURCE_PORT: u16 = 2;
    pub(crate) const DESTINATION_PORT: u16 = 3;
    /// A bit of the status: packets went both ways.
    pub(crate) const ANSWERED: u32 = 0x2;
    /// A bit of the status: the destination is translated.
    pub(crate) const TRANSLATED: u32 = 0x20;
}

/// Attributes of tables.
pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const HANDLE: u16 = 4;
    pub(crate) const USERDATA: u16 = 6;
    /// Of its flags: no packet meets its rules.
    pub(crate) const DORMANT: u32 = 1;
    /// In its userdata.
    pub(crate) const COMMENT: u8 = 0;
}

/// Attributes of chains.
pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
}

/// Attributes of a chain's hook.
pub(crate) mod hook {
    pub(crate) const NUMBER: u16 = 1;
    pub(crate) const PRIORITY: u16 = 2;
    pub(crate) const DEVICE: u16 = 3;
    pub(crate) const DEVICES: u16 = 4;
    /// In a list of devices.
    pub(crate) const DEVICE_NAME: u16 = 1;
}

/// Attributes of rules.
pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const HANDLE: u16 = 3;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const POSITION: u16 = 6;
}

/// Attributes of sets.
pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LENGTH: u16 = 5;
    pub(crate) const DATA_TYPE: u16 = 6;
    pub(crate) const DATA_LENGTH: u16 = 7;
    pub(crate) const DESCRIPTION: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const USERDATA: u16 = 13;
    pub(crate) const EXPRESSION: u16 = 17;
    pub(crate) const EXPRESSIONS: u16 = 18;
    /// In the description.
    pub(crate) const SIZE: u16 = 1;
    /// In the description: the fields of a key with ranges.
    pub(crate) const FIELDS: u16 = 2;
    /// In a field.
    pub(crate) const FIELD_LENGTH: u16 = 1;

    pub(crate) const ANONYMOUS: u32 = 0x1;
    pub(crate) const CONSTANT: u32 = 0x2;
    pub(crate) const INTERVAL: u32 = 0x4;
    pub(crate) const MAP: u32 = 0x8;
    pub(crate) const TIMEOUT: u32 = 0x10;
    /// Rules add elements.
    pub(crate) const DYNAMIC: u32 = 0x20;
    pub(crate) const CONCATENATION: u32 = 0x80;
}

/// Attributes of a list of elements, and of one element.
pub(crate) mod element {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const SET: u16 = 2;
    pub(crate) const LIST: u16 = 3;
    pub(crate) const SET_ID: u16 = 4;
    /// In a list.
    pub(crate) const ELEMENT: u16 = 1;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    /// How long it lives after a packet, in milliseconds.
    pub(crate) const TIMEOUT: u16 = 4;
    /// How long it has to live, in milliseconds.
    pub(crate) const EXPIRATION: u16 = 5;
    pub(crate) const USERDATA: u16 = 6;
    pub(crate) const EXPRESSION: u16 = 7;
    pub(crate) const KEY_END: u16 = 10;
    pub(crate) const EXPRESSIONS: u16 = 11;
    /// In its userdata.
    pub(crate) const COMMENT: u8 = 0;
    /// A flag: it stands for all keys that are not there.
    pub(crate) const CATCH_ALL: u32 = 0x2;
}

/// Attributes of data.
pub(crate) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
}

/// Attributes and codes of verdicts.
pub(crate) mod verdict {
    pub(crate) const CODE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const DROP: i32 = 0;
    pub(crate) const ACCEPT: i32 = 1;
    pub(crate) const JUMP: i32 = -3;
    pub(crate) const GOTO: i32 = -4;
    pub(crate) const RETURN: i32 = -5;
}

/// Attributes of an expression.
pub(crate) mod expr {
    /// In a list.
    pub(crate) const ELEMENT: u16 = 1;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

/// `immediate`
pub(crate) mod immediate {
    pub(crate) const TO: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

/// `cmp`
pub(crate) mod cmp {
    pub(crate) const FROM: u16 = 1;
    pub(crate) const OPERATOR: u16 = 2;
    pub(crate) const DATA: u16 = 3;
    pub(crate) const EQUAL: u32 = 0;
    pub(crate) const DIFFERENT: u32 = 1;
    pub(crate) const AT_LEAST: u32 = 5;
}

/// `bitwise`
pub(crate) mod bitwise {
    pub(crate) const FROM: u16 = 1;
    pub(crate) const TO: u16 = 2;
    pub(crate) const LENGTH: u16 = 3;
    pub(crate) const MASK: u16 = 4;
    pub(crate) const XOR: u16 = 5;
}

/// `byteorder`
pub(crate) mod byteorder {
    pub(crate) const FROM: u16 = 1;
    pub(crate) const TO: u16 = 2;
    pub(crate) const OPERATION: u16 = 3;
    pub(crate) const LENGTH: u16 = 4;
    pub(crate) const SIZE: u16 = 5;
    pub(crate) const TO_NETWORK: u32 = 1;
}

/// `dynset`
pub(crate) mod dynset {
    pub(crate) const SET: u16 = 1;
    pub(crate) const OPERATION: u16 = 3;
    pub(crate) const KEY: u16 = 4;
    pub(crate) const DATA: u16 = 5;
    pub(crate) const TIMEOUT: u16 = 6;
    pub(crate) const ADD: u32 = 0;
    pub(crate) const UPDATE: u32 = 1;
    pub(crate) const DELETE: u32 = 2;
}

/// `lookup`
pub(crate) mod lookup {
    pub(crate) const SET: u16 = 1;
    pub(crate) const FROM: u16 = 2;
    pub(crate) const TO: u16 = 3;
    pub(crate) const SET_ID: u16 = 4;
}

/// `payload`
pub(crate) mod payload {
    pub(crate) const TO: u16 = 1;
    pub(crate) const BASE: u16 = 2;
    pub(crate) const OFFSET: u16 = 3;
    pub(crate) const LENGTH: u16 = 4;
    pub(crate) const FROM: u16 = 5;
    pub(crate) const CHECKSUM_TYPE: u16 = 6;
    pub(crate) const CHECKSUM_OFFSET: u16 = 7;
    pub(crate) const LINK: u32 = 0;
    pub(crate) const NETWORK: u32 = 1;
    pub(crate) const TRANSPORT: u32 = 2;
    /// A kind of checksum: that of IPv4.
    pub(crate) const INTERNET: u32 = 1;
}

/// `meta`
pub(crate) mod meta {
    pub(crate) const TO: u16 = 1;
    pub(crate) const KEY: u16 = 2;
    pub(crate) const FROM: u16 = 3;
    pub(crate) const PROTOCOL: u32 = 1;
    pub(crate) const MARK: u32 = 3;
    pub(crate) const IIF: u32 = 4;
    pub(crate) const INTERFACE_TYPE: u32 = 8;
    pub(crate) const NFPROTO: u32 = 15;
    pub(crate) const L4PROTO: u32 = 16;
    pub(crate) const PACKET_TYPE: u32 = 19;
    pub(crate) const RANDOM: u32 = 24;
    /// Transport protocols.
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const ICMPV6: u8 = 58;
    /// A packet type: for this host.
    pub(crate) const PACKET_HOST: u8 = 0;
    /// An interface type.
    pub(crate) const INTERFACE_ETHERNET: u16 = 1;
}

/// `ct`
pub(crate) mod ct {
    pub(crate) const TO: u16 = 1;
    pub(crate) const KEY: u16 = 2;
    pub(crate) const DIRECTION: u16 = 3;
    pub(crate) const FROM: u16 = 4;
    pub(crate) const STATE: u32 = 0;
    pub(crate) const DIRECTION_KEY: u32 = 1;
    pub(crate) const STATUS: u32 = 2;
    pub(crate) const MARK: u32 = 3;
    pub(crate) const DESTINATION_V4: u32 = 20;
    pub(crate) const DESTINATION_V6: u32 = 22;
    /// A direction.
    pub(crate) const ORIGINAL: u8 = 0;
    /// A bit of the state: `NF_CT_STATE_BIT(IP_CT_NEW)`.
    pub(crate) const NEW: u32 = 0x8;
    /// A bit of the state: the packet is of no connection.
    pub(crate) const INVALID: u32 = 0x1;
    /// A bit of the status.
    pub(crate) const DESTINATION_TRANSLATED: u32 = 0x20;
    /// A bit of the status: it is followed, as its first packet came through.
    pub(crate) const CONFIRMED: u32 = 0x8;
}

/// The header of TCP.
pub(crate) mod tcp {
    /// Where its flags are, and those that begin and end a connection.
    pub(crate) const FLAGS: u32 = 13;
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const ACK: u8 = 0x10;
}

/// `nat`
pub(crate) mod nat {
    pub(crate) const TYPE: u16 = 1;
    pub(crate) const FAMILY: u16 = 2;
    pub(crate) const ADDRESS_FIRST: u16 = 3;
    pub(crate) const ADDRESS_LAST: u16 = 4;
    pub(crate) const PORT_FIRST: u16 = 5;
    pub(crate) const PORT_LAST: u16 = 6;
    pub(crate) const FLAGS: u16 = 7;
    pub(crate) const SOURCE: u32 = 0;
    pub(crate) const DESTINATION: u32 = 1;
    pub(crate) const MAP_ADDRESS: u32 = 1;
    pub(crate) const PORT_GIVEN: u32 = 2;
}

/// `hash`
pub(crate) mod hash {
    pub(crate) const FROM: u16 = 1;
    pub(crate) const TO: u16 = 2;
    pub(crate) const LENGTH: u16 = 3;
    pub(crate) const MODULUS: u16 = 4;
    pub(crate) const SEED: u16 = 5;
    pub(crate) const OFFSET: u16 = 6;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const JENKINS: u32 = 0;
}

/// `numgen`
pub(crate) mod numgen {
    pub(crate) const TO: u16 = 1;
    pub(crate) const MODULUS: u16 = 2;
    pub(crate) const TYPE: u16 = 3;
    pub(crate) const OFFSET: u16 = 4;
    pub(crate) const INCREMENT: u32 = 0;
    pub(crate) const RANDOM: u32 = 1;
}

/// `fib`
pub(crate) mod fib {
    pub(crate) const TO: u16 = 1;
    pub(crate) const RESULT: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const ADDRESS_TYPE: u32 = 3;
    pub(crate) const OF_SOURCE: u32 = 1;
    /// An address type.
    pub(crate) const LOCAL: u32 = 2;
}

/// `exthdr`
pub(crate) mod exthdr {
    pub(crate) const TO: u16 = 1;
    pub(crate) const TYPE: u16 = 2;
    pub(crate) const OFFSET: u16 = 3;
    pub(crate) const LENGTH: u16 = 4;
    pub(crate) const FLAGS: u16 = 5;
    pub(crate) const OPERATION: u16 = 6;
    /// The fragment header, by its protocol number.
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const IPV6: u32 = 0;
}

/// `fwd`
pub(crate) mod fwd {
    pub(crate) const DEVICE: u16 = 1;
    pub(crate) const ADDRESS: u16 = 2;
    pub(crate) const FAMILY: u16 = 3;
}

/// `reject`
pub(crate) mod reject {
    pub(crate) const TYPE: u16 = 1;
    pub(crate) const CODE: u16 = 2;
    pub(crate) const TCP_RESET: u32 = 1;
    pub(crate) const ICMPX: u32 = 2;
    pub(crate) const PORT_UNREACHABLE: u8 = 1;
}

/// `counter`
pub(crate) mod counter {
    pub(crate) const BYTES: u16 = 1;
    pub(crate) const PACKETS: u16 = 2;
}

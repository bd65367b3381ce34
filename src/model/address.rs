//! Addresses: families, prefixes and MAC addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// How many bits an address has.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address and how many of its leading bits count; the others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of this length that holds `address`; `None` if the family has fewer bits.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        if length > Family::of(address).bits() {
            return None;
        }
        let address = match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        };
        Some(Self { address, length })
    }

    /// The lowest address inside.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The family.
    pub const fn family(self) -> Family {
        Family::of(self.address)
    }

    /// The prefix that this and `other` make up together, where they are its two halves.
    pub fn joined(self, other: Self) -> Option<Self> {
        let whole = Self::new(self.address, self.length.checked_sub(1)?)?;
        let halves = self != other && self.length == other.length && whole.contains(other.address);
        halves.then_some(whole)
    }

    /// Whether `address` lies inside.
    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == self.family()
            && Self::new(address, self.length).is_some_and(|p| p.address == self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Whether one host can own it: not a group address, not all zeros.
    pub const fn is_host(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The text is not six pairs of hexadecimal digits with colons between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMacAddress;

impl FromStr for MacAddress {
    type Err = NotAMacAddress;

    fn from_str(text: &str) -> Result<Self, NotAMacAddress> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(NotAMacAddress)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotAMacAddress);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotAMacAddress)?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(NotAMacAddress),
        }
    }
}

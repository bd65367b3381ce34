//! `mode`, and the questions that others ask of it.
//!
//! Whoever must know what a mode does asks here, so that another mode is answered for once, in each `match` below, and
//! not by whoever took it for the one or the other. What a mode writes into tables is for `lower` alone to say, and
//! what it can be written with for `check`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{DirectReturn, Family};

/// How a packet reaches its real server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Destination rewritten (DNAT).
    Nat(SourceNat),
    /// Direct return: only MAC addresses change.
    Dr(DirectReturn),
}

/// What `nat` does to the source address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceNat {
    /// Nothing: the server sees the client.
    Keep,
    /// The balancer's own address on the way out.
    Masquerade,
    /// Fixed addresses, at least one.
    Fixed {
        /// For IPv4 connections.
        ipv4: Option<Ipv4Addr>,
        /// For IPv6 connections.
        ipv6: Option<Ipv6Addr>,
    },
}

impl SourceNat {
    /// The fixed source address of a family's connections, if they have one.
    pub fn fixed(&self, family: Family) -> Option<IpAddr> {
        match (self, family) {
            (Self::Keep | Self::Masquerade, _) => None,
            (Self::Fixed { ipv4, .. }, Family::V4) => ipv4.map(IpAddr::V4),
            (Self::Fixed { ipv6, .. }, Family::V6) => ipv6.map(IpAddr::V6),
        }
    }
}

/// [`Mode`] by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeKind {
    /// `nat`: destination rewritten.
    Nat,
    /// `dr`: direct return.
    Dr,
}

/// Where in the kernel packets meet the rules of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookedIn {
    /// Where packets are routed: the `inet` table.
    Inet,
    /// Where frames come in, before anything else: the `netdev` table.
    Netdev,
}

impl Default for Mode {
    /// What holds where nothing is said.
    fn default() -> Self {
        Self::Nat(SourceNat::Keep)
    }
}

impl Mode {
    /// The mode without what it is set to.
    pub const fn kind(&self) -> ModeKind {
        match self {
            Self::Nat(_) => ModeKind::Nat,
            Self::Dr(_) => ModeKind::Dr,
        }
    }

    /// Where in the kernel packets meet the rules of the mode.
    pub const fn hooked_in(&self) -> HookedIn {
        match self {
            Self::Nat(_) => HookedIn::Inet,
            Self::Dr(_) => HookedIn::Netdev,
        }
    }

    /// Whether packets get other addresses, so that servers see none for the VIP.
    pub const fn translates(&self) -> bool {
        match self {
            Self::Nat(_) => true,
            Self::Dr(_) => false,
        }
    }

    /// Whether connection tracking knows each flow's server, so that nothing else has to remember it.
    pub const fn kernel_tracks(&self) -> bool {
        match self {
            Self::Nat(_) => true,
            Self::Dr(_) => false,
        }
    }

    /// The interfaces by which packets come and go, where frames are sent by them and not by the kernel's routes.
    pub const fn direct(&self) -> Option<&DirectReturn> {
        match self {
            Self::Nat(_) => None,
            Self::Dr(direct) => Some(direct),
        }
    }

    /// What becomes of the source address, where packets get other addresses.
    pub const fn source_nat(&self) -> Option<&SourceNat> {
        match self {
            Self::Nat(source) => Some(source),
            Self::Dr(_) => None,
        }
    }
}

//! Facts in the words of the language, for messages and reports.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{
    DirectReturn, HashKey, Mode, ModeKind, OnEmpty, Persistence, Ports, RealServer, Scheduler,
    SourceNat, State, Via, Vip,
};

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(port) => write!(f, "{port}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Any => f.write_str("any"),
        }
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.address,
            self.protocol.name(),
            self.ports
        )
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "via {}", self.interface)?;
        match self.from {
            Some(from) => write!(f, " from {from}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat(SourceNat::Keep) => f.write_str("nat"),
            Self::Nat(SourceNat::Masquerade) => f.write_str("nat masquerade"),
            Self::Nat(SourceNat::Fixed { ipv4, ipv6 }) => {
                f.write_str("nat snat")?;
                let mut separator = " ";
                if let Some(address) = ipv4 {
                    write!(f, "{separator}{address}")?;
                    separator = ", ";
                }
                if let Some(address) = ipv6 {
                    write!(f, "{separator}{address}")?;
                }
                Ok(())
            }
            Self::Dr(DirectReturn { on, via }) => {
                write!(f, "dr on {}", on.join(", "))?;
                match via {
                    Some(via) => write!(f, " {via}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl ModeKind {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dr => "dr",
        }
    }
}

impl fmt::Display for ModeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::SourcePort => "source-port",
        })
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("round-robin"),
            Self::Random => f.write_str("random"),
            Self::Hash(key) => write!(f, "hash by {key}"),
            Self::Maglev { key, table: None } => write!(f, "maglev by {key}"),
            Self::Maglev {
                key,
                table: Some(size),
            } => write!(f, "maglev by {key} table {size}"),
        }
    }
}

impl fmt::Display for OnEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reject => "reject",
            Self::Drop => "drop",
        })
    }
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Up, Self::Drain, Self::Down, Self::Backup];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Drain => "drain",
            Self::Down => "down",
            Self::Backup => "backup",
        }
    }

    /// Whether new clients can come to a server in it.
    pub const fn takes_clients(self) -> bool {
        match self {
            Self::Up | Self::Backup => true,
            Self::Drain | Self::Down => false,
        }
    }

    /// The state that this word is for.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} by source/{}/{}",
            DurationWords(self.timeout),
            self.ipv4_prefix,
            self.ipv6_prefix
        )
    }
}

impl RealServer {
    /// `10.20.0.11:8080`, `[2001:db8::1]:80`, or the address alone.
    pub fn endpoint(&self) -> String {
        endpoint(self.address, self.port)
    }
}

/// `10.20.0.11:8080`, `[2001:db8::1]:80`, or the address alone.
pub fn endpoint(address: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

/// A duration of whole seconds as flb writes it: `1h30m`.
pub struct DurationWords(pub Duration);

impl fmt::Display for DurationWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seconds = self.0.as_secs();
        if seconds == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)] {
            if seconds >= length {
                write!(f, "{}{unit}", seconds / length)?;
                seconds %= length;
            }
        }
        Ok(())
    }
}

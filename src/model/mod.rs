//! Checked facts, as plain data. Nothing here can be wrong in itself; nothing here knows how it was
//! written, but for the [`Span`]s that lead back to the source.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::source::Span;

mod address;
mod digest;
mod effective;
mod fragments;
mod layers;
mod mode;
mod own_macs;
mod place;
mod remembered;
mod served;
mod words;

pub use address::{Family, MacAddress, Prefix};
pub use effective::{Effective, Lacking, Mark};
pub use fragments::Fragments;
pub use layers::{
    Cause, Layer, LayerChanges, Layers, Moved, Standing, Verdict, Wanted, Wish, standing,
};
pub use mode::{HookedIn, Mode, ModeKind, SourceNat};
pub use place::{Place, PlaceIndex, ServerKey};
pub use served::Served;
pub use words::{DurationWords, endpoint};

/// Everything that one file set says.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Pools, in the order written.
    pub pools: Vec<Pool>,
    /// Services, in the order written.
    pub services: Vec<Service>,
}

/// The place of a pool in [`Model::pools`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub usize);

/// Real servers that services can share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pool {
    /// The name, unique among pools.
    pub name: Arc<str>,
    /// The place of the name in the pool's declaration.
    pub span: Span,
    /// The pool's servers, in the order written, ranges expanded.
    pub real_servers: Vec<RealServer>,
}

/// The longest name of a service, a pool or a server, in bytes.
pub const LONGEST_NAME: usize = 64;

/// One virtual service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// The name, unique among services.
    pub name: Arc<str>,
    /// The place of the name in the service's declaration.
    pub span: Span,
    /// Every address, protocol and port match, one by one; at least one.
    pub vips: Vec<Vip>,
    /// How packets reach the server.
    pub mode: Mode,
    /// How the server is chosen.
    pub scheduler: Scheduler,
    /// Whether and how clients come back to their server.
    pub persistence: Option<Persistence>,
    /// How long a flow's server is remembered (`dr` only).
    pub track: Option<Tracking>,
    /// What clients get when no server is left.
    pub on_empty: OnEmpty,
    /// Who may come. Written with the [`Model`], where services share their lists.
    #[serde(skip)]
    pub access: Access,
    /// Pools and servers, in the order written; at least one.
    pub members: Vec<Member>,
}

impl Service {
    /// The families of its VIPs, IPv4 first.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        let has = |family: &Family| self.vips.iter().any(|vip| vip.family() == *family);
        Family::BOTH.into_iter().filter(has)
    }
}

/// One source of real servers of a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Member {
    /// All servers of a pool.
    Pool(PoolId),
    /// One server of the service's own.
    Server(RealServer),
}

impl Model {
    /// The pool with this number. `check` and the reader of notes let no other number pass; one that is wrong all the same
    /// has no servers.
    pub fn pool(&self, id: PoolId) -> &Pool {
        static NONE: LazyLock<Pool> = LazyLock::new(|| Pool {
            name: Arc::from(""),
            span: Span::NOWHERE,
            real_servers: Vec::new(),
        });
        self.pools.get(id.0).unwrap_or_else(|| {
            impossible!("a pool has a number that no pool of the model has");
            &NONE
        })
    }

    /// The real servers of a service, in the order written.
    pub fn real_servers<'a>(
        &'a self,
        service: &'a Service,
    ) -> impl Iterator<Item = &'a RealServer> {
        service.members.iter().flat_map(|member| match member {
            Member::Pool(id) => self.pool(*id).real_servers.as_slice(),
            Member::Server(server) => std::slice::from_ref(server),
        })
    }
}

/// A virtual IP address with protocol and ports: what clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// The virtual IP address.
    pub address: IpAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Which ports of the address.
    pub ports: Ports,
    /// The `vip` statement that named the address.
    pub span: Span,
}

impl Vip {
    /// The family of its address.
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP, protocol number 6
    Tcp,
    /// UDP, protocol number 17
    Udp,
    /// SCTP, protocol number 132
    Sctp,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The word for it, in flb and nft alike.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// Which ports of an address belong to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ports {
    /// One port, 1 to 65535; beats ranges.
    One(u16),
    /// From the first to the last, the first smaller than the last; beats `any`.
    Range(u16, u16),
    /// `any`
    Any,
}

impl Ports {
    /// Whether some of these belong to a service that has `closer` of the same address: the closest match wins.
    pub const fn lose_to(self, closer: Self) -> bool {
        match (self, closer) {
            (Self::Any, Self::One(_) | Self::Range(..)) => true,
            (Self::Range(first, last), Self::One(port)) => first <= port && port <= last,
            (Self::Any, Self::Any)
            | (Self::Range(..), Self::Range(..) | Self::Any)
            | (Self::One(_), _) => false,
        }
    }
}

/// Where direct return takes packets from and where it puts them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DirectReturn {
    /// Interfaces on which clients' packets arrive, each once, at least one.
    pub on: Vec<Interface>,
    /// The interface by which they leave; without it, the one by which they came.
    pub via: Option<Via>,
}

impl DirectReturn {
    /// The interface by which packets leave for a server; `None`: the one by which they came.
    pub fn interface_to<'a>(&'a self, server: &'a RealServer) -> Option<&'a Interface> {
        let via = server.via.as_ref().or(self.via.as_ref())?;
        Some(&via.interface)
    }

    /// The interface whose own MAC address frames to this server need, and the file does not give.
    pub fn lacks_source_mac<'a>(&'a self, server: &'a RealServer) -> Option<&'a Interface> {
        let interface = self.interface_to(server)?;
        let leaves_elsewhere = self.on.iter().any(|on| on != interface);
        let lacks =
            server.mac.is_some() && leaves_elsewhere && self.source_mac_to(server).is_none();
        lacks.then_some(interface)
    }

    /// That interface's own MAC address, where the file gives it, for the server or for the service.
    pub fn source_mac_to(&self, server: &RealServer) -> Option<MacAddress> {
        let interface = self.interface_to(server)?;
        let own = server.via.as_ref().and_then(|via| via.from);
        own.or_else(|| {
            self.via
                .as_ref()
                .filter(|via| via.interface == *interface)?
                .from
        })
    }
}

/// An outgoing interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Via {
    /// The interface's name.
    pub interface: Interface,
    /// The interface's own MAC address, which frames that leave by the interface carry as their source.
    pub from: Option<MacAddress>,
    /// Whether that was looked up, as the file does not give it: the interface may have another one by now.
    pub looked_up: bool,
}

/// The name of a network interface: 1 to 15 of `A-Z a-z 0-9 _ . @ -`.
pub type Interface = Arc<str>;

/// How a service chooses among its real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scheduler {
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// By a hash.
    Hash(HashKey),
    /// By consistent hashing.
    Maglev {
        /// What of the client is hashed.
        key: HashKey,
        /// The table's size, a prime; without it `schedule` derives it from the number of servers.
        table: Option<u32>,
    },
}

impl Scheduler {
    /// Whether the packets of one flow go to one server only if flows are remembered.
    pub const fn needs_tracking(self) -> bool {
        match self {
            Self::RoundRobin | Self::Random => true,
            Self::Hash(_) | Self::Maglev { .. } => false,
        }
    }

    /// Whether the order in which servers stand in the file counts.
    pub const fn keeps_file_order(self) -> bool {
        match self {
            Self::RoundRobin => true,
            Self::Random | Self::Hash(_) | Self::Maglev { .. } => false,
        }
    }
}

/// What a hashing scheduler looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HashKey {
    /// The client's address.
    Source,
    /// The client's address and port.
    SourcePort,
}

/// `persist`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Persistence {
    /// How long a silent client is remembered; whole seconds, at least one.
    pub timeout: Duration,
    /// How many bits of an IPv4 client's address count, 1 to 32.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 client's address count, 1 to 128.
    pub ipv6_prefix: u8,
    /// The statement, in the service or in the defaults it came from.
    pub span: Span,
}

/// `track`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tracking {
    /// How long a silent flow is remembered; whole seconds, at least one.
    pub timeout: Duration,
    /// The statement; that of the scheduler where tracking is implied.
    pub span: Span,
}

/// What clients get when no server is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OnEmpty {
    /// A TCP reset, or ICMP port unreachable.
    Reject,
    /// Nothing.
    Drop,
}

/// A list of prefixes, which many services may share.
pub type AccessList = Arc<Vec<AccessEntry>>;

/// The clients that may come, by `allow` and `deny`. Both lists empty: every client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// If there is one: only clients inside one of these.
    pub allow: AccessList,
    /// Never clients inside one of these.
    pub deny: AccessList,
}

impl Access {
    /// Whether every client may come: both lists are empty.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// A prefix of an `allow` or `deny`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// The prefix.
    pub prefix: Prefix,
    /// The word in the file that gave the prefix.
    pub span: Span,
}

/// One real server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RealServer {
    /// The name, unique within a service.
    pub name: Arc<str>,
    /// The server's address.
    pub address: IpAddr,
    /// The server's port; `None`: the port that the client asked for.
    pub port: Option<u16>,
    /// The weight, 0 to 65535: the server's share of new clients. 0 only where `state` is [`State::Drain`] or [`State::Down`].
    pub weight: u16,
    /// Whether it takes new clients.
    pub state: State,
    /// The weight that the file gives it, whatever was set since: the number of slots follows from it.
    pub file_weight: u16,
    /// Whether the file has it as a `backup`, whatever was set since: then it has no share while others serve.
    pub reserve: bool,
    /// The server's MAC address, where the file gives it (`dr` only).
    pub mac: Option<MacAddress>,
    /// The interface by which packets leave for this server and no other (`dr` only).
    pub via: Option<Via>,
    /// The `server` statement.
    pub span: Span,
}

/// Whether a real server takes clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Takes new clients.
    Up,
    /// Keeps those it has (`drain`, or weight 0).
    Drain,
    /// Has none at all.
    Down,
    /// Takes new clients while no other of its family in the service is up.
    Backup,
}

//! Where a client's new flow goes, and why: each step that the rules take, taken here from the file alone.

use std::net::{IpAddr, SocketAddr};

use crate::model::{
    AccessEntry, Family, HashKey, Model, OnEmpty, Ports, Protocol, RealServer, Service, SourceNat,
    State, Vip,
};
use crate::schedule::jhash::SEED;
use crate::schedule::predict::{key_bytes, predict};
use crate::schedule::{Block, Choice, Draw, Plan, ServicePlan};

mod words;

pub use words::{Location, lines, short};

/// The first packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The client's address and port.
    pub from: SocketAddr,
    /// The address and port that the client connects to; of the same family.
    pub to: SocketAddr,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// What becomes of the flow.
#[derive(Debug, Clone)]
pub enum Explanation<'m> {
    /// No service has this address, protocol and port.
    Nobody {
        /// What services have at the same address, in the order written.
        near: Vec<(&'m Service, &'m Vip)>,
    },
    /// A service has it.
    Found(Box<Found<'m>>),
}

/// The service, and what it does with the flow.
#[derive(Debug, Clone)]
pub struct Found<'m> {
    /// The service that takes the flow.
    pub service: &'m Service,
    /// The service's VIP that matches the packet best.
    pub vip: &'m Vip,
    /// Other VIPs that match too and less well, each with its service.
    pub beaten: Vec<(&'m Service, &'m Vip)>,
    /// Whether the client may come.
    pub access: Admission<'m>,
    /// How a server is chosen for the flow, and which.
    pub choice: Chosen<'m>,
    /// The servers of this family that no new client gets, and why.
    pub passed_over: Vec<(&'m RealServer, PassedOver)>,
    /// What the packet looks like when it leaves for the server; `None` where there is not one server that is known.
    pub leaves: Option<Leaves<'m>>,
}

/// Whether a client may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<'m> {
    /// Everybody may.
    Open,
    /// The client is inside this `allow`, and no `deny`.
    Allowed(&'m AccessEntry),
    /// There is no `allow`, and it is inside no `deny`.
    NotDenied,
    /// The client is inside this `deny`.
    Denied(&'m AccessEntry),
    /// There are `allow`s, and it is inside none.
    Outside,
}

impl Admission<'_> {
    /// Whether the client may come.
    pub fn admits(self) -> bool {
        matches!(self, Self::Open | Self::Allowed(_) | Self::NotDenied)
    }
}

/// How a server is chosen.
#[derive(Debug, Clone)]
pub enum Chosen<'m> {
    /// Not at all: the client gets what `on-empty` says, and why.
    Refused(OnEmpty, Unserved),
    /// There is one, and no other.
    Only(&'m RealServer),
    /// By a hash.
    Hashed(Hashed<'m>),
    /// By turn or at random: each has its share of the slots.
    Drawn {
        /// Whether in turn.
        in_turn: bool,
        /// Servers and their slots, in the order written; each has at least one.
        shares: Vec<(&'m RealServer, usize)>,
        /// How many slots there are.
        slots: usize,
    },
}

/// Why a client gets no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unserved {
    /// The client may not come.
    Client,
    /// No server takes new clients.
    NoServer,
}

/// How a hash finds the server.
#[derive(Debug, Clone)]
pub struct Hashed<'m> {
    /// What of the client is hashed.
    pub key: HashKey,
    /// The hashed bytes, as the kernel has them.
    pub bytes: Vec<u8>,
    /// The seed.
    pub seed: u32,
    /// The hash.
    pub hash: u32,
    /// How many slots there are.
    pub slots: usize,
    /// The slot, from 0: `hash * slots >> 32`.
    pub slot: u32,
    /// The server that owns the slot.
    pub server: &'m RealServer,
}

/// Why a server gets no new clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// The server drains.
    Drain,
    /// The server is down.
    Down,
    /// The server is a backup, and another is up.
    Backup,
    /// The server's share is less than one slot.
    TooLight,
}

/// A packet on its way to the server.
#[derive(Debug, Clone, Copy)]
pub enum Leaves<'m> {
    /// The packet leaves with addresses rewritten.
    Translated {
        /// Who it seems to come from.
        source: Source,
        /// The server's address and port.
        destination: SocketAddr,
    },
    /// As it came, but for its MAC addresses.
    Forwarded {
        /// The interface by which the packet leaves; `None`: the one by which it came.
        interface: Option<&'m str>,
        /// The server.
        server: &'m RealServer,
    },
}

/// Who a translated packet seems to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The client's own address and port.
    Client(SocketAddr),
    /// This address, and a port that is free.
    Fixed(IpAddr),
    /// The balancer's own address.
    Balancer {
        /// Only because the client is a real server itself, which would be answered directly.
        hairpin: bool,
    },
}

impl<'m> Explanation<'m> {
    /// What becomes of a new flow.
    pub fn of(model: &'m Model, plan: &Plan<'m>, question: Question) -> Self {
        let mut matching: Vec<(&Service, &Vip)> = all_vips(model)
            .filter(|(_, vip)| {
                vip.address == question.to.ip()
                    && vip.protocol == question.protocol
                    && holds(vip.ports, question.to.port())
            })
            .collect();
        // Nothing is twice in one rank: check sees to it.
        matching.sort_by_key(|(_, vip)| rank(vip.ports));
        let mut matching = matching.into_iter();
        let Some((service, vip)) = matching.next() else {
            let near = all_vips(model).filter(|(_, vip)| vip.address == question.to.ip());
            return Self::Nobody {
                near: near.collect(),
            };
        };
        // All that a service says: what is not used here stands in the answer as it is, or has its words in `words`.
        let Service {
            name: _,
            span: _,
            // Looked up above.
            vips: _,
            // `leaves`
            mode: _,
            // `schedule` made the block's choice of both.
            scheduler: _,
            members: _,
            // `words::memory`
            persistence: _,
            track: _,
            on_empty,
            // `admission`
            access: _,
        } = service;
        let family = Family::of(question.to.ip());
        let place = plan
            .services
            .iter()
            .find(|plan| std::ptr::eq(plan.service, service))
            .and_then(|plan| block_of(plan, family));
        let block = place.and_then(|place| plan.blocks.get(place));
        let access = admission(service, question.from.ip());
        let choice = match block {
            _ if !access.admits() => Chosen::Refused(*on_empty, Unserved::Client),
            Some(block) => chosen(block, *on_empty, question),
            None => Chosen::Refused(*on_empty, Unserved::NoServer),
        };
        let server = match &choice {
            Chosen::Only(server) => Some(*server),
            Chosen::Hashed(hashed) => Some(hashed.server),
            Chosen::Refused(..) | Chosen::Drawn { .. } => None,
        };
        Self::Found(Box::new(Found {
            service,
            vip,
            beaten: matching.collect(),
            access,
            passed_over: block.map(passed_over).unwrap_or_default(),
            leaves: server.map(|server| leaves(model, service, server, question)),
            choice,
        }))
    }

    /// The one server that the flow gets, where that is known.
    pub fn server(&self) -> Option<&'m RealServer> {
        match self {
            Self::Nobody { .. } => None,
            Self::Found(found) => match &found.choice {
                Chosen::Only(server) => Some(*server),
                Chosen::Hashed(hashed) => Some(hashed.server),
                Chosen::Refused(..) | Chosen::Drawn { .. } => None,
            },
        }
    }

    /// Whether any server takes the flow.
    pub fn is_answered(&self) -> bool {
        match self {
            Self::Nobody { .. } => false,
            Self::Found(found) => !matches!(found.choice, Chosen::Refused(..)),
        }
    }
}

fn all_vips(model: &Model) -> impl Iterator<Item = (&Service, &Vip)> {
    let services = model.services.iter();
    services.flat_map(|service| service.vips.iter().map(move |vip| (service, vip)))
}

fn holds(ports: Ports, port: u16) -> bool {
    match ports {
        Ports::One(one) => one == port,
        Ports::Range(first, last) => (first..=last).contains(&port),
        Ports::Any => true,
    }
}

/// The order in which the maps are looked up: the VIP of the lowest rank wins.
fn rank(ports: Ports) -> u8 {
    match ports {
        Ports::One(_) => 0,
        Ports::Range(..) => 1,
        Ports::Any => 2,
    }
}

fn block_of(plan: &ServicePlan<'_>, family: Family) -> Option<usize> {
    let families = plan.families.iter();
    families
        .filter(|(of, _)| *of == family)
        .find_map(|(_, place)| *place)
}

fn admission(service: &Service, client: IpAddr) -> Admission<'_> {
    let access = &service.access;
    let inside = |entries: &'_ [AccessEntry]| {
        entries
            .iter()
            .position(|entry| entry.prefix.contains(client))
    };
    if access.is_open() {
        return Admission::Open;
    }
    if let Some(entry) = inside(&access.deny).and_then(|at| access.deny.get(at)) {
        return Admission::Denied(entry);
    }
    match inside(&access.allow).and_then(|at| access.allow.get(at)) {
        Some(entry) => Admission::Allowed(entry),
        None if access.allow.is_empty() => Admission::NotDenied,
        None => Admission::Outside,
    }
}

fn chosen<'m>(block: &Block<'m>, on_empty: OnEmpty, question: Question) -> Chosen<'m> {
    let server = |at: usize| block.servers.get(at).copied();
    let refused = Chosen::Refused(on_empty, Unserved::NoServer);
    match &block.choice {
        Choice::Empty => refused,
        Choice::Only(at) => server(*at).map_or(refused, Chosen::Only),
        Choice::Slots {
            draw: Draw::Hashed(key),
            owners,
        } => {
            let (client, port) = (question.from.ip(), question.from.port());
            let found = predict(block, client, port)
                .and_then(|prediction| Some((prediction, server(prediction.server)?)));
            found.map_or(refused, |(prediction, server)| {
                Chosen::Hashed(Hashed {
                    key: *key,
                    bytes: key_bytes(*key, client, port),
                    seed: SEED,
                    hash: prediction.hash,
                    slots: owners.len(),
                    slot: prediction.slot,
                    server,
                })
            })
        }
        Choice::Slots {
            draw: draw @ (Draw::InTurn | Draw::AtRandom),
            owners,
        } => {
            let mut counts = vec![0; block.servers.len()];
            for owner in owners {
                if let Some(count) = counts.get_mut(*owner as usize) {
                    *count += 1;
                }
            }
            let shares = block.servers.iter().copied().zip(counts);
            Chosen::Drawn {
                in_turn: *draw == Draw::InTurn,
                shares: shares.filter(|(_, slots)| *slots > 0).collect(),
                slots: owners.len(),
            }
        }
    }
}

fn passed_over<'m>(block: &Block<'m>) -> Vec<(&'m RealServer, PassedOver)> {
    let owns = |at: usize| match &block.choice {
        Choice::Empty => false,
        Choice::Only(only) => *only == at,
        Choice::Slots { owners, .. } => u32::try_from(at).is_ok_and(|at| owners.contains(&at)),
    };
    let servers = block.servers.iter().enumerate();
    servers
        .filter(|(at, _)| !owns(*at))
        .map(|(_, server)| {
            let why = match server.state {
                State::Drain => PassedOver::Drain,
                State::Down => PassedOver::Down,
                State::Backup => PassedOver::Backup,
                State::Up => PassedOver::TooLight,
            };
            (*server, why)
        })
        .collect()
}

fn leaves<'m>(
    model: &'m Model,
    service: &'m Service,
    server: &'m RealServer,
    question: Question,
) -> Leaves<'m> {
    if let Some(mode) = service.mode.direct() {
        return Leaves::Forwarded {
            interface: mode.interface_to(server).map(|interface| &**interface),
            server,
        };
    }
    let client = question.from;
    let unchanged = || {
        if is_nat_server(model, client.ip()) {
            Source::Balancer { hairpin: true }
        } else {
            Source::Client(client)
        }
    };
    let source = match service.mode.source_nat() {
        Some(SourceNat::Masquerade) => Source::Balancer { hairpin: false },
        None | Some(SourceNat::Keep) => unchanged(),
        Some(source @ SourceNat::Fixed { .. }) => source
            .fixed(Family::of(client.ip()))
            .map_or_else(unchanged, Source::Fixed),
    };
    let port = server.port.unwrap_or(question.to.port());
    Leaves::Translated {
        source,
        destination: SocketAddr::new(server.address, port),
    }
}

/// Whether a client is itself a real server in nat: then its answer would not pass the balancer.
fn is_nat_server(model: &Model, client: IpAddr) -> bool {
    let services = model.services.iter();
    services
        .filter(|service| service.mode.translates())
        .flat_map(|service| model.real_servers(service))
        .any(|server| server.address == client)
}

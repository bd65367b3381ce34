//! Weights to slots: who owns which, and how a service draws one. Pure arithmetic.

use std::collections::HashMap;
use std::time::Duration;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::model::{
    Family, HashKey, Member, Mode, Model, PoolId, RealServer, Scheduler, Service, State,
};

pub mod growing;
pub mod interleave;
pub mod jhash;
pub mod maglev;
pub mod moved;
pub mod predict;
pub mod proportion;

use growing::Shareholder;
use maglev::ServerIdentity;
use proportion::Shares;

/// The slots of a whole model.
#[derive(Debug)]
pub struct Plan<'m> {
    /// Every block, in the order of the services' names.
    pub blocks: Vec<Block<'m>>,
    /// Every service, in the order of their names.
    pub services: Vec<ServicePlan<'m>>,
}

/// One service and its blocks.
#[derive(Debug)]
pub struct ServicePlan<'m> {
    /// The service.
    pub service: &'m Service,
    /// For each family of its VIPs, IPv4 first: the block that serves it, by its place in
    /// [`Plan::blocks`]; `None` where no server of that family is declared.
    pub families: Vec<(Family, Option<usize>)>,
}

/// Real servers of one family that are scheduled together: those of one service, or of pools that several
/// services use in the same way.
#[derive(Debug)]
pub struct Block<'m> {
    /// The family of all its servers.
    pub family: Family,
    /// How packets reach the servers.
    pub mode: &'m Mode,
    /// All declared servers, whatever their state, in the order written.
    pub servers: Vec<&'m RealServer>,
    /// The first service that uses it.
    pub service: &'m Service,
    /// The pools that it is made of, where it is made of pools alone; it may then be shared.
    pub pools: Vec<PoolId>,
    /// How a new client gets its server.
    pub choice: Choice,
}

/// How a new client gets its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Not at all: none takes clients.
    Empty,
    /// There is one server and no other: no slots. By its place in [`Block::servers`].
    Only(usize),
    /// A slot is drawn.
    Slots {
        /// How the slot is drawn.
        draw: Draw,
        /// The owner of each slot, by its place in [`Block::servers`].
        owners: Vec<u32>,
    },
}

impl Choice {
    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        match self {
            Self::Empty | Self::Only(_) => 0,
            Self::Slots { owners, .. } => u32::try_from(owners.len()).unwrap_or(u32::MAX),
        }
    }
}

/// How a slot is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Draw {
    /// The next slot, after that of the client before.
    InTurn,
    /// Any slot, at random.
    AtRandom,
    /// By a hash of the client.
    Hashed(HashKey),
}

impl Draw {
    /// What of a client is hashed; `None` where nothing is, so that no client is bound to a slot.
    pub const fn client_key(self) -> Option<HashKey> {
        match self {
            Self::InTurn | Self::AtRandom => None,
            Self::Hashed(key) => Some(key),
        }
    }
}

/// What makes two services share a block.
#[derive(PartialEq, Eq, Hash)]
struct SharedKey<'m> {
    pools: Vec<PoolId>,
    family: Family,
    scheduler: Scheduler,
    mode: &'m Mode,
    /// Whether and how long flows are remembered: what remembers them is found by the server.
    track: Option<Duration>,
}

impl<'m> SharedKey<'m> {
    /// What a service shares its block of a family by; `None` where it has the block for itself.
    ///
    /// A service is taken apart whole: what is forgotten here would give two services the rules of one.
    fn of(service: &'m Service, family: Family) -> Option<Self> {
        let Service {
            name: _,
            span: _,
            vips: _,
            mode,
            scheduler,
            persistence,
            track,
            // Who may come, and what clients get of nobody, stands in each service's own chain.
            on_empty: _,
            access: _,
            members,
        } = service;
        // Clients are remembered for one service: it shares its servers' numbers with no other.
        if persistence.is_some() {
            return None;
        }
        let pools = only_pools(members);
        (!pools.is_empty()).then_some(Self {
            pools,
            family,
            scheduler: *scheduler,
            mode,
            track: track.map(|track| track.timeout),
        })
    }
}

/// Plans every service of a model. Reports [`Code::RoundedWeights`].
pub fn schedule<'m>(model: &'m Model, sink: &mut Diagnostics) -> Plan<'m> {
    let mut by_name: Vec<&Service> = model.services.iter().collect();
    by_name.sort_by(|a, b| a.name.cmp(&b.name));
    let mut shared: HashMap<SharedKey<'m>, usize> = HashMap::new();
    let mut blocks = Vec::new();
    let mut services = Vec::with_capacity(by_name.len());
    for service in by_name {
        let mut families = Vec::new();
        for family in service.families() {
            let key = SharedKey::of(service, family);
            let known = key.as_ref().and_then(|key| shared.get(key).copied());
            let place = known.or_else(|| {
                let pools = only_pools(&service.members);
                let block = block(model, service, family, pools, sink)?;
                if let Some(key) = key {
                    shared.insert(key, blocks.len());
                }
                blocks.push(block);
                Some(blocks.len() - 1)
            });
            families.push((family, place));
        }
        services.push(ServicePlan { service, families });
    }
    Plan { blocks, services }
}

/// The pools of a service that has no server of its own; empty for one that does.
fn only_pools(members: &[Member]) -> Vec<PoolId> {
    members
        .iter()
        .map(|member| match member {
            Member::Pool(id) => Some(*id),
            Member::Server(_) => None,
        })
        .collect::<Option<_>>()
        .unwrap_or_default()
}

fn block<'m>(
    model: &'m Model,
    service: &'m Service,
    family: Family,
    pools: Vec<PoolId>,
    sink: &mut Diagnostics,
) -> Option<Block<'m>> {
    let servers: Vec<&RealServer> = model
        .real_servers(service)
        .filter(|server| Family::of(server.address) == family)
        .collect();
    if servers.is_empty() {
        return None;
    }
    let choice = choose(service, &servers, sink);
    Some(Block {
        family,
        mode: &service.mode,
        servers,
        service,
        pools,
        choice,
    })
}

/// The servers that take new clients: those that are up, or else the backups, by their places.
fn live(servers: &[&RealServer]) -> Vec<usize> {
    let in_state = |state| -> Vec<usize> {
        let places = servers
            .iter()
            .enumerate()
            .filter(|(_, s)| s.state == state && s.weight > 0);
        places.map(|(at, _)| at).collect()
    };
    let up = in_state(State::Up);
    if up.is_empty() {
        in_state(State::Backup)
    } else {
        up
    }
}

/// Puts places in the order that every balancer shares: by address and port, whatever the file's order.
fn sort(places: &mut [usize], servers: &[&RealServer]) {
    let order = |place: &usize| {
        let server = servers.get(*place)?;
        Some((server.address, server.port, &*server.name))
    };
    places.sort_by(|a, b| order(a).cmp(&order(b)));
}

fn choose(service: &Service, servers: &[&RealServer], sink: &mut Diagnostics) -> Choice {
    let mut live = live(servers);
    if live.is_empty() {
        return Choice::Empty;
    }
    if servers.len() == 1 {
        return Choice::Only(0);
    }
    if !service.scheduler.keeps_file_order() {
        sort(&mut live, servers);
    }
    let at = |place: &usize| servers.get(*place).copied();
    let chosen: Vec<&RealServer> = live.iter().filter_map(at).collect();
    let weights: Vec<u16> = chosen.iter().map(|server| server.weight).collect();
    let mut shared_out = || {
        let shares = rounded(service, &chosen, &weights, sink);
        (shares.turns(declared_slots(servers)), shares.counts)
    };
    let (draw, local_owners) = match service.scheduler {
        Scheduler::RoundRobin => {
            let (turns, counts) = shared_out();
            let turn = interleave::interleave(&counts);
            (Draw::InTurn, turn.repeat(turns))
        }
        Scheduler::Random => {
            let (turns, counts) = shared_out();
            (Draw::AtRandom, runs(&counts, turns))
        }
        Scheduler::Hash(key) => {
            let (turns, counts) = shared_out();
            (Draw::Hashed(key), runs(&counts, turns))
        }
        Scheduler::Maglev {
            key,
            table: Some(size),
        } => {
            let identities = chosen.iter().map(|server| ServerIdentity::of(server));
            let weighted: Vec<(ServerIdentity, u16)> = identities.zip(weights).collect();
            (Draw::Hashed(key), maglev::populate(&weighted, size))
        }
        Scheduler::Maglev { key, table: None } => {
            // All that are live are in the same state.
            let serving = chosen.first().map_or(State::Up, |server| server.state);
            if serving == State::Up {
                live = shareholders(servers);
            }
            let shareholder = |server: &RealServer| Shareholder {
                identity: ServerIdentity::of(server),
                weight: server.weight,
                live: server.state == serving,
            };
            let all = live.iter().filter_map(at).map(shareholder);
            let size = table_size(None, servers.len());
            (
                Draw::Hashed(key),
                growing::fill(&all.collect::<Vec<_>>(), size),
            )
        }
    };
    let owners = local_owners
        .into_iter()
        .filter_map(|local| live.get(local as usize))
        .map(|place| u32::try_from(*place).unwrap_or(u32::MAX))
        .collect();
    Choice::Slots { draw, owners }
}

/// How many slots the servers have that the file gives a share of clients, whatever became of them since. It is the number
/// of slots of the whole block wherever shares come out exactly with it: then a change of state changes owners of slots, and
/// no rule. It follows from the file alone, so that it is the same on every balancer, whatever happened in which order.
fn declared_slots(servers: &[&RealServer]) -> u32 {
    let with_share = servers.iter().filter(|server| !server.reserve);
    let weights = with_share.map(|server| server.file_weight);
    let weights: Vec<u16> = weights.filter(|weight| *weight > 0).collect();
    proportion::slots(&weights)
}

/// The servers that have a share in a table that grows while any is up, in the order that every balancer shares: also those
/// that are drained or down now. So a change of state moves its server's clients alone.
fn shareholders(servers: &[&RealServer]) -> Vec<usize> {
    let has_share =
        |server: &RealServer| server.weight > 0 && (server.state == State::Up || !server.reserve);
    let mut places: Vec<usize> = servers
        .iter()
        .enumerate()
        .filter(|(_, server)| has_share(server))
        .map(|(place, _)| place)
        .collect();
    sort(&mut places, servers);
    places
}

/// How many slots the Maglev table of so many declared servers has, if the file gives no number.
fn table_size(given: Option<u32>, servers: usize) -> u32 {
    given.unwrap_or_else(|| growing::size(servers))
}

/// The Maglev table of a service for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaglevTable {
    /// A table of so many slots.
    Slots(u32),
    /// A single server needs none.
    OneServer,
    /// No table: no server takes clients.
    Nobody,
}

/// The Maglev table of a service for this family; `None` where another scheduler chooses, or no server of it is declared.
///
/// The size alone: the table is not made.
pub fn maglev_table(model: &Model, service: &Service, family: Family) -> Option<MaglevTable> {
    let Scheduler::Maglev { table, .. } = service.scheduler else {
        return None;
    };
    let servers: Vec<&RealServer> = model
        .real_servers(service)
        .filter(|server| Family::of(server.address) == family)
        .collect();
    Some(match servers.len() {
        0 => return None,
        _ if live(&servers).is_empty() => MaglevTable::Nobody,
        1 => MaglevTable::OneServer,
        many => MaglevTable::Slots(table_size(table, many)),
    })
}

/// The block of a service that shares it with no other, for one family, without warnings.
pub fn alone<'m>(model: &'m Model, service: &'m Service, family: Family) -> Option<Block<'m>> {
    let unheard = &mut Diagnostics::new();
    block(model, service, family, Vec::new(), unheard)
}

/// Each server's slots one after the other, so many times its count: a drawn or hashed slot needs no interleaving.
fn runs(counts: &[u32], turns: usize) -> Vec<u32> {
    let times = |count: u32| count as usize * turns;
    (0..)
        .zip(counts)
        .flat_map(|(at, count)| std::iter::repeat_n(at, times(*count)))
        .collect()
}

fn rounded(
    service: &Service,
    chosen: &[&RealServer],
    weights: &[u16],
    sink: &mut Diagnostics,
) -> Shares {
    let shares = proportion::shares(weights);
    if let Some(worst) = shares.worst
        && let Some(server) = chosen.get(worst.at)
    {
        let slots: u32 = shares.counts.iter().sum();
        let effect = if worst.error <= -1.0 {
            format!("`{}` gets no new clients at all", server.name)
        } else {
            let percent = worst.error.abs() * 100.0;
            let how_far = if percent < 0.1 {
                "less than 0.1".to_owned()
            } else {
                format!("{percent:.1}")
            };
            format!(
                "the share of `{}` is {how_far}% too {}",
                server.name,
                if worst.error > 0.0 { "large" } else { "small" },
            )
        };
        sink.report(
            Diagnostic::new(
                Code::RoundedWeights,
                service.span,
                format!(
                    "the weights of service `{}` are rounded to {slots} slots: {effect}",
                    service.name
                ),
            )
            .related(server.span, format!("weight {}", server.weight))
            .help(format!(
                "weights are exact while they add up to at most {}, divided by their greatest common divisor; use smaller weights",
                proportion::MAX_SLOTS
            )),
        );
    }
    shares
}

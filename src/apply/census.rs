//! Who has which number: before an apply, or after it.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::diff::Observed;
use crate::lower::identity;
use crate::lower::layout::Layout;
use crate::lower::number::{BlockNumbers, Numbering};
use crate::lower::region::Region;
use crate::model::{Family, ModeKind, Model, State, Vip};
use crate::ruleset::name;
use crate::schedule::{Block, Plan};

use crate::view::View;

/// Real servers and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Which bits of marks the numbers are in.
    pub(super) layout: Layout,
    pub(super) blocks: Vec<Residents>,
    pub(super) services: Vec<Listed>,
}

/// The servers of a block.
#[derive(Debug)]
pub(super) struct Residents {
    pub(super) nat: bool,
    /// Where their numbers are from, if the service remembers its clients.
    pub(super) region: Option<Region>,
    pub(super) servers: Vec<Resident>,
    /// Places in `servers`, of those whose address is known.
    by_endpoint: FxHashMap<(IpAddr, Option<u16>), usize>,
}

/// A server with a number.
#[derive(Debug, Clone)]
pub(super) struct Resident {
    pub(super) number: u32,
    /// Tables do not have the address of a server in direct return that is reached by its MAC address.
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    /// `web1 of www`
    pub(super) identity: Arc<str>,
    pub(super) down: bool,
}

/// A service in one family, and the block that serves it.
#[derive(Debug)]
pub(super) struct Listed {
    /// The name of its chain.
    pub(super) chain: Arc<str>,
    pub(super) vips: Vec<Vip>,
    pub(super) block: Option<usize>,
}

impl Residents {
    fn new(nat: bool, region: Option<Region>, servers: Vec<Resident>) -> Self {
        let mut by_endpoint = FxHashMap::default();
        for (at, server) in servers.iter().enumerate() {
            if let Some(address) = server.address {
                by_endpoint.entry((address, server.port)).or_insert(at);
            }
        }
        Self {
            nat,
            region,
            servers,
            by_endpoint,
        }
    }

    fn of_block(model: &Model, block: &Block<'_>, numbers: &BlockNumbers) -> Self {
        let servers = block.servers.iter().zip(&numbers.servers);
        let residents = servers.map(|(server, number)| Resident {
            number: *number,
            address: Some(server.address),
            port: server.port,
            identity: identity(model, block, server).into(),
            down: server.state == State::Down,
        });
        let nat = block.mode.translates();
        Self::new(nat, numbers.region, residents.collect())
    }

    /// The server that this one is.
    pub(super) fn same(&self, was: &Resident) -> Option<&Resident> {
        let known = was.address.and_then(|address| {
            let place = self.by_endpoint.get(&(address, was.port))?;
            self.servers.get(*place)
        });
        known.or_else(|| self.servers.iter().find(|server| server.is(was)))
    }

    /// The server that answers from this address and port to clients of this port.
    pub(super) fn answering(
        &self,
        address: IpAddr,
        port: Option<u16>,
        vip_port: Option<u16>,
    ) -> Option<&Resident> {
        let at = |port: Option<u16>| self.by_endpoint.get(&(address, port));
        let own = port.and_then(|port| at(Some(port)));
        let place = own.or_else(|| (port == vip_port).then(|| at(None)).flatten());
        self.servers.get(*place?)
    }
}

impl Resident {
    /// Whether both are the same server: by address and port, or by name where an address is not known.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self.address, other.address) {
            (Some(one), Some(other_one)) => one == other_one && self.port == other.port,
            (None, _) | (_, None) => self.identity == other.identity,
        }
    }

    /// Whether it answers from this address and port to clients of this port.
    pub(super) fn answers(
        &self,
        address: IpAddr,
        port: Option<u16>,
        vip_port: Option<u16>,
    ) -> bool {
        self.address == Some(address) && self.port.or(vip_port) == port
    }
}

impl Census {
    /// That of a plan: the blocks and services that are wanted.
    pub(super) fn of_plan(
        (model, plan, numbers): (&Model, &Plan<'_>, &Numbering),
        wants_block: impl Fn(usize) -> bool,
        wants_service: impl Fn(&Arc<str>) -> bool,
    ) -> Self {
        let mut census = Self {
            layout: numbers.layout,
            ..Self::default()
        };
        let mut places: Vec<Option<usize>> = vec![None; plan.blocks.len()];
        let blocks = plan.blocks.iter().zip(&numbers.blocks).zip(&mut places);
        for (at, ((block, numbers), place)) in blocks.enumerate() {
            if wants_block(at) {
                *place = Some(census.blocks.len());
                let residents = Residents::of_block(model, block, numbers);
                census.blocks.push(residents);
            }
        }
        for service in &plan.services {
            if !wants_service(&service.service.name) {
                continue;
            }
            for (family, place) in &service.families {
                let vips = service.service.vips.iter();
                census.services.push(Listed {
                    chain: name::service_chain(&service.service.name, *family),
                    vips: vips
                        .filter(|vip| vip.family() == *family)
                        .copied()
                        .collect(),
                    block: place.and_then(|place| places.get(place).copied().flatten()),
                });
            }
        }
        census
    }

    /// That of a whole plan.
    pub(super) fn of_all(of: (&Model, &Plan<'_>, &Numbering)) -> Self {
        Self::of_plan(of, |_| true, |_| true)
    }

    /// That of tables that were read.
    pub(super) fn of_tables(observed: &Observed) -> Self {
        let view = View::of(observed);
        let mut census = Self {
            layout: view.layout,
            ..Self::default()
        };
        let drawn = view.chains.values().flat_map(|drawn| &drawn.servers);
        let drawn_somewhere: FxHashSet<u32> = drawn.copied().collect();
        for (service, seen) in &view.services {
            for family in Family::BOTH {
                let chain = name::service_chain(service, family);
                let Some(drawn) = view.chains.get(&chain) else {
                    continue;
                };
                let of_family = seen.servers.iter().filter(|server| {
                    server
                        .address
                        .is_none_or(|address| Family::of(address) == family)
                });
                // A pool that is used in two ways has each server twice.
                let servers = of_family.filter(|server| {
                    let elsewhere = drawn_somewhere.contains(&server.number);
                    !elsewhere || drawn.servers.contains(&server.number)
                });
                let residents = servers.map(|server| Resident {
                    number: server.number,
                    address: server.address,
                    port: server.port,
                    identity: server.identity.as_str().into(),
                    down: server.state == State::Down,
                });
                let nat = seen.mode == ModeKind::Nat;
                let residents = Residents::new(nat, drawn.region, residents.collect());
                let vips = seen.addressed.iter();
                census.services.push(Listed {
                    chain,
                    vips: vips.filter(|vip| vip.family() == family).copied().collect(),
                    block: Some(census.blocks.len()),
                });
                census.blocks.push(residents);
            }
        }
        // What no service leads to is somebody's all the same: of a service whose chain cannot be read.
        for nat in [true, false] {
            let seen = census.blocks.iter().flat_map(|block| &block.servers);
            let seen: FxHashSet<u32> = seen.map(|server| server.number).collect();
            let rest = view.servers().filter(|server| server.nat == nat);
            let rest = rest.filter(|server| !seen.contains(&server.number));
            let rest = rest.map(|server| Resident {
                number: server.number,
                address: server.address,
                port: server.port,
                identity: server.identity.as_str().into(),
                down: server.state == State::Down,
            });
            let rest: Vec<Resident> = rest.collect();
            if !rest.is_empty() {
                census.blocks.push(Residents::new(nat, None, rest));
            }
        }
        census
    }

    /// All numbers in it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let servers = self.blocks.iter().flat_map(|block| &block.servers);
        servers.map(|server| server.number)
    }
}

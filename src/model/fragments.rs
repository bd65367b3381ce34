//! Whom the later fragments of a packet belong to. They have no ports: of a service they have the VIP and the protocol.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{
    DirectReturn, Family, HashKey, Interface, Model, Protocol, Scheduler, Service, State, Vip,
};

/// Where later fragments go that arrive on one interface for one VIP by one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragments {
    /// To this service, by its place among the services: it finds the same server without ports.
    Follow(usize),
    /// To nobody: the service needs ports, or there are several. The first one, by its place.
    Lost {
        /// The first service.
        first: usize,
        /// Whether there are others.
        several: bool,
    },
}

impl Model {
    /// Where later fragments go in direct return, by interface, VIP and protocol.
    pub fn fragments(&self) -> BTreeMap<&Interface, BTreeMap<(IpAddr, Protocol), Fragments>> {
        let mut all: BTreeMap<&Interface, BTreeMap<_, Fragments>> = BTreeMap::new();
        for (place, service) in self.services.iter().enumerate() {
            let Some(DirectReturn { on, .. }) = service.mode.direct() else {
                continue;
            };
            for interface in on {
                let known = all.entry(interface).or_default();
                for vip in &service.vips {
                    let of_one = if self.finds_without_ports(service, vip) {
                        Fragments::Follow(place)
                    } else {
                        Fragments::Lost {
                            first: place,
                            several: false,
                        }
                    };
                    known
                        .entry((vip.address, vip.protocol))
                        .and_modify(|before| *before = before.beside(place))
                        .or_insert(of_one);
                }
            }
        }
        // Those of nat find their way in connection tracking, which puts them together.
        for (place, service) in self.services.iter().enumerate() {
            if service.mode.direct().is_some() {
                continue;
            }
            for vip in &service.vips {
                for known in all.values_mut() {
                    if let Some(fragments) = known.get_mut(&(vip.address, vip.protocol)) {
                        *fragments = fragments.beside(place);
                    }
                }
            }
        }
        all
    }

    /// Whether the client's address alone leads to the server.
    fn finds_without_ports(&self, service: &Service, vip: &Vip) -> bool {
        if service.track.is_some() {
            return false;
        }
        let family = vip.family();
        let of_family = |server: &&super::RealServer| {
            Family::of(server.address) == family && server.state != State::Down
        };
        service.persistence.is_some()
            || matches!(
                service.scheduler,
                Scheduler::Hash(HashKey::Source)
                    | Scheduler::Maglev {
                        key: HashKey::Source,
                        ..
                    }
            )
            || self.real_servers(service).filter(of_family).count() <= 1
    }
}

impl Fragments {
    /// The same where the service at `place` has the VIP too.
    fn beside(self, place: usize) -> Self {
        let first = match self {
            Self::Follow(first) | Self::Lost { first, .. } => first,
        };
        // One service may have several ports.
        if first == place {
            return self;
        }
        Self::Lost {
            first,
            several: true,
        }
    }
}

//! What the machine of a real server needs, so that what the balancer sends is taken and answered.
//!
//! In direct return the machine takes packets for the VIP, and nobody on its network may learn that it does. In nat
//! its answers have to come back through the balancer. The first is told by the file alone; the balancer's address in
//! the servers' network is not in the file.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::diagnostic::nearest;
use crate::model::{Family, Model, RealServer, Service, SourceNat, Vip};

mod back;
mod networkd;
mod nft;
mod sh;

pub use networkd::networkd;
pub use nft::nft;
pub use sh::sh;

/// What one machine needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The server's names in the file, as asked for.
    pub names: Vec<Arc<str>>,
    /// Its own addresses, each once.
    pub addresses: BTreeSet<IpAddr>,
    /// The services that it is in, in the order written.
    pub services: Vec<Part>,
    /// What it takes by direct return.
    pub taken: Vec<Taken>,
    /// By which addresses its answers go back, for each family in which they must pass the balancer.
    pub gateways: Vec<IpAddr>,
    /// What to call what is made on the machine: the table, files, units.
    pub label: Box<str>,
}

/// A service that the machine is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub service: Arc<str>,
    /// What it asks of the machine.
    pub asks: Asks,
}

/// What a service asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// To take packets for its VIPs, and hide it.
    Hidden,
    /// To answer through the balancer.
    RouteBack,
    /// Nothing: the balancer is who connects.
    Nothing,
}

/// What the machine takes by direct return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// What clients connect to.
    pub vip: Vip,
    /// The machine's own address of the same family.
    pub own: IpAddr,
}

/// Why it cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The file has no such service.
    Service {
        /// What was asked for.
        name: String,
        /// The nearest that there is.
        nearest: Option<Arc<str>>,
    },
    /// No service, or not this one, has such a server.
    Server {
        /// What was asked for.
        name: String,
        /// The service, if one was named.
        service: Option<Arc<str>>,
        /// The nearest that there is.
        nearest: Option<Arc<str>>,
    },
    /// The name means different machines in different services.
    Ambiguous {
        /// The name.
        name: Arc<str>,
        /// Services, and the address that it has there.
        meanings: Vec<(Arc<str>, IpAddr)>,
    },
    /// Answers have to come back through the balancer, and nobody said where it is.
    NoGateway {
        /// The family of the address that is missing.
        family: Family,
        /// A service that needs it.
        service: Arc<str>,
    },
    /// An address for a family that needs none.
    IdleGateway(IpAddr),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name, nearest } => {
                write!(f, "the file has no service `{name}`")?;
                hint(f, nearest.as_deref())
            }
            Self::Server {
                name,
                service,
                nearest,
            } => {
                match service {
                    Some(service) => write!(f, "service `{service}` has no server `{name}`"),
                    None => write!(f, "no service has a server `{name}`"),
                }?;
                hint(f, nearest.as_deref())
            }
            Self::Ambiguous { name, meanings } => {
                write!(f, "`{name}` is not the same server everywhere: ")?;
                for (at, (service, address)) in meanings.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{address} in `{service}`")?;
                }
                f.write_str("; choose one with `--service`")
            }
            Self::NoGateway { family, service } => write!(
                f,
                "in service `{service}` the server's {family} answers must come back through the balancer, and the file does not tell where that is; give the balancer's {family} address in the servers' network with `--gateway`"
            ),
            Self::IdleGateway(address) => write!(
                f,
                "no {} answer of this server has to come back through the balancer: leave out `--gateway {address}`",
                Family::of(*address)
            ),
        }
    }
}

fn hint(f: &mut fmt::Formatter<'_>, nearest: Option<&str>) -> fmt::Result {
    match nearest {
        Some(name) => write!(f, "; did you mean `{name}`?"),
        None => Ok(()),
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct SetupQuestion<'a> {
    /// The names that the machine has as a server: more than one where it is reached by both families.
    pub servers: &'a [String],
    /// Only this service.
    pub service: Option<&'a str>,
    /// The balancer's addresses in the servers' network, at most one for each family.
    pub gateways: &'a [IpAddr],
    /// What to call what is made on the machine.
    pub label: &'a str,
}

impl Needs {
    /// What the machine that has these names needs.
    ///
    /// # Errors
    ///
    /// See [`Unknown`].
    pub fn of(model: &Model, question: SetupQuestion<'_>) -> Result<Self, Unknown> {
        let services = services(model, question.service)?;
        let mut needs = Self {
            names: Vec::new(),
            addresses: BTreeSet::new(),
            services: Vec::new(),
            taken: Vec::new(),
            gateways: Vec::new(),
            label: question.label.into(),
        };
        for name in question.servers {
            let found = same_everywhere(model, &services, name, question.service.is_some())?;
            needs.names.push(found.name.clone());
            needs.addresses.insert(found.address);
        }
        let mut back: Vec<(Family, Arc<str>)> = Vec::new();
        for service in services {
            let here = model.real_servers(service);
            let here: Vec<_> = here.filter(|s| needs.names.contains(&s.name)).collect();
            if here.is_empty() {
                continue;
            }
            let asks = match service.mode.source_nat() {
                None => Asks::Hidden,
                Some(SourceNat::Keep) => Asks::RouteBack,
                Some(SourceNat::Masquerade | SourceNat::Fixed { .. }) => Asks::Nothing,
            };
            needs.services.push(Part {
                service: service.name.clone(),
                asks,
            });
            for server in here {
                let family = Family::of(server.address);
                let vips = service.vips.iter();
                let mut vips = vips.filter(|vip| vip.family() == family);
                match asks {
                    Asks::Hidden => needs.taken.extend(vips.map(|vip| Taken {
                        vip: *vip,
                        own: server.address,
                    })),
                    Asks::RouteBack if vips.next().is_some() => {
                        back.push((family, service.name.clone()));
                    }
                    Asks::RouteBack | Asks::Nothing => {}
                }
            }
        }
        needs.gateways = gateways(&back, question.gateways)?;
        Ok(needs)
    }

    /// The addresses that the machine holds without being known for them, each once, with its own of that family.
    pub fn hidden(&self) -> Vec<(IpAddr, IpAddr)> {
        let mut hidden: Vec<(IpAddr, IpAddr)> = Vec::new();
        for taken in &self.taken {
            if !hidden.iter().any(|(vip, _)| *vip == taken.vip.address) {
                hidden.push((taken.vip.address, taken.own));
            }
        }
        hidden
    }

    /// Whether there is nothing to do on the machine.
    pub fn is_nothing(&self) -> bool {
        self.taken.is_empty() && self.gateways.is_empty()
    }

    /// What stands at the top of every output, a line each, without comment signs.
    fn preface(&self) -> Vec<String> {
        let list = |words: Vec<String>| words.join(", ");
        let mut lines = vec![format!(
            "What {} ({}) needs as a real server.",
            list(self.names.iter().map(ToString::to_string).collect()),
            list(self.addresses.iter().map(ToString::to_string).collect()),
        )];
        for Part { service, asks } in &self.services {
            lines.push(match asks {
                Asks::Hidden => format!(
                    "Service {service} is direct return: it takes packets for the VIP, and nobody on its network may learn that it does."
                ),
                Asks::RouteBack => {
                    format!("Service {service} is nat: answers go back through the balancer.")
                }
                Asks::Nothing => format!(
                    "Service {service} is nat with the balancer's own address as the source: nothing is needed."
                ),
            });
        }
        lines
    }
}

fn services<'m>(model: &'m Model, only: Option<&str>) -> Result<Vec<&'m Service>, Unknown> {
    let Some(name) = only else {
        return Ok(model.services.iter().collect());
    };
    let found = model.services.iter().find(|s| *s.name == *name);
    found.map(|service| vec![service]).ok_or_else(|| {
        let names = model.services.iter().map(|s| &s.name);
        Unknown::Service {
            name: name.to_owned(),
            nearest: meant(name, names),
        }
    })
}

/// The server of this name, which must be one machine in all of these services.
fn same_everywhere<'m>(
    model: &'m Model,
    services: &[&'m Service],
    name: &str,
    one_service: bool,
) -> Result<&'m RealServer, Unknown> {
    let all = || {
        services
            .iter()
            .flat_map(|service| model.real_servers(service).map(|s| (&service.name, s)))
    };
    let mut meanings: Vec<(Arc<str>, &RealServer)> = Vec::new();
    for (service, server) in all().filter(|(_, server)| *server.name == *name) {
        if !meanings
            .iter()
            .any(|(_, known)| known.address == server.address)
        {
            meanings.push((service.clone(), server));
        }
    }
    match &*meanings {
        [(_, server)] => Ok(server),
        [] => Err(Unknown::Server {
            name: name.to_owned(),
            service: one_service
                .then(|| services.first().map(|s| s.name.clone()))
                .flatten(),
            nearest: meant(name, all().map(|(_, server)| &server.name)),
        }),
        [(_, first), ..] => Err(Unknown::Ambiguous {
            name: first.name.clone(),
            meanings: meanings
                .iter()
                .map(|(service, server)| (service.clone(), server.address))
                .collect(),
        }),
    }
}

/// The gateway of each family that needs one.
fn gateways(back: &[(Family, Arc<str>)], given: &[IpAddr]) -> Result<Vec<IpAddr>, Unknown> {
    let mut gateways = Vec::new();
    for family in Family::BOTH {
        let of_family = given.iter().find(|a| Family::of(**a) == family);
        let needed = back.iter().find(|(needed, _)| *needed == family);
        match (needed, of_family) {
            (Some(_), Some(gateway)) => gateways.push(*gateway),
            (Some((_, service)), None) => {
                return Err(Unknown::NoGateway {
                    family,
                    service: service.clone(),
                });
            }
            (None, Some(gateway)) => return Err(Unknown::IdleGateway(*gateway)),
            (None, None) => {}
        }
    }
    Ok(gateways)
}

/// The name that was probably meant.
fn meant<'n>(name: &str, names: impl Iterator<Item = &'n Arc<str>>) -> Option<Arc<str>> {
    nearest(name, names.map(|known| &**known)).map(Arc::from)
}

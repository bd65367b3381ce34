//! Where real servers are declared, and who uses them.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{Family, Member, Model, PoolId, RealServer, Service};

/// Where a real server is declared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// In a pool: every service that uses the pool has it.
    Pool(Arc<str>),
    /// In a service.
    Service(Arc<str>),
}

/// Which real server of a file: names are unique where they are declared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerKey {
    /// Where it is declared.
    pub place: Place,
    /// Its name.
    pub server: Arc<str>,
}

/// Where places are among a model's pools and services, for whoever asks for them often.
#[derive(Debug, Clone, Default)]
pub struct PlaceIndex {
    pools: FxHashMap<Arc<str>, usize>,
    services: FxHashMap<Arc<str>, usize>,
}

impl PlaceIndex {
    /// That of a model.
    pub fn of(model: &Model) -> Self {
        let pools = model.pools.iter().map(|pool| pool.name.clone());
        let services = model.services.iter().map(|service| service.name.clone());
        Self {
            pools: pools.zip(0..).collect(),
            services: services.zip(0..).collect(),
        }
    }

    /// The service of this name, by its place.
    pub fn service(&self, name: &str) -> Option<usize> {
        self.services.get(name).copied()
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<PoolId> {
        self.pools.get(name).copied().map(PoolId)
    }

    /// The server of this name that is declared here in the model.
    pub fn server<'m>(&self, model: &'m Model, key: &ServerKey) -> Option<&'m RealServer> {
        match &key.place {
            Place::Pool(pool) => {
                let pool = model.pools.get(self.pool(pool)?.0)?;
                let mut servers = pool.real_servers.iter();
                servers.find(|server| server.name == key.server)
            }
            Place::Service(service) => {
                let service = model.services.get(self.service(service)?)?;
                service.own_servers().find(|one| one.name == key.server)
            }
        }
    }

    /// The same, to change.
    pub(super) fn server_mut<'m>(
        &self,
        model: &'m mut Model,
        key: &ServerKey,
    ) -> Option<&'m mut RealServer> {
        match &key.place {
            Place::Pool(pool) => {
                let pool = model.pools.get_mut(self.pool(pool)?.0)?;
                let mut servers = pool.real_servers.iter_mut();
                servers.find(|server| server.name == key.server)
            }
            Place::Service(service) => {
                let service = model.services.get_mut(self.service(service)?)?;
                let own = service
                    .members
                    .iter_mut()
                    .filter_map(|member| match member {
                        Member::Server(own) => Some(own),
                        Member::Pool(_) => None,
                    });
                let mut own = own;
                own.find(|server| server.name == key.server)
            }
        }
    }
}

impl fmt::Display for Place {
    /// `www`, `pool web`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(name) => write!(f, "pool {name}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ServerKey {
    /// `web1 of www`, `web1 of pool web`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.server, self.place)
    }
}

impl Service {
    /// Its own servers, without those of pools.
    pub fn own_servers(&self) -> impl Iterator<Item = &RealServer> {
        self.members.iter().filter_map(|member| match member {
            Member::Server(own) => Some(own),
            Member::Pool(_) => None,
        })
    }
}

impl Model {
    /// Where the server of this name that a service uses is declared.
    pub fn place_of(&self, service: &str, server: &str) -> Option<Place> {
        let service = self.services.iter().find(|s| *s.name == *service)?;
        self.place_in(service, server)
    }

    /// The same of a service of this model.
    pub fn place_in(&self, service: &Service, server: &str) -> Option<Place> {
        service.members.iter().find_map(|member| match member {
            Member::Server(own) => {
                (*own.name == *server).then(|| Place::Service(service.name.clone()))
            }
            Member::Pool(id) => {
                let pool = self.pool(*id);
                let mut servers = pool.real_servers.iter();
                servers
                    .any(|shared| *shared.name == *server)
                    .then(|| Place::Pool(pool.name.clone()))
            }
        })
    }

    /// The services that use the servers of this place.
    pub fn users<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a Service> {
        let uses = move |member: &Member| match (member, place) {
            (Member::Pool(id), Place::Pool(name)) => self.pool(*id).name == *name,
            _ => false,
        };
        self.services.iter().filter(move |service| match place {
            Place::Service(name) => service.name == *name,
            Place::Pool(_) => service.members.iter().any(uses),
        })
    }

    /// The server of this name that is declared here.
    pub fn server(&self, key: &ServerKey) -> Option<&RealServer> {
        let mut servers = self.declared_at(&key.place);
        servers.find(|one| one.name == key.server)
    }

    /// The servers that are declared here, in the order written.
    pub fn declared_at(&self, place: &Place) -> impl Iterator<Item = &RealServer> {
        let pool = match place {
            Place::Pool(name) => self.pools.iter().find(|pool| pool.name == *name),
            Place::Service(_) => None,
        };
        let service = match place {
            Place::Service(name) => self.services.iter().find(|one| one.name == *name),
            Place::Pool(_) => None,
        };
        let shared = pool.into_iter().flat_map(|pool| &pool.real_servers);
        let own = service.into_iter().flat_map(Service::own_servers);
        shared.chain(own)
    }

    /// The families of a service's VIPs for which no server takes new clients.
    pub fn empty_families(&self, service: &Service) -> Vec<Family> {
        let takes = |family: &Family| {
            let mut servers = self.real_servers(service);
            servers.any(|one| Family::of(one.address) == *family && one.state.takes_clients())
        };
        service.families().filter(|family| !takes(family)).collect()
    }
}

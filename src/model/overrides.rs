//! What an operator set on real servers in the kernel, beside what the file says.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Member, Model, RealServer, State};

/// Where a real server is declared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// In a pool: every service that uses the pool has it.
    Pool(Arc<str>),
    /// In a service.
    Service(Arc<str>),
}

/// How a real server stands: what `set` can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it takes clients.
    pub state: State,
    /// Its share.
    pub weight: u16,
}

/// What was set on one real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Where the server is declared.
    pub place: Place,
    /// Its name.
    pub server: Arc<str>,
    /// The state, if it was set.
    pub state: Option<State>,
    /// The weight, if it was set.
    pub weight: Option<u16>,
    /// What the file says.
    pub file: Standing,
}

impl Override {
    /// How the server stands with it.
    pub fn standing(&self) -> Standing {
        let weight = self.weight.unwrap_or(self.file.weight);
        // `weight 0` in a file is another way to write `drain`; a weight undoes it.
        let unweighted = self.file.weight == 0 && self.file.state == State::Drain;
        let state = match self.state {
            Some(state) => state,
            None if unweighted && weight > 0 => State::Up,
            None => self.file.state,
        };
        let takes_clients = matches!(state, State::Up | State::Backup);
        Standing {
            state: if weight == 0 && takes_clients {
                State::Drain
            } else {
                state
            },
            weight,
        }
    }

    /// The same beside another file; `None` where that says so itself.
    fn beside(mut self, file: Standing) -> Option<Self> {
        self.file = file;
        self.state = self.state.filter(|state| *state != file.state);
        self.weight = self.weight.filter(|weight| *weight != file.weight);
        (self.standing() != file).then_some(self)
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

impl fmt::Display for Standing {
    /// `weight 3`, `weight 1 drain`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weight {}", self.weight)?;
        match self.state {
            State::Up => Ok(()),
            state => write!(f, " {state}"),
        }
    }
}

impl RealServer {
    /// How it stands.
    pub const fn standing(&self) -> Standing {
        Standing {
            state: self.state,
            weight: self.weight,
        }
    }
}

impl Model {
    /// Where the server of this name that a service uses is declared.
    pub fn place_of(&self, service: &str, server: &str) -> Option<Place> {
        let service = self.services.iter().find(|s| *s.name == *service)?;
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
    pub fn users<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a str> {
        let uses = move |member: &Member| match (member, place) {
            (Member::Pool(id), Place::Pool(name)) => self.pool(*id).name == *name,
            _ => false,
        };
        let services = self.services.iter().filter(move |service| match place {
            Place::Service(name) => service.name == *name,
            Place::Pool(_) => service.members.iter().any(uses),
        });
        services.map(|service| &*service.name)
    }

    /// The server of this name that is declared here, to change.
    pub fn server_mut(&mut self, place: &Place, server: &str) -> Option<&mut RealServer> {
        match place {
            Place::Pool(pool) => {
                let pool = self.pools.iter_mut().find(|p| p.name == *pool)?;
                pool.real_servers.iter_mut().find(|s| *s.name == *server)
            }
            Place::Service(service) => {
                let service = self.services.iter_mut().find(|s| s.name == *service)?;
                service.members.iter_mut().find_map(|member| match member {
                    Member::Server(own) if *own.name == *server => Some(own),
                    _ => None,
                })
            }
        }
    }

    /// Makes what a file says into what holds with these; returns those that still make a difference.
    pub fn set(&mut self, overrides: Vec<Override>) -> Vec<Override> {
        let each = overrides.into_iter().filter_map(|one| {
            let server = self.server_mut(&one.place, &one.server)?;
            let one = one.beside(server.standing())?;
            let Standing { state, weight } = one.standing();
            server.state = state;
            server.weight = weight;
            Some(one)
        });
        each.collect()
    }

    /// Undoes [`Self::set`]: what the file says.
    pub fn unset(&mut self, overrides: &[Override]) {
        for one in overrides {
            if let Some(server) = self.server_mut(&one.place, &one.server) {
                server.state = one.file.state;
                server.weight = one.file.weight;
            }
        }
    }
}

//! What holds: what a file says, with the layers beside it, and without what cannot be here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::layers::{Cause, Layer, LayerChanges, Layers, Standing, Wish, standing};
use super::{Interface, Member, Model, Place, PlaceIndex, RealServer, ServerKey, Service};

/// The services that need interfaces which are not there, by name, and those interfaces.
pub type Lacking = BTreeMap<Arc<str>, Vec<Interface>>;

/// A server that something beside the file is said of, where it makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What the file says.
    pub file: Standing,
    /// What holds.
    pub now: Standing,
    /// Who says so.
    pub cause: Cause,
    /// What an operator wants.
    pub wish: Option<Wish>,
}

/// What holds: a model with its layers.
#[derive(Debug, Clone)]
pub struct Effective {
    declared: Model,
    /// What holds, where that is something else.
    layered: Option<Model>,
    layers: Layers,
    lacking: Lacking,
    marks: BTreeMap<ServerKey, Mark>,
}

impl Effective {
    /// What holds where a file says this, and these are beside it: see [`Layers::beside`]. The services that are `lacking` are
    /// left out as a whole: a service by halves would lose packets in silence.
    pub fn of(declared: Model, layers: Layers, lacking: Lacking) -> Self {
        let mut effective = Self {
            declared,
            layered: None,
            layers,
            lacking,
            marks: BTreeMap::new(),
        };
        if effective.layers.is_empty() && effective.lacking.is_empty() {
            return effective;
        }
        let mut model = effective.declared.clone();
        let places = effective.layers.places();
        for pool in &mut model.pools {
            let place = Place::Pool(pool.name.clone());
            if places.contains(&place) {
                let servers = pool.real_servers.iter_mut();
                settle(&effective.layers, &place, servers, &mut effective.marks);
            }
        }
        for service in &mut model.services {
            let place = Place::Service(service.name.clone());
            if places.contains(&place) {
                let servers = service
                    .members
                    .iter_mut()
                    .filter_map(|member| match member {
                        Member::Server(own) => Some(own),
                        Member::Pool(_) => None,
                    });
                settle(&effective.layers, &place, servers, &mut effective.marks);
            }
        }
        let lacking = &effective.lacking;
        model
            .services
            .retain(|service| !lacking.contains_key(&service.name));
        effective.layered = Some(model);
        effective
    }

    /// Makes changes to what is beside the file, without looking at any server but those. `indices` are those of what the
    /// file says, and of what holds.
    pub fn change(&mut self, changes: LayerChanges, [declared, holding]: [&PlaceIndex; 2]) {
        let servers: Vec<ServerKey> = changes.servers().into_iter().cloned().collect();
        changes.put_into(&mut self.layers);
        let model = self.layered.get_or_insert_with(|| self.declared.clone());
        for key in servers {
            self.marks.remove(&key);
            let Some(server) = declared.server(&self.declared, &key) else {
                continue;
            };
            let (now, mark) = stands(&self.layers, &key, server.standing());
            if let Some(server) = holding.server_mut(model, &key) {
                server.state = now.state;
                server.weight = now.weight;
            }
            if let Some(mark) = mark {
                self.marks.insert(key, mark);
            }
        }
    }

    /// What holds.
    pub fn model(&self) -> &Model {
        self.layered.as_ref().unwrap_or(&self.declared)
    }

    /// What the file says.
    pub const fn declared(&self) -> &Model {
        &self.declared
    }

    /// What the file says, without the layers.
    pub fn into_declared(self) -> Model {
        self.declared
    }

    /// What is said beside the file.
    pub const fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The services that are left out, as their interfaces are not there.
    pub const fn lacking(&self) -> &Lacking {
        &self.lacking
    }

    /// The servers that this makes a difference to.
    pub const fn marks(&self) -> &BTreeMap<ServerKey, Mark> {
        &self.marks
    }
}

/// Makes the servers of a place stand as they do with the layers.
fn settle<'m>(
    layers: &Layers,
    place: &Place,
    servers: impl Iterator<Item = &'m mut RealServer>,
    marks: &mut BTreeMap<ServerKey, Mark>,
) {
    for server in servers {
        let key = ServerKey {
            place: place.clone(),
            server: server.name.clone(),
        };
        let (now, mark) = stands(layers, &key, server.standing());
        if let Some(mark) = mark {
            server.state = now.state;
            server.weight = now.weight;
            marks.insert(key, mark);
        }
    }
}

/// How a server stands with the layers, and what is said of it where they make a difference.
fn stands(layers: &Layers, key: &ServerKey, file: Standing) -> (Standing, Option<Mark>) {
    let wish = layers.operator.get(key);
    let (now, cause) = standing(file, wish, layers.health.get(key).copied());
    if (cause.state, cause.weight) == (Layer::File, Layer::File) {
        return (file, None);
    }
    let mark = Mark {
        file,
        now,
        cause,
        wish: wish.copied(),
    };
    (now, Some(mark))
}

impl Service {
    /// The interfaces that it names, each once, in the order of their names.
    pub fn interfaces<'m>(&'m self, model: &'m Model) -> Vec<&'m Interface> {
        let Some(mode) = self.mode.direct() else {
            return Vec::new();
        };
        let servers = model.real_servers(self);
        let ways = servers.filter_map(|server| mode.interface_to(server));
        let mut all: Vec<&Interface> = mode.on.iter().chain(ways).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Model {
    /// The services that need interfaces which are not there.
    pub fn lacking(&self, is_there: impl Fn(&str) -> bool) -> Lacking {
        let each = self.services.iter().filter_map(|service| {
            let mut named = service.interfaces(self);
            named.retain(|interface| !is_there(interface));
            let missing: Vec<Interface> = named.into_iter().cloned().collect();
            (!missing.is_empty()).then(|| (service.name.clone(), missing))
        });
        each.collect()
    }
}

//! How a real server stands: what the file says, what an operator wants beside it, and what is known of its health.
//!
//! Each layer is kept for itself, and one pure table, [`standing`], says what holds and why. Nothing ever writes one layer
//! into another: what ends, ends by being taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Model, Place, RealServer, ServerKey, State};

/// How a real server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it takes clients.
    pub state: State,
    /// Its share, from 0 to 65,535.
    pub weight: u16,
}

/// Who says how a server stands; the later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The file.
    File,
    /// An operator, by `flbc set`.
    Operator,
    /// What checks of the server found.
    Health,
}

/// Who says what of a server's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// Who says its state.
    pub state: Layer,
    /// Who says its weight.
    pub weight: Layer,
}

/// What an operator wants, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted<T> {
    /// What is wanted.
    pub value: T,
    /// When it was asked for: seconds since 1970, by the machine's clock.
    pub since: u64,
}

/// What an operator wants of one real server, beside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The state, if it was set.
    pub state: Option<Wanted<State>>,
    /// The weight, if it was set.
    pub weight: Option<Wanted<u16>>,
    /// Where the server is, if that is known: one that is renamed is found by it.
    pub address: Option<IpAddr>,
    /// Its own port.
    pub port: Option<u16>,
}

/// What checks of a server found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It answers.
    Alive,
    /// It does not.
    Dead,
}

/// What is said of real servers beside the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// By an operator.
    pub operator: BTreeMap<ServerKey, Wish>,
    /// By checks.
    pub health: BTreeMap<ServerKey, Verdict>,
}

/// What is said of some servers from now on; `None`: nothing any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerChanges {
    /// By an operator.
    pub operator: BTreeMap<ServerKey, Option<Wish>>,
    /// By checks.
    pub health: BTreeMap<ServerKey, Option<Verdict>>,
}

/// A wish that has no server any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// A server of the same place and address has another name now: the wish is its own.
    Renamed {
        /// The server as it was.
        was: ServerKey,
        /// Its name now.
        now: Arc<str>,
    },
    /// There is none: the wish has ended.
    Gone(ServerKey),
}

/// What holds of a server, and who says so.
///
/// | file | operator | health | state | weight |
/// |---|---|---|---|---|
/// | any | - | - or alive | the file's | the file's |
/// | any | a state | - or alive | the operator's | the file's |
/// | any | a weight | - or alive | the file's | the operator's |
/// | `weight 0` | a weight above 0 | - or alive | up: the 0 was another way to write `drain` | the operator's |
/// | takes clients | weight 0 | - or alive | drain, by the operator | 0 |
/// | any | any | dead | down, by health, unless it is already | as above |
///
/// Health only ever takes a server away: one that is alive is not up for that where file or operator say otherwise.
pub fn standing(
    file: Standing,
    wish: Option<&Wish>,
    verdict: Option<Verdict>,
) -> (Standing, Cause) {
    let state = wish.and_then(|wish| wish.state).map(|one| one.value);
    let weight = wish.and_then(|wish| wish.weight).map(|one| one.value);
    let (weight, by_weight) = match weight {
        Some(weight) => (weight, Layer::Operator),
        None => (file.weight, Layer::File),
    };
    let unweighted = file.weight == 0 && file.state == State::Drain;
    let (state, by_state) = match state {
        Some(state) => (state, Layer::Operator),
        None if unweighted && weight > 0 => (State::Up, by_weight),
        None => (file.state, Layer::File),
    };
    let (state, by_state) = if weight == 0 && state.takes_clients() {
        (State::Drain, by_weight)
    } else {
        (state, by_state)
    };
    let (state, by_state) = match verdict {
        Some(Verdict::Dead) if state != State::Down => (State::Down, Layer::Health),
        Some(Verdict::Dead | Verdict::Alive) | None => (state, by_state),
    };
    let cause = Cause {
        state: by_state,
        weight: by_weight,
    };
    (Standing { state, weight }, cause)
}

impl Wish {
    /// Nothing, of this server.
    pub const fn of(server: &RealServer) -> Self {
        Self {
            state: None,
            weight: None,
            address: Some(server.address),
            port: server.port,
        }
    }

    /// The same beside a file; `None` where that says so itself.
    pub fn beside(mut self, file: Standing) -> Option<Self> {
        self.state = self.state.filter(|state| state.value != file.state);
        self.weight = self.weight.filter(|weight| weight.value != file.weight);
        (standing(file, Some(&self), None).0 != file).then_some(self)
    }
}

impl Layers {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.operator.is_empty() && self.health.is_empty()
    }

    /// Those that make a difference beside a file, and what became of the others that did. A wish goes with a server that is
    /// renamed where it is declared; one that says what the file says has come true.
    pub fn beside(self, declared: &Model) -> (Self, Vec<Moved>) {
        if self.is_empty() {
            return (self, Vec::new());
        }
        let there = Servers::of(declared, &self.places());
        let mut moved = Vec::new();
        let mut operator = BTreeMap::new();
        let (known, lost): (Vec<_>, Vec<_>) = self
            .operator
            .into_iter()
            .partition(|(key, _)| there.get(key).is_some());
        let mut taken: BTreeSet<ServerKey> = known.iter().map(|(key, _)| key.clone()).collect();
        let mut keep = |key: ServerKey, wish: Wish, server: &RealServer| {
            let wish = Wish {
                address: Some(server.address),
                port: server.port,
                ..wish
            };
            if let Some(wish) = wish.beside(server.standing()) {
                operator.insert(key, wish);
            }
        };
        for (key, wish) in known {
            if let Some(server) = there.get(&key) {
                keep(key, wish, server);
            }
        }
        for (was, wish) in lost {
            let same = there.at(&was.place).filter(|one| {
                let key = ServerKey {
                    place: was.place.clone(),
                    server: one.name.clone(),
                };
                (Some(one.address), one.port) == (wish.address, wish.port) && !taken.contains(&key)
            });
            let same: Vec<&RealServer> = same.collect();
            // Of two at one address nobody knows which it is.
            let [server] = *same else {
                moved.push(Moved::Gone(was));
                continue;
            };
            let key = ServerKey {
                place: was.place.clone(),
                server: server.name.clone(),
            };
            taken.insert(key.clone());
            keep(key, wish, server);
            let now = server.name.clone();
            moved.push(Moved::Renamed { was, now });
        }
        let mut health = self.health;
        health.retain(|key, _| there.get(key).is_some());
        (Self { operator, health }, moved)
    }

    /// Where servers are declared of which something is said.
    pub(super) fn places(&self) -> BTreeSet<&Place> {
        let keys = self.operator.keys().chain(self.health.keys());
        keys.map(|key| &key.place).collect()
    }
}

impl LayerChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.operator.is_empty() && self.health.is_empty()
    }

    /// The servers of which something else is said, each once.
    pub fn servers(&self) -> BTreeSet<&ServerKey> {
        self.operator.keys().chain(self.health.keys()).collect()
    }

    /// Makes the changes.
    pub fn put_into(self, layers: &mut Layers) {
        put(self.operator, &mut layers.operator);
        put(self.health, &mut layers.health);
    }
}

fn put<T>(changes: BTreeMap<ServerKey, Option<T>>, all: &mut BTreeMap<ServerKey, T>) {
    for (key, change) in changes {
        match change {
            Some(said) => drop(all.insert(key, said)),
            None => drop(all.remove(&key)),
        }
    }
}

/// The servers that are declared in some places.
struct Servers<'m>(BTreeMap<(Place, Arc<str>), &'m RealServer>);

impl<'m> Servers<'m> {
    fn of(model: &'m Model, places: &BTreeSet<&Place>) -> Self {
        let each = everywhere(model).filter(|(place, _)| places.contains(place));
        Self(
            each.map(|(place, server)| ((place, server.name.clone()), server))
                .collect(),
        )
    }

    fn get(&self, key: &ServerKey) -> Option<&'m RealServer> {
        let key = (key.place.clone(), key.server.clone());
        self.0.get(&key).copied()
    }

    fn at(&self, place: &Place) -> impl Iterator<Item = &'m RealServer> {
        let from = (place.clone(), Arc::from(""));
        let there = self.0.range(from..);
        let here = there.take_while(move |((at, _), _)| at == place);
        here.map(|(_, server)| *server)
    }
}

/// Every server, and where it is declared.
fn everywhere(model: &Model) -> impl Iterator<Item = (Place, &RealServer)> {
    let shared = model.pools.iter().flat_map(|pool| {
        let servers = pool.real_servers.iter();
        servers.map(|server| (Place::Pool(pool.name.clone()), server))
    });
    let own = model.services.iter().flat_map(|service| {
        let servers = service.own_servers();
        servers.map(|server| (Place::Service(service.name.clone()), server))
    });
    shared.chain(own)
}

impl Layer {
    /// What is said behind what it says: ` (set)`.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::File => "",
            Self::Operator => " (set)",
            Self::Health => " (health)",
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

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renamed { was, now } => {
                write!(
                    f,
                    "what was set on {was} goes on for `{now}`, which has its address"
                )
            }
            Self::Gone(was) => write!(
                f,
                "what was set on {was} has ended: the file has no such server"
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn stands(state: State, weight: u16) -> Standing {
        Standing { state, weight }
    }

    fn wish(state: Option<State>, weight: Option<u16>) -> Wish {
        Wish {
            state: state.map(|value| Wanted { value, since: 1 }),
            weight: weight.map(|value| Wanted { value, since: 1 }),
            address: None,
            port: None,
        }
    }

    #[test]
    fn every_row_of_the_table() {
        use Layer::{File, Health, Operator};
        use State::{Backup, Down, Drain, Up};
        let rows = [
            (stands(Up, 3), wish(None, None), stands(Up, 3), File, File),
            (
                stands(Up, 3),
                wish(Some(Drain), None),
                stands(Drain, 3),
                Operator,
                File,
            ),
            (
                stands(Down, 3),
                wish(Some(Up), None),
                stands(Up, 3),
                Operator,
                File,
            ),
            (
                stands(Backup, 1),
                wish(None, Some(4)),
                stands(Backup, 4),
                File,
                Operator,
            ),
            (
                stands(Drain, 0),
                wish(None, Some(4)),
                stands(Up, 4),
                Operator,
                Operator,
            ),
            (
                stands(Drain, 2),
                wish(None, Some(4)),
                stands(Drain, 4),
                File,
                Operator,
            ),
            (
                stands(Up, 3),
                wish(None, Some(0)),
                stands(Drain, 0),
                Operator,
                Operator,
            ),
            (
                stands(Backup, 3),
                wish(None, Some(0)),
                stands(Drain, 0),
                Operator,
                Operator,
            ),
            (
                stands(Down, 3),
                wish(None, Some(0)),
                stands(Down, 0),
                File,
                Operator,
            ),
            (
                stands(Drain, 0),
                wish(Some(Up), None),
                stands(Drain, 0),
                File,
                File,
            ),
            (
                stands(Up, 3),
                wish(Some(Down), Some(7)),
                stands(Down, 7),
                Operator,
                Operator,
            ),
        ];
        for (file, wish, now, state, weight) in rows {
            let cause = Cause { state, weight };
            for alive in [None, Some(Verdict::Alive)] {
                assert_eq!(
                    standing(file, Some(&wish), alive),
                    (now, cause),
                    "{file} {wish:?}"
                );
            }
            let down = stands(Down, now.weight);
            let state = if now.state == Down { state } else { Health };
            let cause = Cause { state, weight };
            let dead = standing(file, Some(&wish), Some(Verdict::Dead));
            assert_eq!(dead, (down, cause), "{file} {wish:?}");
        }
        for state in [Up, Drain, Down, Backup] {
            let file = stands(state, 2);
            let cause = Cause {
                state: File,
                weight: File,
            };
            assert_eq!(standing(file, None, None), (file, cause));
        }
    }
}

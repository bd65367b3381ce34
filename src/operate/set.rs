//! What an operator wants of one server, beside the file.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::apply::{Applied, Tables};
use crate::diagnostic::{Diagnostics, nearest};
use crate::kernel::Kernel;
use crate::model::{
    Layers, Model, Place, RealServer, ServerKey, Service, State, Wanted, Wish, standing,
};

use super::job::{self, Job};
use super::refused::{Refused, few};

/// What a server is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// In this state, whatever the file says.
    State(State),
    /// With this share; 0 drains it.
    Weight(u16),
}

impl Demand {
    /// What is wanted by it alone, since now.
    pub const fn wish(self, since: u64) -> Wish {
        let (state, weight) = match self {
            Self::State(value) => (Some(Wanted { value, since }), None),
            Self::Weight(value) => (None, Some(Wanted { value, since })),
        };
        Wish {
            state,
            weight,
            address: None,
            port: None,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Set {
    /// What the apply did.
    pub applied: Applied,
    /// Where the server is declared.
    pub place: Place,
    /// The services that use it.
    pub users: Vec<String>,
}

impl Set {
    /// What it did, line by line.
    pub fn text(&self) -> String {
        if self.applied.is_nothing() {
            return "no difference\n".to_owned();
        }
        let mut text = self.applied.text(false);
        if self.users.len() > 1 {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{} is one for {} services: {}",
                self.place,
                self.users.len(),
                few(&self.users)
            );
        }
        text
    }
}

/// Sets one server of a service. `file` is what a file says; without it, what the last apply made of one is known.
///
/// # Errors
///
/// There is no such server, nothing is remembered, or why it could not be applied.
pub fn set<K: Kernel>(
    tables: &mut Tables<K>,
    file: Option<Model>,
    (service, server): (&str, &str),
    demand: Demand,
    sink: &mut Diagnostics,
) -> Result<Set, Refused> {
    let mut notes = Vec::new();
    let layers = job::layers(tables, &mut notes)?;
    beside(
        tables,
        file,
        (layers, notes),
        (service, server),
        demand,
        sink,
    )
}

/// The same with what is known to be said of servers, whatever the notes say: as [`Job::beside`].
///
/// # Errors
///
/// There is no such server, nothing is remembered, or why it could not be applied.
pub fn beside<K: Kernel>(
    tables: &mut Tables<K>,
    file: Option<Model>,
    (mut layers, notes): (Layers, Vec<String>),
    (service, server): (&str, &str),
    demand: Demand,
    sink: &mut Diagnostics,
) -> Result<Set, Refused> {
    let known = match tables.recall() {
        Some(known) => Some(known),
        // Somebody flushed them: with what is set now, all that should be there comes back.
        None if file.is_none() => tables.recall_gone()?,
        None => None,
    };
    let mut declared = match (file, known) {
        (Some(model), _) => model,
        (None, Some(known)) => known.effective.into_owned().into_declared(),
        (None, None) => {
            // Without the privilege nothing is known of any tables, whatever is remembered.
            let name = tables.name().to_owned();
            tables.kernel.identities(&name)?;
            return Err(Refused::NothingRemembered {
                notes: tables.notes().to_owned(),
            });
        }
    };
    job::complete(tables, &mut declared, sink)?;
    let place = place(&declared, service, server)?;
    let now = tables.kernel.clock();
    add(
        &declared,
        &mut layers,
        (&place, (service, server)),
        demand,
        now,
    )?;
    let job = Job::of_complete(tables, declared, layers, (None, notes))?;
    let mut applied = job.commit(tables, sink)?;
    let users: Vec<&Service> = job.model().users(&place).collect();
    if !applied.is_nothing() {
        let empty = users.iter().filter_map(|user| emptied(job.model(), user));
        applied.notes.extend(empty);
    }
    let users = users.iter().map(|user| user.name.to_string()).collect();
    Ok(Set {
        applied,
        place,
        users,
    })
}

/// That new clients of a service have no server left.
pub(super) fn emptied(model: &Model, service: &Service) -> Option<String> {
    let empty = model.empty_families(service);
    let (all, name) = (service.families().count(), &service.name);
    let which = match *empty {
        [] => return None,
        [family] if all > 1 => format!("{family} "),
        [..] => String::new(),
    };
    let on_empty = service.on_empty;
    Some(format!(
        "no {which}server of `{name}` takes new clients now: `on-empty {on_empty}` answers them"
    ))
}

/// Where the server is declared, or what may have been meant.
pub(super) fn place(model: &Model, service: &str, server: &str) -> Result<Place, Refused> {
    if let Some(place) = model.place_of(service, server) {
        return Ok(place);
    }
    let declared = model.services.iter().find(|one| *one.name == *service);
    let (written, there_are): (_, Vec<String>) = match declared {
        None => {
            let names = model
                .services
                .iter()
                .map(|service| service.name.to_string());
            (service, names.collect())
        }
        Some(declared) => {
            let servers = model.real_servers(declared);
            (server, servers.map(|one| one.name.to_string()).collect())
        }
    };
    let meant = nearest(written, there_are.iter().map(String::as_str));
    Err(Refused::Unknown {
        service: declared.map(|service| service.name.to_string()),
        written: written.to_owned(),
        meant: meant.map(str::to_owned),
        there_are,
    })
}

/// Adds what is demanded to what was set before.
fn add(
    declared: &Model,
    layers: &mut Layers,
    (place, written): (&Place, (&str, &str)),
    demand: Demand,
    now: u64,
) -> Result<(), Refused> {
    let key = ServerKey {
        place: place.clone(),
        server: Arc::from(written.1),
    };
    let Some(server) = declared.server(&key) else {
        return Ok(());
    };
    let before = layers.operator.get(&key).copied();
    let wish = demanded(server, before, written, demand, now)?;
    layers.operator.insert(key, wish);
    Ok(())
}

/// What is wanted of a server, with what was before.
pub(super) fn demanded(
    server: &RealServer,
    before: Option<Wish>,
    written: (&str, &str),
    demand: Demand,
    now: u64,
) -> Result<Wish, Refused> {
    let mut wish = before.unwrap_or_else(|| Wish::of(server));
    match demand {
        Demand::Weight(value) => wish.weight = Some(since(wish.weight, value, now)),
        Demand::State(value) => {
            wish.state = Some(since(wish.state, value, now));
            let (stands, _) = standing(server.standing(), Some(&wish), None);
            if stands.state != value {
                return Err(Refused::NoShare {
                    name: server.name.to_string(),
                    written: (written.0.to_owned(), written.1.to_owned()),
                });
            }
        }
    }
    Ok(wish)
}

/// What is wanted since now, or since it was wanted first.
fn since<T: PartialEq>(before: Option<Wanted<T>>, value: T, now: u64) -> Wanted<T> {
    let same = before.filter(|before| before.value == value);
    same.unwrap_or(Wanted { value, since: now })
}

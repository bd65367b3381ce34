//! What an operator wants of one server, beside the file.

use crate::apply::{Applied, Tables};
use crate::diagnostic::{Diagnostics, nearest};
use crate::kernel::Kernel;
use crate::model::{Model, Override, Place, Standing, State};

use super::job::{self, Job};
use super::refused::Refused;

/// What a server is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// In this state, whatever the file says.
    State(State),
    /// With this share; 0 drains it.
    Weight(u16),
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

/// Sets one server of a service. `file` is what a file says; without it, what the last apply made of one is known.
///
/// # Errors
///
/// There is no such server, nothing is remembered, or why it could not be applied.
pub fn set<K: Kernel>(
    tables: &mut Tables<K>,
    file: Option<Model>,
    (service, server): (&str, &str),
    wish: Wish,
    sink: &mut Diagnostics,
) -> Result<Set, Refused> {
    let known = tables.recall();
    let mut overrides = match &known {
        Some(known) => known.overrides.to_vec(),
        None => tables.overrides(),
    };
    let mut model = match (file, known) {
        (Some(model), _) => model,
        (None, Some(known)) => {
            let mut model = known.model.into_owned();
            // From here on as if the file were read.
            model.unset(&overrides);
            model
        }
        (None, None) => {
            // Without the privilege nothing is known of any tables, whatever is remembered.
            let name = tables.name().to_owned();
            tables.kernel.identities(&name)?;
            return Err(Refused::NothingRemembered {
                notes: tables.notes().to_owned(),
            });
        }
    };
    job::complete(tables, &mut model, sink)?;
    let place = place(&model, service, server)?;
    add(&mut model, &mut overrides, &place, (service, server), wish)?;
    let job = Job::of_complete(model, overrides, None);
    let applied = job.commit(tables, sink)?;
    let users = job.model.users(&place).map(str::to_owned).collect();
    Ok(Set {
        applied,
        place,
        users,
    })
}

/// Where the server is declared, or what may have been meant.
fn place(model: &Model, service: &str, server: &str) -> Result<Place, Refused> {
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

/// Adds the wish to what was set before.
fn add(
    model: &mut Model,
    overrides: &mut Vec<Override>,
    place: &Place,
    (service, server): (&str, &str),
    wish: Wish,
) -> Result<(), Refused> {
    let found = model.server_mut(place, server);
    let Some((file, name)) = found.map(|found| (found.standing(), found.name.clone())) else {
        return Ok(());
    };
    let known = overrides
        .iter()
        .position(|one| one.place == *place && *one.server == *server);
    let mut one = match known {
        Some(at) => overrides.swap_remove(at),
        None => Override {
            place: place.clone(),
            server: name,
            state: None,
            weight: None,
            file,
        },
    };
    one.file = file;
    match wish {
        Wish::Weight(weight) => one.weight = Some(weight),
        Wish::State(state) => {
            one.state = Some(state);
            let wanted = Standing {
                state,
                ..one.standing()
            };
            if one.standing() != wanted {
                return Err(Refused::NoShare {
                    name: one.server.to_string(),
                    written: (service.to_owned(), server.to_owned()),
                });
            }
        }
    }
    overrides.push(one);
    // The same state always reads the same.
    overrides.sort_by(|a, b| (&a.place, &a.server).cmp(&(&b.place, &b.server)));
    Ok(())
}

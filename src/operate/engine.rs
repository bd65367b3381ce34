//! The same of whoever keeps what was applied in memory: what is wanted is written down first, then made, of the servers that
//! it is about alone where that will do.

use crate::apply::{Applied, Failure, Tables};
use crate::diagnostic::Diagnostics;
use crate::engine::{Engine, Outcome, Why};
use crate::kernel::Kernel;
use crate::model::{LayerChanges, Layers, ServerKey};

use super::job::Job;
use super::refused::Refused;
use super::set::{Demand, Set, demanded, emptied, place};

/// What became of a change.
#[derive(Debug)]
pub struct Changed {
    /// What was done.
    pub applied: Applied,
    /// Why all of it had to be applied, if so.
    pub whole: Option<Why>,
}

/// Changes what is said of any number of servers, in one transaction. What an operator wants is written down before: see
/// [`Job::commit`].
///
/// # Errors
///
/// Why it cannot be; the kernel then has what it had, and what was set is what it was. [`Failure::Crowded`] where the change
/// was made and others have changed the tables since: the engine is out of date, and [`Engine::of`] knows more.
pub fn change<K: Kernel>(
    tables: &mut Tables<K>,
    engine: &mut Engine,
    changes: LayerChanges,
    sink: &mut Diagnostics,
) -> Result<Changed, Refused> {
    let changes = engine.narrowed(changes);
    let wishes = (!changes.operator.is_empty()).then(|| {
        let before = engine.layers().operator.clone();
        let mut after = Layers {
            operator: before.clone(),
            ..Layers::default()
        };
        let wanted = LayerChanges {
            operator: changes.operator.clone(),
            ..LayerChanges::default()
        };
        wanted.put_into(&mut after);
        (before, after.operator)
    });
    if let Some((_, after)) = &wishes {
        let written = tables.write_wishes(after);
        written.map_err(|error| Refused::WishesUnwritten {
            notes: tables.notes().to_owned(),
            error,
        })?;
    }
    let outcome = made(tables, engine, changes, sink);
    if let (Err(_), Some((before, _))) = (&outcome, wishes) {
        // It was writable a moment ago. If it is not now, it is put right by the next command.
        let _ = tables.write_wishes(&before);
    }
    outcome
}

fn made<K: Kernel>(
    tables: &mut Tables<K>,
    engine: &mut Engine,
    changes: LayerChanges,
    sink: &mut Diagnostics,
) -> Result<Changed, Refused> {
    let mut outcome = engine.change(tables, changes.clone(), sink)?;
    if let Outcome::Whole(Why::Foreign) = outcome
        && let Some(newer) = Engine::of(tables).map_err(Failure::from)?
    {
        // It was another flbc, which has left a note: what that applied is what there is.
        *engine = newer;
        outcome = engine.change(tables, changes.clone(), sink)?;
    }
    let why = match outcome {
        Outcome::Made(applied) => {
            return Ok(Changed {
                applied,
                whole: None,
            });
        }
        Outcome::Whole(why) => why,
    };
    let mut layers = engine.layers().clone();
    changes.put_into(&mut layers);
    let declared = engine.effective().declared().clone();
    // Tables that are gone do not tell which bits of marks their numbers were in.
    let layout = Some(engine.remembered().numbers.layout);
    let job = Job::of_complete(tables, declared, layers, (layout, Vec::new()))?;
    let applied = job.commit(tables, sink)?;
    adopt(tables, engine)?;
    Ok(Changed {
        applied,
        whole: Some(why),
    })
}

/// Makes an engine know what a whole apply has left.
///
/// # Errors
///
/// Those of looking; [`Failure::Crowded`]: others have changed something since.
pub fn adopt<K: Kernel>(tables: &mut Tables<K>, engine: &mut Engine) -> Result<(), Refused> {
    *engine = Engine::of(tables)
        .map_err(Failure::from)?
        .ok_or(Failure::Crowded)?;
    Ok(())
}

/// Sets one server of a service, as [`super::set::set`] does.
///
/// # Errors
///
/// There is no such server, or why it could not be made.
pub fn set<K: Kernel>(
    tables: &mut Tables<K>,
    engine: &mut Engine,
    (service, server): (&str, &str),
    demand: Demand,
    sink: &mut Diagnostics,
) -> Result<Set, Refused> {
    let model = engine.effective().declared();
    let place = match engine.service(service) {
        Some(known) => match model.place_in(known, server) {
            Some(place) => place,
            None => place(model, service, server)?,
        },
        None => place(model, service, server)?,
    };
    let key = ServerKey {
        place: place.clone(),
        server: server.into(),
    };
    let now = tables.kernel.clock();
    let before = engine.layers().operator.get(&key).copied();
    let wish = engine
        .declared(&key)
        .map(|declared| demanded(declared, before, (service, server), demand, now))
        .transpose()?;
    let changes = LayerChanges {
        operator: wish.map(|wish| (key, Some(wish))).into_iter().collect(),
        ..LayerChanges::default()
    };
    let Changed { mut applied, .. } = change(tables, engine, changes, sink)?;
    if !applied.is_nothing() {
        let model = engine.effective().model();
        let empty = engine.users(&place).filter_map(|user| emptied(model, user));
        applied.notes.extend(empty);
    }
    let users = engine.users(&place);
    Ok(Set {
        users: users.map(|user| user.name.to_string()).collect(),
        applied,
        place,
    })
}

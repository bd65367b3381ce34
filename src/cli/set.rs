//! `flbc set`

use std::fmt::Write as _;
use std::path::Path;

use clap::ValueEnum;

use super::apply::{completed, failed, say, text_of, warn_of};
use super::report::Report;
use super::{Exit, trial};
use crate::apply::{self, Failure, Request};
use crate::diagnostic::{Diagnostics, nearest, quote};
use crate::kernel::Linux;
use crate::kernel::cache::{self, Cache};
use crate::model::{Model, Override, Place, Standing, State};
use crate::schedule;
use crate::source::Sources;

/// So many names are told where one does not fit.
const TOLD: usize = 8;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Takes no new clients, keeps those it has
    Drain,
    /// Takes none; its connections are forgotten
    Down,
    /// Takes clients
    Up,
    /// Takes clients while no other server of its family is up
    Backup,
    /// Its share is N; 0 drains it
    Weight,
}

/// One server, and what it is to be.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) service: &'a str,
    pub(super) server: &'a str,
    pub(super) what: What,
    pub(super) weight: Option<u16>,
}

pub(super) fn run(report: &Report, wish: &Wish<'_>, table: &str, file: Option<&Path>) -> Exit {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let read = match file.map(|file| report.model(file, &mut sources, &mut sink)) {
        Some(Err(exit)) => return exit,
        Some(Ok(model)) => Some(model),
        None => None,
    };
    let lock = match trial::exclusive(table) {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let cache = Cache::new(cache::DIRECTORY);
    let mut kernel = match Linux::open().map_err(Failure::from) {
        Ok(kernel) => kernel,
        Err(failure) => return failed(report, failure, sink, &sources),
    };
    let known = apply::recall(&mut kernel, &cache, table);
    let mut overrides = match &known {
        Some(known) => known.overrides.to_vec(),
        None => apply::overrides(&mut kernel, &cache, table),
    };
    let mut model = match (read, known) {
        (Some(model), _) => model,
        (None, Some(known)) => {
            let mut model = known.model.into_owned();
            // From here on as if the file were read.
            model.unset(&overrides);
            model
        }
        (None, None) => {
            return Report::failure(
                "nothing is remembered of the file that these tables were made from, since none was applied or `/run/flbc` was emptied; apply it first with `flbc apply FILE`, or name it here: `flbc set --file FILE ...`",
            );
        }
    };
    if let Err(exit) = completed(report, &mut kernel, &mut model, &mut sink, &sources) {
        return exit;
    }
    let place = match place(&model, wish) {
        Ok(place) => place,
        Err(message) => return Report::failure(&message),
    };
    if let Err(message) = change(&mut model, &mut overrides, &place, wish) {
        return Report::failure(&message);
    }
    let overrides = model.set(overrides);
    let plan = schedule::schedule(&model, &mut sink);
    let request = Request {
        table,
        layout: None,
        model: &model,
        plan: &plan,
        overrides: &overrides,
        commit: true,
    };
    let outcome = apply::apply(&mut kernel, &cache, &request, &mut sink);
    drop(lock);
    let applied = match outcome {
        Ok(applied) => applied,
        Err(failure) => return failed(report, failure, sink, &sources),
    };
    report.human(&sink, &sources);
    warn_of(&applied);
    if applied.totals.is_empty() && applied.difference.is_empty() {
        return say("no difference\n", Exit::Fine);
    }
    let mut text = text_of(&applied, false);
    let users: Vec<&str> = model.users(&place).collect();
    if users.len() > 1 {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{place} is one for {} services: {}",
            users.len(),
            few(&users)
        );
    }
    say(&text, Exit::Fine)
}

/// The first of many names.
fn few(names: &[&str]) -> String {
    let first: Vec<&str> = names.iter().take(TOLD).copied().collect();
    match names.len().saturating_sub(TOLD) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Where the server is declared, or what may have been meant.
fn place(model: &Model, wish: &Wish<'_>) -> Result<Place, String> {
    if let Some(place) = model.place_of(wish.service, wish.server) {
        return Ok(place);
    }
    let service = model.services.iter().find(|s| *s.name == *wish.service);
    let (what, written, names): (_, _, Vec<&str>) = match service {
        None => {
            let names = model.services.iter().map(|service| &*service.name);
            (
                "there is no service".to_owned(),
                wish.service,
                names.collect(),
            )
        }
        Some(service) => {
            let names = model.real_servers(service).map(|server| &*server.name);
            let what = format!("service `{}` has no server", service.name);
            (what, wish.server, names.collect())
        }
    };
    let meant = match nearest(written, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are: {}", few(&names)),
    };
    Err(format!("{what} {}; {meant}", quote(written)))
}

/// Adds the wish to what was set before.
fn change(
    model: &mut Model,
    overrides: &mut Vec<Override>,
    place: &Place,
    wish: &Wish<'_>,
) -> Result<(), String> {
    let server = model.server_mut(place, wish.server);
    let Some((file, name)) = server.map(|server| (server.standing(), server.name.clone())) else {
        return Ok(());
    };
    let known = overrides
        .iter()
        .position(|one| one.place == *place && *one.server == *wish.server);
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
    let wanted = match wish.what {
        What::Weight => {
            one.weight = wish.weight;
            None
        }
        What::Drain => Some(State::Drain),
        What::Down => Some(State::Down),
        What::Up => Some(State::Up),
        What::Backup => Some(State::Backup),
    };
    if let Some(state) = wanted {
        one.state = Some(state);
        if one.standing()
            != (Standing {
                state,
                ..one.standing()
            })
        {
            return Err(format!(
                "`{}` has weight 0, so that it is drained; give it a share: `flbc set {} {} weight 1`",
                one.server, wish.service, wish.server
            ));
        }
    }
    overrides.push(one);
    // The same state always reads the same.
    overrides.sort_by(|a, b| (&a.place, &a.server).cmp(&(&b.place, &b.server)));
    Ok(())
}

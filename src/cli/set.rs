//! `flbc set`

use std::path::Path;

use clap::ValueEnum;

use super::report::Report;
use super::{Exit, daemon, output, tables};
use crate::control::Request;
use crate::diagnostic::Diagnostics;
use crate::model::{Model, State};
use crate::operate::Refused;
use crate::operate::set::{self, Demand, Set};
use crate::source::Sources;

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

impl What {
    /// What is wished; `weight` is the N of `weight N`.
    pub(super) fn wish(self, weight: Option<u16>) -> Result<Demand, &'static str> {
        match (self, weight) {
            (Self::Weight, Some(weight)) => Ok(Demand::Weight(weight)),
            (Self::Weight, None) => Err("`weight` needs a number"),
            (_, Some(_)) => Err("only `weight` takes a number"),
            (Self::Drain, None) => Ok(Demand::State(State::Drain)),
            (Self::Down, None) => Ok(Demand::State(State::Down)),
            (Self::Up, None) => Ok(Demand::State(State::Up)),
            (Self::Backup, None) => Ok(Demand::State(State::Backup)),
        }
    }
}

/// Reads the N of `weight N`.
pub(super) fn weight(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("write a number from 0 to {}", u16::MAX))
}

pub(super) fn run(
    report: &Report,
    server: (&str, &str),
    wish: Demand,
    table: &str,
    file: Option<&Path>,
) -> Exit {
    if file.is_none() {
        let request = Request::Set {
            service: server.0.to_owned(),
            server: server.1.to_owned(),
            demand: wish,
        };
        if let Some(said) = daemon::done(table, &request) {
            return daemon::told(&said);
        }
    }
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = match file.map(|file| report.model(file, &mut sources, &mut sink)) {
        Some(Err(exit)) => return exit,
        Some(Ok(model)) => Some(model),
        None => None,
    };
    match done(table, model, server, wish, &mut sink) {
        Ok(set) => {
            report.human(&sink, &sources);
            Report::warnings(&set.applied.warnings());
            output::say(&set.text(), set.applied.exit())
        }
        Err(refused) => report.refused(&refused, sink, &sources),
    }
}

fn done(
    table: &str,
    file: Option<Model>,
    server: (&str, &str),
    wish: Demand,
    sink: &mut Diagnostics,
) -> Result<Set, Refused> {
    let mut tables = tables::open(table)?;
    let _turn = tables::turn(&mut tables)?;
    set::set(&mut tables, file, server, wish, sink)
}

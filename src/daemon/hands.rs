//! What the daemon does: each order in one go, on any kernel.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::apply::{Applied, Gap, Tables};
use crate::control::{Kind, Level, Looks, Record, Running, Said};
use crate::diagnostic::Diagnostics;
use crate::kernel::events::Process;
use crate::kernel::{Kernel, KernelError};
use crate::model::{Layers, Model};
use crate::notes::LastTables;
use crate::operate::set::{self, Demand};
use crate::operate::turn::{self, Turn};
use crate::operate::{Job, Refused};

use super::core::{Order, Outcome, Why};
use super::words;

/// The files that the daemon was told to run.
pub trait Files {
    /// Reads them anew. `None`: they have faults; the model of before stays what the words below are about.
    fn read(&mut self, sink: &mut Diagnostics) -> Option<Model>;

    /// What there is to say of what was read last.
    fn told(&self, sink: &Diagnostics, looks: Looks) -> String;

    /// Why it was not applied.
    fn refused(&self, refused: &Refused, sink: Diagnostics, looks: Looks) -> Said;

    /// Their name: as it was given.
    fn name(&self) -> &str;
}

/// Somebody who asked for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller<C> {
    /// Who it is.
    pub client: C,
    /// What was asked for.
    pub wants: Wants,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// To read the file again.
    Reload(Looks),
    /// To set a server.
    Set {
        /// The service and the server.
        server: (String, String),
        /// What it is to be.
        demand: Demand,
    },
}

/// What came of an order.
#[derive(Debug)]
pub struct Performed<C> {
    /// For the core.
    pub outcome: Outcome<Caller<C>>,
    /// What happened.
    pub events: Vec<Record>,
    /// What those who asked are told.
    pub answers: Vec<(C, Said)>,
    /// What there is to say of the files, for standard error alone: it has many lines.
    pub shown: String,
    /// Why nothing could be made to be in force at all: the daemon ends.
    pub fatal: Option<Said>,
}

/// What is to be in force.
#[derive(Debug)]
struct Wanted {
    declared: Model,
    /// What no other model has, as it was applied: with what was looked up.
    print: Print,
    running: Running,
}

/// What carries out orders.
#[derive(Debug)]
pub struct Hands<K, F> {
    /// The tables.
    pub tables: Tables<K>,
    /// The files.
    pub files: F,
    wanted: Option<Wanted>,
    /// What was set, as it was known last: should all notes be lost, this is what is left of it.
    layers: Layers,
    /// The texts by which the tables are known, as they were when they were known to be right.
    ids: Option<[Option<String>; 2]>,
    /// What was set while a trial was open: it is to last, whatever becomes of the trial.
    owed: Vec<((String, String), Demand)>,
    /// Whether a trial is open, as far as that was told.
    on_trial: bool,
    /// What was said of a failure last: it is not said again each time that it is tried.
    complaint: Option<String>,
    /// The command line of the flbc that changed the tables last.
    last_holder: Option<String>,
    /// Why what is in force is not what should be, as it was found last.
    broken: Vec<String>,
    /// How often others' changes were put right.
    pub repairs: u64,
    /// Since when the file has faults: seconds since 1970.
    pub faulty_since: Option<u64>,
    /// When it was last read without: seconds since 1970.
    pub read_at: u64,
}

impl<K: Kernel, F: Files> Hands<K, F> {
    /// Hands that have done nothing yet.
    pub fn new(tables: Tables<K>, files: F) -> Self {
        Self {
            tables,
            files,
            wanted: None,
            layers: Layers::default(),
            ids: None,
            owed: Vec::new(),
            on_trial: false,
            complaint: None,
            last_holder: None,
            broken: Vec::new(),
            repairs: 0,
            faulty_since: None,
            read_at: 0,
        }
    }

    /// What is kept in force.
    pub fn running(&self) -> Running {
        let wanted = self.wanted.as_ref();
        wanted.map_or(Running::Nothing, |wanted| wanted.running.clone())
    }

    /// The interfaces that what is to be in force names, whether they are there or not.
    pub fn names_interface(&self, name: &str) -> bool {
        let Some(wanted) = &self.wanted else {
            return false;
        };
        let model = &wanted.declared;
        let mut services = model.services.iter();
        services.any(|service| service.interfaces(model).iter().any(|one| ***one == *name))
    }

    /// Carries out an order. `others` are those who changed the kernel's rules since they were known to be right.
    pub fn perform<C>(
        &mut self,
        order: Order<Caller<C>>,
        others: &[Process],
    ) -> Performed<C> {
        let mut performed = Performed {
            outcome: Outcome::Failed,
            events: Vec::new(),
            answers: Vec::new(),
            shown: String::new(),
            fatal: None,
        };
        performed.outcome = match order {
            Order::Start => self.start(&mut performed),
            Order::Look { whole } => self.look(whole, others, &mut performed),
            Order::Enforce(why) => self.enforce(why, others, &mut performed),
            Order::Reload(caller) => self.reload(caller, &mut performed),
            Order::Set(callers) => self.set(callers, &mut performed),
        };
        performed
    }

    /// The right to change the tables; or what came of the order that wanted it.
    fn turn<C>(
        &mut self,
        order: Order<Caller<C>>,
        performed: &mut Performed<C>,
    ) -> Result<Turn, Outcome<Caller<C>>> {
        match turn::take(&mut self.tables) {
            Ok(turn) => {
                if turn.went_back.is_some() || self.on_trial {
                    self.on_trial = false;
                    performed.events.push(self.event(
                        Level::Info,
                        Kind::TrialEnded,
                        "the trial is over".to_owned(),
                    ));
                }
                Ok(turn)
            }
            Err(Refused::Busy { .. }) => Err(Outcome::Busy(order)),
            Err(Refused::OnTrial { .. } | Refused::TrialUnknown { .. } | Refused::NoWayBack { .. }) => {
                if !self.on_trial {
                    self.on_trial = true;
                    let text = "a trial is open: until it is over, only what is set is applied";
                    performed.events.push(self.event(
                        Level::Info,
                        Kind::TrialBegan,
                        text.to_owned(),
                    ));
                }
                Err(Outcome::OnTrial(order))
            }
            Err(refused) => {
                self.complain(Kind::Trouble, &refused.to_string(), performed);
                Err(Outcome::Failed)
            }
        }
    }

    fn start<C>(&mut self, performed: &mut Performed<C>) -> Outcome<Caller<C>> {
        let mut sink = Diagnostics::new();
        let Some(model) = self.files.read(&mut sink) else {
            let mut said = Said::default();
            said.show(&self.files.told(&sink, Looks::default()));
            said.end(crate::diagnostic::Exit::Bad);
            performed.fatal = Some(said);
            return Outcome::Failed;
        };
        self.read_at = self.tables.kernel.clock();
        if model.services.is_empty() {
            let mut said = Said::default();
            said.show(&self.files.told(&sink, Looks::default()));
            said.fail(&words::no_service(self.files.name()));
            said.end(crate::diagnostic::Exit::Bad);
            performed.fatal = Some(said);
            return Outcome::Failed;
        }
        let turn = match self.turn(Order::Start, performed) {
            Ok(turn) => turn,
            Err(outcome) => return outcome,
        };
        let outcome = self.applied(model.clone(), Running::File, &mut sink);
        drop(turn);
        match outcome {
            Ok(applied) => {
                let text = words::started(self.files.name(), &applied);
                let level = words::level(&applied);
                performed.shown = self.files.told(&sink, Looks::default());
                performed.events.push(self.event(level, Kind::Started, text));
                self.tell_warnings(&applied, performed);
                self.done()
            }
            // It may come.
            Err(Refused::Failed(crate::apply::Failure::Interfaces(missing))) => {
                self.want(model, Running::File);
                let names: Vec<&str> = missing.iter().map(|one| &*one.name).collect();
                let text = words::waits_for(self.files.name(), &names);
                performed.events.push(self.event(Level::Error, Kind::FollowFailed, text));
                Outcome::Done { known: None }
            }
            Err(refused) => {
                performed.fatal = Some(self.files.refused(&refused, sink, Looks::default()));
                Outcome::Failed
            }
        }
    }

    fn look<C>(
        &mut self,
        whole: bool,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        // Whoever takes the turn is in the place of whoever had it.
        self.last_holder = self.tables.holder().map(|holder| holder.command);
        match self.turn(Order::Look { whole }, performed) {
            Ok(turn) => drop(turn),
            Err(outcome) => return outcome,
        }
        if !self.owed.is_empty() {
            self.pay(performed);
        }
        match self.looked(whole, others, performed) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.complain(Kind::Trouble, &error.to_string(), performed);
                Outcome::Failed
            }
        }
    }

    fn looked<C>(
        &mut self,
        whole: bool,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Result<Outcome<Caller<C>>, KernelError> {
        let name = self.tables.name().to_owned();
        let generation = self.tables.kernel.generation()?;
        let ids = self.tables.kernel.identities(&name)?;
        let there = ids.iter().any(Option::is_some);
        let same = self.ids.as_ref() == Some(&ids);
        if !same {
            let last = self.tables.last();
            let noted = last.as_ref().map(|last| last.tables);
            let by_flbc = others.iter().any(|other| other.name == "flbc");
            match noted {
                // Whoever unloads them leaves no note, and whoever flushes them does.
                None if !there && (by_flbc || self.wanted.is_none()) => {
                    self.unloaded(others, performed);
                    return Ok(Outcome::Unloaded);
                }
                Some(LastTables::Same) => {}
                _ if self.wanted.is_none() => return Ok(Outcome::Unloaded),
                _ => {
                    let text = if there {
                        "others are in the place of its tables"
                    } else {
                        "its tables are gone"
                    };
                    self.broken = vec![text.to_owned()];
                    return Ok(Outcome::Broken);
                }
            }
        }
        if !whole && same {
            return Ok(Outcome::InForce {
                generation,
                whole: false,
            });
        }
        let look = self.tables.look()?;
        let in_force = look.in_force();
        let Some(known) = look.known else {
            if self.wanted.is_none() {
                return Ok(Outcome::Unloaded);
            }
            self.broken = vec!["the note on what was applied is gone".to_owned()];
            return Ok(Outcome::Broken);
        };
        let print = print(known.effective.declared());
        if self.wanted.as_ref().is_none_or(|wanted| wanted.print != print) {
            let command = self.last_holder.take();
            let command = command.unwrap_or_else(|| "another flbc".to_owned());
            let text = format!("`{command}` applied something else: it is kept in force until the file is reloaded");
            let mut event = self.event(Level::Warning, Kind::Applied, text);
            event.processes = others.to_vec();
            performed.events.push(event);
            self.want(known.effective.declared().clone(), Running::Applied(command));
        }
        self.layers = known.effective.layers().clone();
        let mendable = |gap: &&Gap| !is_beyond_mending(gap);
        let gaps = look.gaps.iter().filter(mendable);
        let mut broken: Vec<String> = gaps.map(|gap| words::of_gap(gap)).collect();
        broken.extend(words::of_drift(&look.drift));
        if in_force == Some(true) || broken.is_empty() {
            self.ids = Some(ids);
            return Ok(Outcome::InForce {
                generation,
                whole: true,
            });
        }
        self.broken = broken;
        Ok(Outcome::Broken)
    }

    fn unloaded<C>(&mut self, others: &[Process], performed: &mut Performed<C>) {
        if self.wanted.take().is_some() {
            let text = "the tables were unloaded: nothing is kept in force until something is applied or the file is reloaded";
            let mut event = self.event(Level::Warning, Kind::Unloaded, text.to_owned());
            event.processes = others.to_vec();
            performed.events.push(event);
        }
        self.layers = Layers::default();
        self.ids = Some([None, None]);
    }

    fn enforce<C>(
        &mut self,
        why: Why,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        let Some(wanted) = &self.wanted else {
            return Outcome::Unloaded;
        };
        let (declared, running) = (wanted.declared.clone(), wanted.running.clone());
        let turn = match self.turn(Order::Enforce(why), performed) {
            Ok(turn) => turn,
            Err(outcome) => return outcome,
        };
        let mut sink = Diagnostics::new();
        let begun = self.tables.kernel.now();
        // They were this daemon's until somebody took them over.
        self.tables.force = self.ids.is_some();
        let outcome = self.applied(declared, running, &mut sink);
        self.tables.force = false;
        drop(turn);
        let took = self.tables.kernel.now().saturating_sub(begun);
        match outcome {
            Ok(applied) => {
                self.complaint = None;
                let broken = std::mem::take(&mut self.broken);
                if why == Why::Repair {
                    self.repairs += 1;
                    performed
                        .events
                        .push(self.repaired(&broken, &applied, took, others));
                } else if !applied.is_nothing() || applied.left_out > 0 {
                    let text = words::followed(&applied);
                    let level = words::level(&applied);
                    performed.events.push(self.event(level, Kind::Followed, text));
                }
                self.done()
            }
            Err(refused) => {
                let kind = if why == Why::Repair {
                    Kind::RepairFailed
                } else {
                    Kind::FollowFailed
                };
                let said = self.files.refused(&refused, sink, Looks::default());
                self.complain(kind, said.err.trim_end(), performed);
                Outcome::Failed
            }
        }
    }

    fn repaired(
        &mut self,
        broken: &[String],
        applied: &Applied,
        took: Duration,
        others: &[Process],
    ) -> Record {
        let text = words::repaired(broken, applied, took, others);
        let mut event = self.event(Level::Warning, Kind::Repaired, text);
        event.cause = broken.first().cloned();
        event.processes = others.to_vec();
        event
    }

    fn reload<C>(
        &mut self,
        caller: Option<Caller<C>>,
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        let looks = match &caller {
            Some(Caller {
                wants: Wants::Reload(looks),
                ..
            }) => *looks,
            _ => Looks::default(),
        };
        let mut sink = Diagnostics::new();
        let read = self.files.read(&mut sink);
        let now = self.tables.kernel.clock();
        let model = match read {
            Some(model) if !model.services.is_empty() => model,
            other => {
                let mut said = Said::default();
                said.show(&self.files.told(&sink, looks));
                if other.is_some() {
                    said.fail(&words::no_service(self.files.name()));
                }
                said.fail("nothing was changed: what was in force stays");
                said.end(crate::diagnostic::Exit::Bad);
                self.faulty_since.get_or_insert(now);
                let mut plain = self.files.told(&sink, Looks::default());
                if other.is_some() {
                    plain = words::no_service(self.files.name());
                }
                let text = words::not_reloaded(self.files.name(), &plain);
                performed.events.push(self.event(Level::Error, Kind::ReloadFailed, text));
                performed.answers.extend(caller.map(|caller| (caller.client, said)));
                return Outcome::Failed;
            }
        };
        self.faulty_since = None;
        self.read_at = now;
        let turn = match turn::take(&mut self.tables) {
            Err(Refused::Busy { .. }) => return Outcome::Busy(Order::Reload(caller)),
            outcome => outcome,
        };
        let outcome = turn.and_then(|turn| {
            let applied = self.applied(model, Running::File, &mut sink);
            drop(turn);
            applied
        });
        let (said, outcome) = match outcome {
            Ok(applied) => {
                let mut said = Said::default();
                said.show(&self.files.told(&sink, looks));
                words::applied(&applied, &mut said);
                let text = words::reloaded(self.files.name(), &applied);
                let level = words::level(&applied);
                performed.events.push(self.event(level, Kind::Reloaded, text));
                (said, self.done())
            }
            Err(refused) => {
                let text = refused.to_string();
                let text = words::not_reloaded(self.files.name(), &text);
                performed.events.push(self.event(Level::Error, Kind::ReloadFailed, text));
                (self.files.refused(&refused, sink, looks), Outcome::Failed)
            }
        };
        performed.answers.extend(caller.map(|caller| (caller.client, said)));
        outcome
    }

    fn set<C>(
        &mut self,
        callers: Vec<Caller<C>>,
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        let (turn, on_trial) = match turn::take_beside_a_trial(&mut self.tables) {
            Ok(turn) => turn,
            Err(Refused::Busy { .. }) => return Outcome::Busy(Order::Set(callers)),
            Err(refused) => {
                for caller in callers {
                    let said = self.files.refused(&refused, Diagnostics::new(), Looks::default());
                    performed.answers.push((caller.client, said));
                }
                return Outcome::Failed;
            }
        };
        for caller in callers {
            let Wants::Set { server, demand } = caller.wants else {
                continue;
            };
            let said = self.set_one(&server, demand, performed);
            if on_trial && said.exit == 0 {
                self.owed.push((server, demand));
            }
            performed.answers.push((caller.client, said));
        }
        drop(turn);
        if on_trial {
            // What is tried is not what is wanted.
            return Outcome::Done {
                known: self.tables.untouched(),
            };
        }
        self.done()
    }

    fn set_one<C>(
        &mut self,
        server: &(String, String),
        demand: Demand,
        performed: &mut Performed<C>,
    ) -> Said {
        let mut sink = Diagnostics::new();
        // On trial it is what is tried that it is set in.
        let wanted = self.wanted.as_ref().filter(|_| !self.on_trial);
        let model = wanted.map(|wanted| wanted.declared.clone());
        let asked = (&*server.0, &*server.1);
        match set::set(&mut self.tables, model, asked, demand, &mut sink) {
            Ok(set) => {
                let mut said = Said::default();
                for sentence in set.applied.warnings() {
                    said.warn(&sentence);
                }
                said.say(&set.text());
                said.end(set.applied.exit());
                if !set.applied.is_nothing() {
                    let text = words::set(&set);
                    let mut event = self.event(Level::Info, Kind::Set, text);
                    event.service = Some(server.0.clone());
                    event.server = Some(server.1.clone());
                    performed.events.push(event);
                }
                said
            }
            Err(refused) => self.files.refused(&refused, sink, Looks::default()),
        }
    }

    /// A trial went back, and with it what was set meanwhile: that is set again.
    fn pay<C>(&mut self, performed: &mut Performed<C>) {
        let Ok((turn, false)) = turn::take_beside_a_trial(&mut self.tables) else {
            return;
        };
        for (server, demand) in std::mem::take(&mut self.owed) {
            let mut sink = Diagnostics::new();
            let asked = (&*server.0, &*server.1);
            // Nobody is there any more to be told that the server is gone with the trial.
            if let Ok(set) = set::set(&mut self.tables, None, asked, demand, &mut sink)
                && !set.applied.is_nothing()
            {
                let text = words::set(&set);
                let mut event = self.event(Level::Info, Kind::Set, text);
                event.service = Some(server.0);
                event.server = Some(server.1);
                performed.events.push(event);
            }
        }
        drop(turn);
    }

    /// Makes the kernel have what a model says, with what was set. From then on it is what is wanted.
    fn applied(
        &mut self,
        declared: Model,
        running: Running,
        sink: &mut Diagnostics,
    ) -> Result<Applied, Refused> {
        let mut notes = Vec::new();
        let layers = self.known_layers(&mut notes);
        let job = Job::beside(&mut self.tables, declared.clone(), layers, notes, sink)?;
        let applied = job.commit(&mut self.tables, sink)?;
        self.wanted = Some(Wanted {
            print: print(job.effective.declared()),
            declared,
            running,
        });
        Ok(applied)
    }

    /// What was set: what is written down, or, where all that is lost, what this process knows of it.
    fn known_layers(&mut self, notes: &mut Vec<String>) -> Layers {
        let lost = |why: &str| format!("{why}: what was set is written down anew");
        match self.tables.layers() {
            Ok((layers, unreadable)) => {
                if layers.is_empty() && !self.layers.is_empty() && self.tables.last().is_none() {
                    notes.push(lost("all notes are gone"));
                    return self.layers.clone();
                }
                notes.extend(unreadable.map(|error| lost(&error.to_string())));
                layers
            }
            Err(unreadable) => {
                notes.push(lost(&unreadable.to_string()));
                self.layers.clone()
            }
        }
    }

    /// From now on this is to be in force.
    fn want(&mut self, declared: Model, running: Running) {
        self.wanted = Some(Wanted {
            print: print(&declared),
            declared,
            running,
        });
    }

    /// What is known after something was made to be in force.
    fn done<C>(&mut self) -> Outcome<C> {
        self.complaint = None;
        let name = self.tables.name().to_owned();
        self.ids = self.tables.kernel.identities(&name).ok();
        if let Ok((layers, _)) = self.tables.layers() {
            self.layers = layers;
        }
        Outcome::Done {
            known: self.tables.untouched(),
        }
    }

    fn tell_warnings<C>(&mut self, applied: &Applied, performed: &mut Performed<C>) {
        for text in applied.warnings() {
            performed.events.push(self.event(Level::Warning, Kind::Started, text));
        }
    }

    /// Says that something failed, if that is news.
    fn complain<C>(&mut self, kind: Kind, text: &str, performed: &mut Performed<C>) {
        if self.complaint.as_deref() != Some(text) {
            self.complaint = Some(text.to_owned());
            performed
                .events
                .push(self.event(Level::Error, kind, text.to_owned()));
        }
    }

    fn event(&mut self, level: Level, kind: Kind, text: String) -> Record {
        Record::new(self.tables.kernel.clock() * 1_000, level, kind, text)
    }
}

/// What no other model has.
type Print = [u8; 32];

/// The SHA-256 of all that a model says, as a note has it.
fn print(declared: &Model) -> Print {
    // Plain data: serialization cannot fail.
    let bytes = postcard::to_stdvec(declared).unwrap_or_default();
    Sha256::digest(bytes).into()
}

/// What no apply can mend: an interface that is not there has to come.
fn is_beyond_mending(gap: &Gap) -> bool {
    match gap {
        Gap::LeftOut { there_now, .. } => !there_now,
        Gap::Unknown
        | Gap::Dormant(_)
        | Gap::Gone
        | Gap::Others
        | Gap::Killed
        | Gap::Wished(_)
        | Gap::Stranger(_)
        | Gap::Missing { .. } => false,
    }
}

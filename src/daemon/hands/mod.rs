//! What the daemon does: each order in one go, on any kernel.

use sha2::{Digest as _, Sha256};

use crate::apply::{Applied, Failure, Tables};
use crate::control::{Kind, Level, Looks, Record, Running, Said};
use crate::diagnostic::{Diagnostics, Exit};
use crate::emit::netlink::MissingInterface;
use crate::engine::Engine;
use crate::kernel::Kernel;
use crate::kernel::events::Process;
use crate::lower::layout::Layout;
use crate::model::{Lacking, Layers, Model};
use crate::operate::set::Demand;
use crate::operate::turn::{self, Turn};
use crate::operate::{Job, Refused};

use self::kept::Kept;
use super::order::{Order, Outcome};
use super::words;

mod enforce;
mod hearing;
mod kept;
mod look;
mod set;

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
    /// Its process.
    pub by: Vec<Process>,
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
    /// What was applied last: that, unless it could not be.
    noted: Option<Print>,
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
    /// What the file said when it was read last, and what was noted of that.
    said: Option<Print>,
    kept: Option<Kept>,
    /// Which bits of marks numbers are in, as far as that is known: tables that were flushed tell it no more.
    layout: Option<Layout>,
    /// The services that are left out.
    lacking: Lacking,
    /// All that was applied, kept from the first time on that a server is set: a change costs what it changes.
    engine: Option<Engine>,
    /// What was set, as it was known last: should all notes be lost, this is what is left of it.
    layers: Layers,
    /// The texts by which the tables are known, as they were when they were known to be right.
    ids: Option<[Option<String>; 2]>,
    /// Whether a daemon that was killed, and whose place this one takes, had tables of its own.
    owns: bool,
    /// Whether a trial is open, as far as that was told.
    on_trial: bool,
    /// What was said of a failure last: it is not said again each time that it is tried.
    complaint: Option<(Kind, String)>,
    /// The command line of the flbc that changed the tables last.
    last_holder: Option<String>,
    /// Whether interfaces are waited for, without which nothing can be in force.
    waits: bool,
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
    /// Hands that have done nothing yet. `layout` is which bits of marks numbers are to be in; `None`: those that they are in.
    pub fn new(tables: Tables<K>, files: F, layout: Option<Layout>) -> Self {
        Self {
            tables,
            files,
            wanted: None,
            said: None,
            kept: None,
            layout,
            lacking: Lacking::new(),
            engine: None,
            layers: Layers::default(),
            ids: None,
            owns: false,
            on_trial: false,
            complaint: None,
            last_holder: None,
            waits: false,
            broken: Vec::new(),
            repairs: 0,
            faulty_since: None,
            read_at: 0,
        }
    }

    /// Why what should be in force could not be made so, if that failed last.
    pub fn complaint(&self) -> Option<&str> {
        // Of other troubles what is in force knows nothing: a note that could not be written, for one.
        let (kind, text) = self.complaint.as_ref()?;
        let fails = matches!(kind, Kind::RepairFailed | Kind::FollowFailed);
        fails.then_some(text)
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
    pub fn perform<C>(&mut self, order: Order<Caller<C>>, others: &[Process]) -> Performed<C> {
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
            Order::Set(callers) => self.set(callers, others, &mut performed),
        };
        self.keep(&mut performed);
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
            Err(
                Refused::OnTrial { .. } | Refused::TrialUnknown { .. } | Refused::NoWayBack { .. },
            ) => {
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
        let read = self.files.read(&mut sink);
        let read = read.filter(|model| !model.services.is_empty());
        if read.is_none() && !self.tables.cache().is_kept(self.tables.name()) {
            performed.fatal = Some(self.cannot_begin(&sink));
            return Outcome::Failed;
        }
        // What there is to go on with is known once nobody else is at work, and no trial is open.
        let turn = match self.turn(Order::Start, performed) {
            Ok(turn) => turn,
            Err(outcome) => return outcome,
        };
        if self.layout.is_none() {
            let known = self.tables.recall();
            self.layout = known.map(|known| known.numbers.layout);
        }
        let now = self.tables.kernel.clock();
        let resumed = self.resumed(read.as_ref());
        let (model, running) = match (resumed, read) {
            (Some((model, running)), read) => {
                if read.is_none() {
                    performed.shown = self.files.told(&sink, Looks::default());
                    self.faulty_since = Some(now);
                    let text = words::not_reloaded(self.files.name(), &performed.shown);
                    performed
                        .events
                        .push(self.event(Level::Error, Kind::ReloadFailed, text));
                }
                let Some(model) = model else {
                    let text = words::idle(self.files.name());
                    performed
                        .events
                        .push(self.event(Level::Warning, Kind::Started, text));
                    self.ids = Some([None, None]);
                    return Outcome::Unloaded;
                };
                // What was said of the file is said.
                sink = Diagnostics::new();
                (model, running)
            }
            (None, Some(model)) => {
                self.said = Some(print(&model));
                self.read_at = now;
                (model, Running::File)
            }
            (None, None) => {
                performed.fatal = Some(self.cannot_begin(&sink));
                return Outcome::Failed;
            }
        };
        let outcome = self.applied(model.clone(), running.clone(), &mut sink);
        drop(turn);
        match outcome {
            Ok(applied) => {
                let text = words::started(&running.words(self.files.name()), &applied);
                let level = words::level(&applied);
                performed.shown = self.files.told(&sink, Looks::default());
                performed
                    .events
                    .push(self.event(level, Kind::Started, text));
                self.tell_warnings(&applied, performed);
                self.done()
            }
            // It may come.
            Err(Refused::Failed(Failure::Interfaces(missing))) => {
                self.want(model, running);
                self.wait_for(&missing, performed)
            }
            Err(refused) => {
                performed.fatal = Some(self.files.refused(&refused, sink, Looks::default()));
                Outcome::Failed
            }
        }
    }

    /// Nothing can be in force without these.
    fn wait_for<C>(
        &mut self,
        missing: &[MissingInterface],
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        self.waits = true;
        let names: Vec<&str> = missing.iter().map(|one| &*one.name).collect();
        let text = words::waits_for(self.files.name(), &names);
        self.complain(Kind::FollowFailed, &text, performed);
        Outcome::Waits
    }

    /// Why there is nothing to begin with.
    fn cannot_begin(&self, sink: &Diagnostics) -> Said {
        let mut said = Said::default();
        said.show(&self.files.told(sink, Looks::default()));
        if sink.errors() == 0 {
            said.fail(&words::no_service(self.files.name()));
        }
        said.end(Exit::Bad);
        said
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
        let beside = (self.layout, notes);
        let (job, applied) = self.forcibly(|tables| {
            let job = Job::beside(tables, declared.clone(), layers, beside, sink)?;
            let applied = job.commit(tables, sink)?;
            Ok::<_, Refused>((job, applied))
        })?;
        self.lacking = job.effective.lacking().clone();
        let print = print(job.effective.declared());
        let is_noted = self.tables.untouched().is_some();
        self.wanted = Some(Wanted {
            declared,
            print,
            noted: if is_noted { Some(print) } else { self.noted() },
            running,
        });
        Ok(applied)
    }

    /// Does something to the tables, also where another program has made others in the place of this daemon's own.
    fn forcibly<T>(&mut self, act: impl FnOnce(&mut Tables<K>) -> T) -> T {
        self.tables.force = self.owns || has_tables(self.ids.as_ref());
        let done = act(&mut self.tables);
        self.tables.force = false;
        done
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
            noted: self.noted(),
            declared,
            running,
        });
    }

    /// What was applied last, as far as it is noted.
    fn noted(&mut self) -> Option<Print> {
        let noted = self.tables.recall_last()?;
        Some(print(noted.effective.declared()))
    }

    /// What is known after something was made to be in force.
    fn done<C>(&mut self) -> Outcome<C> {
        self.complaint = None;
        self.waits = false;
        let name = self.tables.name().to_owned();
        self.ids = self.tables.kernel.identities(&name).ok();
        self.owns = false;
        if let Ok((layers, _)) = self.tables.layers() {
            self.layers = layers;
        }
        Outcome::Done {
            known: self.tables.untouched(),
        }
    }

    fn tell_warnings<C>(&mut self, applied: &Applied, performed: &mut Performed<C>) {
        for text in applied.warnings() {
            performed
                .events
                .push(self.event(Level::Warning, Kind::Started, text));
        }
    }

    /// Says that something failed, if that is news.
    fn complain<C>(&mut self, kind: Kind, text: &str, performed: &mut Performed<C>) {
        let complaint = Some((kind, text.to_owned()));
        if self.complaint != complaint {
            self.complaint = complaint;
            performed
                .events
                .push(self.event(Level::Error, kind, text.to_owned()));
        }
    }

    fn event(&mut self, level: Level, kind: Kind, text: String) -> Record {
        Record::new(self.tables.kernel.clock() * 1_000, level, kind, text)
    }
}

/// Whether there are tables by these texts.
fn has_tables(ids: Option<&[Option<String>; 2]>) -> bool {
    ids.is_some_and(|ids| ids.iter().any(Option::is_some))
}

/// What no other model has.
type Print = [u8; 32];

/// The SHA-256 of all that a model says, as a note has it.
fn print(declared: &Model) -> Print {
    // Plain data: serialization cannot fail.
    let bytes = postcard::to_stdvec(declared).unwrap_or_default();
    Sha256::digest(bytes).into()
}

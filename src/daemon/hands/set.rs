//! Setting servers, for those who ask for it.

use crate::control::{Kind, Level, Looks, Said};
use crate::diagnostic::{Diagnostics, Exit};
use crate::engine::Engine;
use crate::kernel::Kernel;
use crate::kernel::events::Process;
use crate::operate::set::{self, Demand};
use crate::operate::{self, Refused, turn};

use super::{Caller, Files, Hands, Performed, Wants};
use crate::daemon::order::{Order, Outcome};
use crate::daemon::words;

impl<K: Kernel, F: Files> Hands<K, F> {
    pub(super) fn set<C>(
        &mut self,
        callers: Vec<Caller<C>>,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        let (turn, on_trial) = match turn::take_beside_a_trial(&mut self.tables) {
            Ok(turn) => turn,
            Err(Refused::Busy { .. }) => return Outcome::Busy(Order::Set(callers)),
            Err(refused) => {
                for caller in callers {
                    let said = self
                        .files
                        .refused(&refused, Diagnostics::new(), Looks::default());
                    performed.answers.push((caller.client, said));
                }
                return Outcome::Failed;
            }
        };
        let quickly = !on_trial && self.wanted.is_some();
        if quickly && self.is_engine_current() {
            self.set_all(callers, (on_trial, true), performed);
            drop(turn);
            return self.is_set();
        }
        if !on_trial {
            // What fails here fails again below, and is told.
            let _ = self.mind_others(false, others, performed);
            // From now on it costs what it changes.
            self.engine = Engine::of(&mut self.tables).ok().flatten();
        }
        let quickly = !on_trial && self.wanted.is_some() && self.engine.is_some();
        self.set_all(callers, (on_trial, quickly), performed);
        drop(turn);
        if on_trial {
            // What is tried is not what is wanted.
            return Outcome::Done {
                known: self.tables.untouched(),
            };
        }
        if self.wanted.is_none() {
            return Outcome::Unloaded;
        }
        if quickly { self.is_set() } else { self.done() }
    }

    /// Whether nobody has committed anything since this process knew all that was applied.
    fn is_engine_current(&mut self) -> bool {
        let generation = self.tables.kernel.generation().ok();
        let engine = self.engine.as_ref().map(Engine::generation);
        engine.is_some() && engine == generation
    }

    /// What is known after servers were set by the engine.
    fn is_set<C>(&mut self) -> Outcome<C> {
        if !self.is_engine_current() {
            return self.done();
        }
        if let Some(engine) = &self.engine {
            self.layers = engine.layers().clone();
        }
        self.complaint = None;
        Outcome::Done {
            known: self.engine.as_ref().map(Engine::generation),
        }
    }

    fn set_all<C>(
        &mut self,
        callers: Vec<Caller<C>>,
        (on_trial, quickly): (bool, bool),
        performed: &mut Performed<C>,
    ) {
        for caller in callers {
            let Wants::Set { server, demand } = caller.wants else {
                continue;
            };
            let said = if on_trial {
                self.set_on_trial(&server, demand, caller.by, performed)
            } else {
                self.set_one(&server, demand, (false, quickly, caller.by), performed)
            };
            performed.answers.push((caller.client, said));
        }
    }

    /// Sets a server in what is tried. It is to last, whatever becomes of the trial.
    fn set_on_trial<C>(
        &mut self,
        server: &(String, String),
        demand: Demand,
        by: Vec<Process>,
        performed: &mut Performed<C>,
    ) -> Said {
        let wish = demand.wish(self.tables.kernel.clock());
        let asked = (&*server.0, &*server.1);
        let wanted = self.wanted.as_ref().map(|wanted| &wanted.declared);
        let before = match self.tables.owe(asked, wish, wanted) {
            Ok(before) => before,
            Err(error) => {
                let notes = self.tables.notes().to_owned();
                let refused = Refused::WishesUnwritten { notes, error };
                let sink = Diagnostics::new();
                return self.files.refused(&refused, sink, Looks::default());
            }
        };
        let said = self.set_one(server, demand, (true, false, by), performed);
        let is_set = matches!(said.exit(), Exit::Fine | Exit::InPart);
        if !is_set && let Ok(trials) = self.tables.trials() {
            // It was writable a moment ago.
            let _ = trials.set_meanwhile(&before);
        }
        said
    }

    fn set_one<C>(
        &mut self,
        server: &(String, String),
        demand: Demand,
        (on_trial, quickly, by): (bool, bool, Vec<Process>),
        performed: &mut Performed<C>,
    ) -> Said {
        let mut sink = Diagnostics::new();
        let asked = (&*server.0, &*server.1);
        // On trial it is what is tried that it is set in.
        let wanted = self.wanted.as_ref().filter(|_| !on_trial && !quickly);
        let engine = self.engine.as_mut().filter(|_| quickly);
        let model = wanted.map(|wanted| wanted.declared.clone());
        let outcome = match (engine, model) {
            (Some(engine), _) => {
                operate::engine::set(&mut self.tables, engine, asked, demand, &mut sink)
            }
            (None, None) => set::set(&mut self.tables, None, asked, demand, &mut sink),
            (None, Some(model)) => {
                let mut notes = Vec::new();
                let layers = self.known_layers(&mut notes);
                self.forcibly(|tables| {
                    let known = (layers, notes);
                    set::beside(tables, Some(model), known, asked, demand, &mut sink)
                })
            }
        };
        match outcome {
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
                    event.cause = Some("asked for".to_owned());
                    event.processes = by;
                    performed.events.push(event);
                }
                said
            }
            Err(refused) => self.files.refused(&refused, sink, Looks::default()),
        }
    }
}

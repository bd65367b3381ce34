//! Bringing into force what should be, and reading the file again.

use std::time::Duration;

use crate::apply::Applied;
use crate::control::{Kind, Level, Looks, Record, Running, Said};
use crate::diagnostic::{Diagnostics, Exit};
use crate::kernel::Kernel;
use crate::kernel::events::Process;
use crate::operate::{Refused, turn};

use super::{Caller, Files, Hands, Performed, Wants, print};
use crate::daemon::order::{Order, Outcome, Why};
use crate::daemon::words;

impl<K: Kernel, F: Files> Hands<K, F> {
    pub(super) fn enforce<C>(
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
        // Somebody took them away before the interfaces could be followed.
        let name = self.tables.name().to_owned();
        let ids = self.tables.kernel.identities(&name).ok();
        let why = if self.ids.is_some() && ids != self.ids {
            Why::Repair
        } else {
            why
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
                    performed
                        .events
                        .push(self.event(level, Kind::Followed, text));
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

    pub(super) fn reload<C>(
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
                said.end(Exit::Bad);
                self.faulty_since.get_or_insert(now);
                let mut plain = self.files.told(&sink, Looks::default());
                if other.is_some() {
                    plain = words::no_service(self.files.name());
                }
                let text = words::not_reloaded(self.files.name(), &plain);
                performed
                    .events
                    .push(self.event(Level::Error, Kind::ReloadFailed, text));
                performed
                    .answers
                    .extend(caller.map(|caller| (caller.client, said)));
                return Outcome::Failed;
            }
        };
        self.faulty_since = None;
        self.said = Some(print(&model));
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
                performed
                    .events
                    .push(self.event(level, Kind::Reloaded, text));
                (said, self.done())
            }
            Err(refused) => {
                let text = refused.to_string();
                let text = words::not_reloaded(self.files.name(), &text);
                performed
                    .events
                    .push(self.event(Level::Error, Kind::ReloadFailed, text));
                (self.files.refused(&refused, sink, looks), Outcome::Failed)
            }
        };
        performed
            .answers
            .extend(caller.map(|caller| (caller.client, said)));
        outcome
    }
}

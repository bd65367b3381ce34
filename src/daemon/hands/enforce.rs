//! Bringing into force what should be, and reading the file again.

use std::time::Duration;

use crate::apply::{Applied, Failure};
use crate::control::{Kind, Level, Looks, Record, Running, Said};
use crate::diagnostic::{Diagnostics, Exit, listed};
use crate::kernel::Kernel;
use crate::kernel::events::Process;
use crate::model::Lacking;
use crate::operate::{Refused, turn};
use crate::view::drifted::TOLD;

use super::look::Found;
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
        if self.wanted.is_none() {
            return Outcome::Unloaded;
        }
        let turn = match self.turn(Order::Enforce(why), performed) {
            Ok(turn) => turn,
            Err(outcome) => return outcome,
        };
        // Others may have been faster. How often what they change is put right is for the core to say.
        match self.mind_others(why != Why::Repair, others, performed) {
            Ok(Found::Broken(broken)) if why != Why::Repair => {
                self.broken = broken;
                return Outcome::Broken;
            }
            Ok(Found::Unloaded) => return Outcome::Unloaded,
            Ok(Found::InForce { .. } | Found::Behind(_) | Found::Broken(_) | Found::Waits) => {}
            Err(error) => {
                self.complain(Kind::Trouble, &error.to_string(), performed);
                return Outcome::Failed;
            }
        }
        let Some(wanted) = &self.wanted else {
            return Outcome::Unloaded;
        };
        let (declared, running) = (wanted.declared.clone(), wanted.running.clone());
        let mut sink = Diagnostics::new();
        let begun = self.tables.kernel.now();
        let lacked = self.lacking.clone();
        let outcome = self.applied(declared, running, &mut sink);
        drop(turn);
        let took = self.tables.kernel.now().saturating_sub(begun);
        match outcome {
            Ok(applied) => {
                let outcome = self.enforced(why, &applied, took, others, performed);
                self.tell_lacking(&lacked, performed);
                outcome
            }
            Err(Refused::Failed(Failure::Interfaces(missing))) => {
                self.wait_for(&missing, performed)
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

    /// Tells of services that are left out now and were not, and of those that came in.
    fn tell_lacking<C>(&mut self, before: &Lacking, performed: &mut Performed<C>) {
        let now = self.lacking.clone();
        let gone = now.iter().filter(|(name, _)| !before.contains_key(*name));
        let came = before.iter().filter(|(name, _)| !now.contains_key(*name));
        let gone = gone.map(|one| (one, true));
        for ((service, interfaces), is_gone) in gone.chain(came.map(|one| (one, false))).take(TOLD)
        {
            let names = listed(interfaces.iter().map(|name| &**name), "and");
            let (level, text) = if is_gone {
                let text = format!("service `{service}` is left out, as {names} is not there");
                (Level::Warning, text)
            } else {
                let text = format!("service `{service}` comes in, as {names} is there");
                (Level::Info, text)
            };
            let mut event = self.event(level, Kind::Followed, text);
            event.service = Some(service.to_string());
            event.interface = interfaces.first().map(ToString::to_string);
            event.cause = Some("the interfaces changed".to_owned());
            performed.events.push(event);
        }
    }

    fn enforced<C>(
        &mut self,
        why: Why,
        applied: &Applied,
        took: Duration,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        let is_noted = self.tables.last().is_some_and(|last| !last.killed);
        let broken = std::mem::take(&mut self.broken);
        let repaired = why == Why::Repair && (is_noted || !applied.is_nothing());
        if repaired {
            self.repairs += 1;
            let event = self.repaired(&broken, applied, took, others);
            performed.events.push(event);
        } else if why == Why::Set && !applied.is_nothing() {
            let text = words::set_at_last(applied);
            performed
                .events
                .push(self.event(Level::Info, Kind::Set, text));
        } else if why != Why::Repair && (!applied.is_nothing() || applied.left_out > 0) {
            let text = words::followed(applied);
            let level = words::level(applied);
            performed
                .events
                .push(self.event(level, Kind::Followed, text));
        }
        let complaint = self.complaint.take();
        let done = self.done();
        if !is_noted {
            self.complaint = complaint;
            let notes = self.tables.notes().display();
            let text = format!("what is in force cannot be noted in {notes}");
            self.complain(Kind::Trouble, &text, performed);
            return Outcome::Unnoted { repaired };
        }
        match done {
            Outcome::Done { known } if repaired => Outcome::Repaired { known },
            outcome => outcome,
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
        let by = caller
            .as_ref()
            .map_or_else(Vec::new, |caller| caller.by.clone());
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
        self.read_at = now;
        let turn = match turn::take(&mut self.tables) {
            Err(Refused::Busy { .. }) => return Outcome::Busy(Order::Reload(caller)),
            outcome => outcome,
        };
        // Should this be killed before, the next one reads it as one that was changed.
        self.said = Some(print(&model));
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
                let mut event = self.event(level, Kind::Reloaded, text);
                event.cause = Some(
                    if caller.is_some() {
                        "asked for"
                    } else {
                        "the file changed, or a signal asked for it"
                    }
                    .to_owned(),
                );
                event.processes = by;
                performed.events.push(event);
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

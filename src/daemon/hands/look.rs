//! Looking: whether what should be in force is.

use crate::apply::Gap;
use crate::control::{Kind, Level, Running};
use crate::kernel::events::Process;
use crate::kernel::{Kernel, KernelError};
use crate::model::{Layers, Model};
use crate::notes::LastTables;

use super::kept::Kept;
use super::{Caller, Files, Hands, Performed, Wanted, print};
use crate::daemon::order::{Order, Outcome, Why};
use crate::daemon::words;

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// All is as it should be, at this generation, as far as it was looked at.
    InForce { generation: u32, whole: bool },
    /// Others changed it.
    Broken(Vec<String>),
    /// What should be in force is another thing by now.
    Behind(Why),
    /// Another flbc removed the tables.
    Unloaded,
    /// Interfaces are not there without which nothing can be in force.
    Waits,
}

impl<K: Kernel, F: Files> Hands<K, F> {
    pub(super) fn look<C>(
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
        match self.found(whole, others, performed) {
            Ok(Found::InForce { generation, whole }) => Outcome::InForce { generation, whole },
            Ok(Found::Broken(broken)) => {
                self.broken = broken;
                Outcome::Broken
            }
            Ok(Found::Behind(why)) => Outcome::Behind(why),
            Ok(Found::Unloaded) => Outcome::Unloaded,
            Ok(Found::Waits) => Outcome::Waits,
            Err(error) => {
                self.complain(Kind::Trouble, &error.to_string(), performed);
                Outcome::Failed
            }
        }
    }

    /// Finds out whether what should be in force is; `whole`: in all that there is. What another flbc applied is what should
    /// be from then on.
    pub(super) fn found<C>(
        &mut self,
        whole: bool,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Result<Found, KernelError> {
        let name = self.tables.name().to_owned();
        let generation = self.tables.kernel.generation()?;
        let ids = self.tables.kernel.identities(&name)?;
        let there = ids.iter().any(Option::is_some);
        let same = self.ids.as_ref() == Some(&ids);
        if !same {
            let last = self.tables.last();
            let is_whole = last.as_ref().is_some_and(|last| !last.killed);
            let noted = last.map(|last| last.tables);
            match noted {
                None if !there && (self.wanted.is_none() || self.was_unloaded(others)) => {
                    self.unloaded(others, performed);
                    return Ok(Found::Unloaded);
                }
                Some(LastTables::Same) => {}
                _ if self.waits && !there => return Ok(Found::Waits),
                _ if self.wanted.is_none() => return Ok(Found::Unloaded),
                _ => {
                    // What another flbc applied may be gone before it was looked at.
                    if let Some(known) = self.tables.recall_last().filter(|_| is_whole) {
                        self.adopt(known.effective.declared(), others, performed);
                    }
                    let text = if there {
                        "others are in the place of its tables"
                    } else {
                        "its tables are gone"
                    };
                    return Ok(Found::Broken(vec![text.to_owned()]));
                }
            }
        }
        if !whole && same {
            return Ok(Found::InForce {
                generation,
                whole: false,
            });
        }
        let look = self.tables.look()?;
        let in_force = look.in_force();
        let Some(known) = look.known else {
            if self.wanted.is_none() {
                return Ok(Found::Unloaded);
            }
            return Ok(Found::Broken(vec![UNNOTED.to_owned()]));
        };
        // Of a run that was killed, or could not note what it did, the note says what was before.
        if !look.gaps.contains(&Gap::Killed) {
            self.adopt(known.effective.declared(), others, performed);
            self.layers = known.effective.layers().clone();
            self.layout = Some(known.numbers.layout);
            self.lacking = known.effective.lacking().clone();
        }
        let mut broken = Vec::new();
        let mut behind = None;
        for gap in &look.gaps {
            match beside(gap) {
                Beside::Nothing => {}
                Beside::Behind(why) => behind = behind.or(Some(why)),
                Beside::Broken => broken.push(words::of_gap(gap)),
            }
        }
        broken.extend(words::of_drift(&look.drift));
        if in_force != Some(true) && !broken.is_empty() {
            return Ok(Found::Broken(broken));
        }
        self.ids = Some(ids);
        Ok(match behind {
            Some(why) => Found::Behind(why),
            None => Found::InForce {
                generation,
                whole: true,
            },
        })
    }

    /// What other runs of flbc did since comes before what this one is about to do: what they applied is not undone by it.
    pub(super) fn mind_others<C>(
        &mut self,
        whole: bool,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Result<Found, KernelError> {
        if let Some((known, current)) = self.tables.recall_and_compare() {
            self.last_holder = None;
            self.adopt(known.effective.declared(), others, performed);
            if current || !whole {
                let generation = self.tables.kernel.generation()?;
                return Ok(Found::InForce { generation, whole });
            }
        }
        self.found(whole, others, performed)
    }

    /// Whether an operator removed the tables that are gone. Where the notes that say so are gone too, it is told by who did
    /// something.
    fn was_unloaded(&self, others: &[Process]) -> bool {
        let by_flbc = !others.is_empty() && others.iter().all(|other| other.name == "flbc");
        self.tables.cache().were_unloaded(self.tables.name())
            || (by_flbc
                && self
                    .tables
                    .cache()
                    .kept::<Kept>(self.tables.name())
                    .is_none())
    }

    /// What another flbc applied is what should be in force.
    fn adopt<C>(&mut self, declared: &Model, others: &[Process], performed: &mut Performed<C>) {
        let print = print(declared);
        // Where what is wanted could not be applied yet, what was applied before is noted still.
        let is_known = |wanted: &Wanted| [Some(wanted.print), wanted.noted].contains(&Some(print));
        if self.wanted.as_ref().is_some_and(is_known) {
            return;
        }
        let command = self.last_holder.take();
        let command = command.unwrap_or_else(|| "another flbc".to_owned());
        let text = format!(
            "`{command}` applied something else: it is kept in force until the file is reloaded"
        );
        let mut event = self.event(Level::Warning, Kind::Applied, text);
        event.processes = others.to_vec();
        performed.events.push(event);
        self.want(declared.clone(), Running::Applied(command));
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
}

/// That what is there is not known any more.
const UNNOTED: &str = "the note on what was applied is gone";

/// What a gap is to whoever keeps something in force.
enum Beside {
    /// Nothing that an apply can mend: an interface that is not there has to come.
    Nothing,
    Behind(Why),
    Broken,
}

fn beside(gap: &Gap) -> Beside {
    match gap {
        Gap::LeftOut {
            there_now: false, ..
        } => Beside::Nothing,
        Gap::LeftOut { .. } | Gap::Stranger(_) | Gap::Missing { .. } => {
            Beside::Behind(Why::Interfaces)
        }
        Gap::Wished(_) => Beside::Behind(Why::Set),
        Gap::Unknown | Gap::Dormant(_) | Gap::Gone | Gap::Others | Gap::Killed => Beside::Broken,
    }
}

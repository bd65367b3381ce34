//! Looking: whether what should be in force is.

use crate::apply::Gap;
use crate::control::{Kind, Level, Running};
use crate::kernel::events::Process;
use crate::kernel::{Kernel, KernelError};
use crate::model::Layers;
use crate::notes::LastTables;

use super::{Caller, Files, Hands, Performed, print};
use crate::daemon::order::{Order, Outcome};
use crate::daemon::words;

impl<K: Kernel, F: Files> Hands<K, F> {
    pub(super) fn look<C>(
        &mut self,
        whole: bool,
        others: &[Process],
        performed: &mut Performed<C>,
    ) -> Outcome<Caller<C>> {
        // Whoever takes the turn is in the place of whoever had it.
        self.last_holder = self.tables.holder();
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
            let holder = self.last_holder.as_ref();
            let by_flbc = holder.is_some_and(|holder| holder.pid != std::process::id())
                || others.iter().any(|other| other.name == "flbc");
            match noted {
                // Whoever unloads them leaves no note, and whoever flushes them does.
                None if !there && (by_flbc || self.wanted.is_none()) => {
                    self.unloaded(others, performed);
                    return Ok(Outcome::Unloaded);
                }
                Some(LastTables::Same) => {}
                _ if self.waits && !there => return Ok(Outcome::Waits),
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
        if self
            .wanted
            .as_ref()
            .is_none_or(|wanted| wanted.print != print)
        {
            let command = self.last_holder.take().map(|holder| holder.command);
            let command = command.unwrap_or_else(|| "another flbc".to_owned());
            let text = format!(
                "`{command}` applied something else: it is kept in force until the file is reloaded"
            );
            let mut event = self.event(Level::Warning, Kind::Applied, text);
            event.processes = others.to_vec();
            performed.events.push(event);
            self.want(
                known.effective.declared().clone(),
                Running::Applied(command),
            );
        }
        self.layers = known.effective.layers().clone();
        self.layout = Some(known.numbers.layout);
        self.lacking = known.effective.lacking().clone();
        let mendable = |gap: &&Gap| !is_beyond_mending(gap);
        let gaps = look.gaps.iter().filter(mendable);
        let mut broken: Vec<String> = gaps.map(words::of_gap).collect();
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

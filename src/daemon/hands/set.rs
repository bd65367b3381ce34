//! Setting servers, for those who ask for it.

use crate::control::{Kind, Level, Looks, Said};
use crate::diagnostic::Diagnostics;
use crate::kernel::Kernel;
use crate::kernel::events::Process;
use crate::operate::set::{self, Demand};
use crate::operate::{Refused, turn};

use super::{Caller, Files, Hands, Performed, Wants};
use crate::daemon::order::{Order, Outcome};
use crate::daemon::words;

impl<K: Kernel, F: Files> Hands<K, F> {
    pub(super) fn set<C>(
        &mut self,
        callers: Vec<Caller<C>>,
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
        for caller in callers {
            let Wants::Set { server, demand } = caller.wants else {
                continue;
            };
            let said = self.set_one(&server, demand, caller.by, performed);
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
        by: Vec<Process>,
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
                    event.cause = Some("asked for".to_owned());
                    event.processes = by;
                    performed.events.push(event);
                }
                said
            }
            Err(refused) => self.files.refused(&refused, sink, Looks::default()),
        }
    }

    /// A trial went back, and with it what was set meanwhile: that is set again.
    pub(super) fn pay<C>(&mut self, performed: &mut Performed<C>) {
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
                event.cause = Some("asked for while a trial was open, which went back".to_owned());
                performed.events.push(event);
            }
        }
        drop(turn);
    }
}

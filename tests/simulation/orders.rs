//! What the daemon does, and what must hold after each of its orders.

use std::rc::Rc;
use std::time::Duration;

use flbc::control::{Kind, Record};
use flbc::daemon::order::Done;

use super::daemon::{Ask, Did, Worked, is_done};
use super::world::{TABLE, World};

impl World {
    /// The daemon hears all that there is to be heard, and does all that there is to be done.
    pub(crate) fn settle(&mut self) {
        for _ in 0..300 {
            let Some(mut daemon) = self.daemon.take() else {
                return;
            };
            let Some(heard) = daemon.listen() else {
                self.say("the daemon is killed while it listens".to_owned());
                self.dies();
                return;
            };
            let (open, committed) = (self.on_trial(), self.fake.borrow().committed);
            let worked = daemon.work();
            self.daemon = Some(daemon);
            for record in heard {
                self.told(&record);
            }
            match worked {
                Worked::Nothing => return,
                Worked::Killed(order, kind, asks) => {
                    self.say(format!("the daemon is killed in `{order}`"));
                    self.perhaps(kind, asks);
                    self.dies();
                    self.follow_trial();
                }
                Worked::Did(did) => {
                    let same = committed == self.fake.borrow().committed;
                    if did.kind != Done::Set
                        && open == Some(true)
                        && !same
                        && self.on_trial() == Some(true)
                    {
                        self.fault(format!("`{}` commits during a trial", did.order));
                    }
                    self.did(did);
                    self.pace();
                }
            }
        }
        self.fault("the daemon spins".to_owned());
    }

    /// Somebody was killed who may have done this.
    fn perhaps(&mut self, kind: Done, asks: Vec<Ask>) {
        let read = self
            .daemon
            .as_ref()
            .and_then(|it| it.hands.files.read.clone());
        if let (Done::Start | Done::Reload, Some(text)) = (kind, read) {
            // If it was done that may not be noted: the next one begins with the file then.
            let again = kind == Done::Start && self.kept.as_ref() == Some(&text);
            if !again {
                self.possible.perhaps(|it| it.apply(&text, true));
            }
        }
        for ask in asks {
            if let Ask::Set(asked) = ask {
                self.possible.perhaps(|it| it.set(&asked));
            }
        }
    }

    fn did(&mut self, did: Did) {
        let texts: Vec<&str> = did.records.iter().map(|it| &*it.text).collect();
        let quiet = texts.is_empty() && did.answers.is_empty();
        if !quiet || self.last != did.order {
            let (order, what) = (did.order, texts.join(" / "));
            self.say(format!("    {order} ({}): {what}", did.outcome));
        }
        self.last = did.order;
        if did.in_force {
            self.culprit = None;
        }
        // What was done before what it was done for.
        self.follow_trial();
        let read = self
            .daemon
            .as_ref()
            .and_then(|it| it.hands.files.read.clone());
        if let (Done::Start, true, Some(text)) = (did.kind, did.waits, &read) {
            self.possible.apply(text, true);
        }
        for record in &did.records {
            match record.kind {
                Kind::Reloaded if did.kind == Done::Reload => self.applied(read.as_ref()),
                Kind::Reloaded => {
                    self.fault("it reads its file, and nobody asked for it".to_owned());
                }
                Kind::Started => self.started(read.as_ref()),
                _ => {}
            }
            self.told(record);
        }
        if self.lost && self.notes_say() {
            self.lost = false;
        }
        let sound = self
            .daemon
            .as_ref()
            .is_some_and(|it| it.hands.files.is_sound);
        if did.kind == Done::Reload && sound && !did.busy {
            self.said.clone_from(&read);
        }
        if self.notes().is_kept(TABLE) {
            self.kept = self.said.clone();
        }
        for (ask, said) in did.answers {
            if let Ask::Set(asked) = &ask
                && is_done(&said)
            {
                self.possible.set(asked);
                self.culprit = None;
            }
            self.say(format!(
                "      {ask:?}: {} {}",
                said.exit,
                said.err.trim_end()
            ));
        }
        if let Some(why) = did.fatal {
            self.say(format!("the daemon ends: {}", why.trim_end()));
            self.dies();
        }
    }

    /// The daemon has its file in force.
    fn applied(&mut self, read: Option<&Rc<str>>) {
        if let Some(text) = read {
            self.possible.apply(text, true);
            self.said = Some(text.clone());
        }
        self.repairs.clear();
    }

    /// It begins: where another one was killed, it goes on where that one was, unless its file is another by now.
    fn started(&mut self, read: Option<&Rc<str>>) {
        let disk = self.disk.borrow().clone();
        if self.kept.is_none()
            || (read.is_some() && read != self.kept.as_ref() && read == disk.as_ref())
        {
            self.applied(read);
        }
        self.repairs.clear();
    }

    fn told(&mut self, record: &Record) {
        *self.kinds.entry(record.kind).or_default() += 1;
        let now = self.now();
        match record.kind {
            Kind::Repaired => {
                let minute = Duration::from_secs(60);
                while self.repairs.front().is_some_and(|at| *at + minute <= now) {
                    self.repairs.pop_front();
                }
                self.repairs.push_back(now);
                if self.repairs.len() > 3 {
                    self.fault("more than three repairs within a minute".to_owned());
                }
                if let Some(culprit) = self.culprit.take()
                    && !record.processes.contains(&culprit)
                {
                    self.fault(format!("it was {culprit}: {}", record.text));
                }
            }
            Kind::Followed if self.culprit.is_some() => {
                self.fault(format!("repaired in silence: {}", record.text));
            }
            Kind::Started | Kind::Reloaded | Kind::Applied | Kind::Unloaded => self.culprit = None,
            _ => {}
        }
    }

    /// How often the daemon does something, and how long people wait.
    fn pace(&mut self) {
        let now = self.now();
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let minute = Duration::from_secs(60);
        while daemon.orders.front().is_some_and(|at| *at + minute <= now) {
            daemon.orders.pop_front();
        }
        let orders = daemon.orders.len();
        let oldest = daemon.asked.values().map(|(_, at)| *at).min();
        let size = format!("{:?}", daemon.core).len();
        if orders > 3_500 {
            self.fault(format!("{orders} orders within a minute"));
        }
        if oldest.is_some_and(|at| at + 2 * minute < now) {
            self.fault("somebody who asked gets no answer".to_owned());
        }
        if size > 20_000 {
            self.fault("the core grows".to_owned());
        }
    }
}

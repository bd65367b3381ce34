//! What must hold once nothing has happened for a while.

use std::time::Duration;

use flbc::diagnostic::Diagnostics;
use flbc::diff::{ObservedTable, diff};
use flbc::emit::netlink::change::Step;
use flbc::emit::netlink::desired;
use flbc::lower;
use flbc::model::{Effective, Model};
use flbc::ruleset::name;
use flbc::schedule::schedule;

use flbc::daemon::order::Heard;

use super::author::{INTERFACES, file, model};
use super::wanted::Wanted;
use super::world::{Later, TABLE, World, away};

/// By then no trial is open, nobody hangs, and the longest pause between repairs is over.
const REST: Duration = Duration::from_secs(20 * 60);

/// By then what was broken is in force again, where it is not broken again and again.
const PAUSE: Duration = Duration::from_secs(30);

impl World {
    /// Nothing happens for a while; then what should be in force is, and nothing is done any more.
    pub(crate) fn rests(&mut self) {
        self.say("all is quiet".to_owned());
        for name in INTERFACES {
            self.rename(&away(name), name);
            self.happens_now(Later::Comes(name));
        }
        self.happens_now(Later::OpenNotes);
        {
            let mut fake = self.fake.borrow_mut();
            fake.before.clear();
            fake.refuse = None;
        }
        self.fate.dies.set(None);
        self.fate.fails.set(None);
        *self.fate.meets.borrow_mut() = None;
        // Nothing tells it that notes are gone, or set aside by a run that was killed: it finds that when it looks next.
        if self.lost || !self.notes_say() {
            self.hear_all();
        }
        self.lives();
        self.advance(self.now() + REST);
        if !self.faults.is_empty() {
            return;
        }
        self.is_as_wanted();
        self.is_at_rest();
    }

    /// Nothing happens for half a minute: where nothing is in the way, what should be in force is by then.
    pub(crate) fn pauses(&mut self) {
        self.advance(self.now() + PAUSE);
        let now = self.now();
        let free = self.daemon.as_ref().is_some_and(|it| {
            let held = it.core.held(now).is_some() || it.core.waiting().is_some();
            !held && !it.core.is_starting() && it.hands.complaint().is_none()
        });
        let there = |name: &&str| self.fake.borrow().interfaces.contains_key(*name);
        let whole = INTERFACES.iter().all(there) && self.notes_are_open() && self.notes_say();
        if free && whole && self.on_trial() == Some(false) && self.faults.is_empty() {
            self.is_as_wanted();
        }
    }

    fn hear_all(&mut self) {
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            daemon.core.hear(Heard::Missed, now);
        }
    }

    /// Sees to it that a daemon runs: whoever keeps the machine gives it a file that can be run.
    fn lives(&mut self) {
        for _ in 0..5 {
            self.advance(self.now() + Duration::from_secs(90));
            if self.daemon.is_some() || !self.faults.is_empty() {
                return;
            }
            let text = file(&mut self.dice);
            *self.disk.borrow_mut() = Some(text);
            // Another program's tables, of which no note says that they are flbc's, are for an operator to remove.
            let mut fake = self.fake.borrow_mut();
            let observed = &mut fake.observed;
            for table in [&mut observed.inet, &mut observed.netdev] {
                // Whatever is hers.
                let is_strange = |table: &ObservedTable| {
                    let chain = table.chains.iter().any(|it| *it.name == *"hers");
                    chain || table.sets.iter().any(|it| *it.name == *"hers")
                };
                if table.as_ref().is_some_and(is_strange) {
                    *table = None;
                }
            }
        }
        self.fault("the daemon does not begin".to_owned());
    }

    fn is_as_wanted(&mut self) {
        let mut why = Vec::new();
        for one in self.possible.all.clone() {
            match self.fits(&one) {
                Ok(()) => {
                    self.possible.all = vec![one];
                    return;
                }
                Err(error) => why.push(error),
            }
        }
        self.fault(format!("not as wanted: {}", why.join("\n  or ")));
    }

    /// Whether the tables are what is wanted, and nothing else.
    fn fits(&mut self, wanted: &Wanted) -> Result<(), String> {
        let mut tables = self.tables("flbc", 202, std::rc::Rc::default());
        let observed = self.fake.borrow().observed.clone();
        let idle = self.daemon.as_ref().is_some_and(|it| it.core.is_idle());
        let Some(file) = &wanted.file else {
            let noted = tables.last().is_some();
            // What others make, and what a run left that was killed, is nothing of the daemon's.
            return if noted {
                Err("there are tables, and nothing is wanted".to_owned())
            } else if idle {
                Ok(())
            } else {
                Err("nothing is wanted, and the daemon keeps something".to_owned())
            };
        };
        let mut declared = model(file);
        let mut sink = Diagnostics::new();
        let completed = tables.complete(&mut declared, &mut sink);
        completed.map_err(|error| error.to_string())?;
        let layers = wanted.layers.clone().beside(&declared).0;
        let effective = Effective::of(declared, layers, [].into());
        let look = tables.look().map_err(|error| error.to_string())?;
        let Some(known) = &look.known else {
            return Err(format!("no note says what is in force: {:?}", look.gaps));
        };
        let (has, should) = (words(known.model()), words(effective.model()));
        if has != should {
            return Err(differ(&should, &has));
        }
        if look.in_force() != Some(true) {
            return Err(format!("not in force: {:?} {:?}", look.gaps, look.drift));
        }
        let plan = schedule(known.model(), &mut sink);
        let rules = lower::lower(known.model(), &plan, &known.numbers, TABLE);
        let interfaces = self.fake.borrow().interfaces.clone();
        let desired = desired(rules, &interfaces).map_err(|missing| format!("{missing:?}"))?;
        let mut changes = diff(&observed, desired, &"flbc x".into());
        // A slot that no rule draws does nothing, whoever put it there; of those nobody reads more than are drawn.
        changes.retain(|change| {
            !matches!(&change.step, Step::DeleteElements { set, .. } if **set == *name::SLOTS)
        });
        if !changes.is_empty() {
            return Err(format!("the kernel has something else: {changes:?}"));
        }
        if idle {
            return Err("the daemon is idle".to_owned());
        }
        Ok(())
    }

    /// Whether nothing is done any more, also by whoever looks at all of it.
    fn is_at_rest(&mut self) {
        let generation = self.fake.borrow().observed.generation;
        self.hear_all();
        self.advance(self.now() + Duration::from_secs(300));
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon
            .orders
            .retain(|at| *at + Duration::from_secs(30) > self.fake.borrow().now);
        let orders = daemon.orders.len();
        let timeout = daemon.core.timeout();
        if orders > 0 || timeout.is_some() {
            self.fault(format!("{orders} orders at rest, and then {timeout:?}"));
        }
        if generation != self.fake.borrow().observed.generation {
            self.fault("something was committed without a reason".to_owned());
        }
    }
}

/// A model in words, without where it stands in a file.
fn words(model: &Model) -> String {
    // A note has no places.
    let bytes = postcard::to_stdvec(model).expect("plain data");
    let plain: Model = postcard::from_bytes(&bytes).expect("what was written");
    format!("{plain:?}")
}

/// Where two texts begin to differ.
fn differ(wanted: &str, has: &str) -> String {
    let same = wanted
        .bytes()
        .zip(has.bytes())
        .take_while(|(one, other)| one == other);
    let from = same.count().saturating_sub(200);
    let part = |text: &str| -> String { text.chars().skip(from).take(400).collect() };
    format!("wanted: …{}\n    noted: …{}", part(wanted), part(has))
}

//! The daemon of a simulated machine: as `flbc run` has it, but for what waits, listens and prints.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use flbc::control::{Kind, Looks, Record, Said};
use flbc::daemon::core::{Core, PATIENCE};
use flbc::daemon::hands::{Caller, Files, Hands, Performed, Wants};
use flbc::daemon::order::{Done, Heard, Order, Outcome, Why};
use flbc::diagnostic::Diagnostics;
use flbc::kernel::events::{Event, Watch as _};
use flbc::model::Model;
use flbc::notes::lock::Lock;
use flbc::operate::Refused;
use flbc::source::Sources;

use super::author::read;
use super::mortal::{Mortal, lives};
use super::planted::Planted;
use super::wanted::Asked;

/// The file on the disk; `None`: there is none.
pub(crate) type Disk = Rc<RefCell<Option<Rc<str>>>>;

/// The file as the daemon reads it.
pub(crate) struct Paper {
    pub(crate) disk: Disk,
    /// What was read last, if it had no fault.
    pub(crate) read: Option<Rc<str>>,
    /// Whether it had none when it was last read.
    pub(crate) is_sound: bool,
}

impl Files for Paper {
    fn read(&mut self, sink: &mut Diagnostics) -> Option<Model> {
        self.is_sound = false;
        let text = self.disk.borrow().clone()?;
        let model = read(&text, &mut Sources::new(), sink)?;
        if !model.services.is_empty() {
            self.read = Some(text);
            self.is_sound = true;
        }
        Some(model)
    }

    fn told(&self, sink: &Diagnostics, _looks: Looks) -> String {
        let faults = sink.sorted();
        faults.iter().map(|fault| fault.message.clone()).collect()
    }

    fn refused(&self, refused: &Refused, mut sink: Diagnostics, looks: Looks) -> Said {
        let mut said = Said::default();
        if let Some(sentence) = refused.report(&mut sink) {
            said.fail(&sentence);
        }
        said.show(&self.told(&sink, looks));
        said.end(refused.exit());
        said
    }

    fn name(&self) -> &'static str {
        "lb.flb"
    }
}

/// What somebody asked for over the socket.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Reload,
    Set(Asked),
}

/// What came of an order.
pub(crate) struct Did {
    pub(crate) order: &'static str,
    pub(crate) kind: Done,
    pub(crate) waits: bool,
    pub(crate) outcome: String,
    /// Whether another flbc was at work.
    pub(crate) busy: bool,
    /// Whether all was found to be as it should be.
    pub(crate) in_force: bool,
    pub(crate) records: Vec<Record>,
    /// Who was told what.
    pub(crate) answers: Vec<(Ask, Said)>,
    /// What it dies of.
    pub(crate) fatal: Option<String>,
}

/// What became of a look for something to do.
pub(crate) enum Worked {
    Nothing,
    Did(Did),
    /// It was killed in the middle of an order: what was asked for then.
    Killed(&'static str, Done, Vec<Ask>),
}

pub(crate) struct Daemon {
    pub(crate) hands: Hands<Mortal, Paper>,
    pub(crate) core: Core<Caller<u64>>,
    pub(crate) asked: BTreeMap<u64, (Ask, Duration)>,
    pub(crate) planted: Option<Planted>,
    pub(crate) held: bool,
    /// When it did something last, the first of them first: as many as may be within a minute.
    pub(crate) orders: VecDeque<Duration>,
    next: u64,
    _only_one: Lock,
}

impl Daemon {
    pub(crate) fn new(
        mut hands: Hands<Mortal, Paper>,
        only_one: Lock,
        planted: Option<Planted>,
    ) -> Self {
        let mut fake = hands.tables.kernel.fake.borrow_mut();
        let now = fake.now;
        // What is there at the beginning is no news.
        fake.happenings = None;
        let _ = fake.events();
        drop(fake);
        hands.tables.force = false;
        Self {
            hands,
            core: Core::new(now),
            asked: BTreeMap::new(),
            planted,
            held: false,
            orders: VecDeque::new(),
            next: 0,
            _only_one: only_one,
        }
    }

    fn now(&self) -> Duration {
        self.hands.tables.kernel.fake.borrow().now
    }

    pub(crate) fn ask(&mut self, ask: Ask) {
        let (now, client) = (self.now(), self.next);
        self.next += 1;
        let heard = match &ask {
            Ask::Reload => Heard::Reload(Caller {
                client,
                by: Vec::new(),
                wants: Wants::Reload(Looks::default()),
            }),
            Ask::Set((server, demand)) => Heard::Set(Caller {
                client,
                by: Vec::new(),
                wants: Wants::Set {
                    server: server.clone(),
                    demand: *demand,
                },
            }),
        };
        self.asked.insert(client, (ask, now));
        self.core.hear(heard, now);
    }

    /// Hears what the kernel tells; `None`: it is killed by that.
    pub(crate) fn listen(&mut self) -> Option<Vec<Record>> {
        let now = self.now();
        let events = self.hands.tables.kernel.fake.borrow_mut().events();
        let mut records = Vec::new();
        for event in events.unwrap_or_default() {
            if self.planted.is_some_and(|it| it.is_deaf_to(&event)) {
                continue;
            }
            let (heard, said) = lives(|| self.hands.hear(event))?;
            records.extend(said);
            if let Some(heard) = heard {
                self.core.hear(heard, now);
            }
        }
        Some(records)
    }

    /// Does what is to be done first.
    pub(crate) fn work(&mut self) -> Worked {
        let now = self.now();
        let gave_up = self.give_up(now);
        let order = match self.core.next(now) {
            Some(order) => order,
            None if gave_up.is_empty() => return Worked::Nothing,
            None => {
                return Worked::Did(Did {
                    order: "gives up",
                    kind: Done::Set,
                    waits: false,
                    outcome: String::new(),
                    in_force: false,
                    busy: false,
                    records: Vec::new(),
                    answers: gave_up,
                    fatal: None,
                });
            }
        };
        let (kind, name) = (order.kind(), name(&order));
        let meant = self.meant(&order);
        let others = self.core.others().to_vec();
        let performed = lives(|| {
            let performed = self.hands.perform(order, &others);
            match self.planted {
                Some(planted) => planted.spoil(performed, &mut self.hands, &others),
                None => performed,
            }
        });
        let Some(performed) = performed else {
            return Worked::Killed(name, kind, meant);
        };
        let after = self.now();
        let Performed {
            outcome,
            mut events,
            answers,
            fatal,
            ..
        } = performed;
        let word: String = format!("{outcome:?}").chars().take(40).collect();
        let waits = matches!(outcome, Outcome::Waits);
        let busy = matches!(outcome, Outcome::Busy(_));
        let in_force = matches!(outcome, Outcome::InForce { whole: true, .. });
        let mut told = gave_up;
        for (client, said) in answers {
            told.extend(self.asked.remove(&client).map(|(ask, _)| (ask, said)));
        }
        if fatal.is_none() {
            let took = after.saturating_sub(now);
            self.core.done(outcome, kind, took, after);
        }
        let pause = self.core.held(after);
        if pause.is_some() && !self.held {
            events.push(Record::new(
                0,
                flbc::control::Level::Error,
                Kind::RepairHeld,
                String::new(),
            ));
        }
        self.held = pause.is_some();
        self.orders.push_back(after);
        Worked::Did(Did {
            order: name,
            kind,
            waits,
            outcome: word,
            in_force,
            busy,
            records: events,
            answers: told,
            fatal: fatal.map(|said| said.err),
        })
    }

    /// Those who wait for another flbc that does not end are told so.
    fn give_up(&mut self, now: Duration) -> Vec<(Ask, Said)> {
        let waiting = self.core.waiting();
        if waiting.is_none_or(|since| now < since + PATIENCE) {
            return Vec::new();
        }
        let mut said = Said::default();
        said.end(flbc::diagnostic::Exit::Busy);
        let all = self.core.give_up().into_iter();
        let asks = all.filter_map(|caller| self.asked.remove(&caller.client));
        asks.map(|(ask, _)| (ask, said.clone())).collect()
    }

    fn meant(&self, order: &Order<Caller<u64>>) -> Vec<Ask> {
        let of = |caller: &Caller<u64>| self.asked.get(&caller.client).map(|(ask, _)| ask.clone());
        match order {
            Order::Set(callers) => callers.iter().filter_map(of).collect(),
            Order::Start | Order::Look { .. } | Order::Enforce(_) | Order::Reload(_) => Vec::new(),
        }
    }
}

fn name(order: &Order<Caller<u64>>) -> &'static str {
    match order {
        Order::Start => "start",
        Order::Look { whole: true } => "whole look",
        Order::Look { whole: false } => "quick look",
        Order::Enforce(Why::Repair) => "repair",
        Order::Enforce(Why::Interfaces) => "follow",
        Order::Enforce(Why::Set) => "set at last",
        Order::Enforce(Why::Again) => "again",
        Order::Reload(_) => "reload",
        Order::Set(_) => "set",
    }
}

/// Whether it was done, in part at least.
pub(crate) fn is_done(said: &Said) -> bool {
    matches!(said.exit, 0 | 6)
}

/// Whether an event is about an interface that came or is called so now.
pub(crate) fn is_coming(event: &Event) -> bool {
    match event {
        Event::LinkCame(_) => true,
        Event::LinkChanged { before, after } => before.name != after.name,
        _ => false,
    }
}

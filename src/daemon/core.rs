//! What to do next: all that the daemon decides, told the time and what it hears, without touching anything.
//!
//! ```text
//! what happens ──hear──▶ Core ──next──▶ an order ──▶ whoever has hands
//!                         ▲                              │
//!                         └──────────done────────────────┘
//! ```
//!
//! One order at a time is carried out, and what came of it is said before the next one is asked for. So this knows at any
//! moment what is known: it may be killed between any two steps, and the next one begins by looking.

use std::time::Duration;

use crate::kernel::events::Process;

use super::order::{Done, Heard, Order, Outcome, Why};
use super::pace::{Repairs, Retries};

/// What the daemon keeps.
#[derive(Debug)]
pub struct Core<C> {
    stage: Stage,
    /// The last generation at which all was known to be in force.
    known: Option<u32>,
    /// Who committed something since.
    others: Vec<Process>,
    due: Due<C>,
    repairs: Repairs,
    retries: Retries,
    /// When a whole look may be next: it costs what there is to be read.
    no_look_before: Duration,
    /// When it may be looked for the tables next.
    no_quick_before: Duration,
    /// When the last change that was asked for was made.
    last_change: Option<Duration>,
    /// Since when another flbc is waited for.
    waiting: Option<Duration>,
    /// When it is looked next whether that one has ended: whatever is to be done, one try tells it for all.
    busy_until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was made to be in force yet.
    Starting,
    /// It keeps something in force.
    Keeping,
    /// A trial is open.
    OnTrial,
    /// Nothing is to be in force.
    Idle,
}

/// What is to be done, and when.
#[derive(Debug)]
struct Due<C> {
    start: Option<Duration>,
    quick: Option<Duration>,
    whole: Option<Duration>,
    enforce: Option<(Duration, Why)>,
    reload: Option<Duration>,
    reloads: Vec<C>,
    files: bool,
    sets: Vec<C>,
    set: Option<Duration>,
}

/// So many names of others are kept.
const MOST_OTHERS: usize = 8;

/// How far apart the machine's interfaces are followed: one that goes up and down all the time must not take a core.
const INTERFACES: Duration = Duration::from_millis(250);

/// How far apart the tables are looked for when others commit all the time.
const QUICK: Duration = Duration::from_millis(20);

/// How often it is looked whether another flbc has ended, and how long it is waited for.
const BUSY: Duration = Duration::from_millis(20);
/// How long another flbc is waited for before whoever asked is told.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether a trial is over.
const TRIAL: Duration = Duration::from_millis(500);

/// A whole look takes at most one part in so many of the time.
const LOOKS: u32 = 10;

impl<C> Core<C> {
    /// At the beginning: the first order is [`Order::Start`].
    pub fn new(now: Duration) -> Self {
        Self {
            stage: Stage::Starting,
            known: None,
            others: Vec::new(),
            due: Due {
                start: Some(now),
                quick: None,
                whole: None,
                enforce: None,
                reload: None,
                reloads: Vec::new(),
                files: false,
                sets: Vec::new(),
                set: None,
            },
            repairs: Repairs::default(),
            retries: Retries::default(),
            no_look_before: Duration::ZERO,
            no_quick_before: Duration::ZERO,
            last_change: None,
            waiting: None,
            busy_until: Duration::ZERO,
        }
    }

    /// Hears something.
    pub fn hear(&mut self, heard: Heard<C>, now: Duration) {
        match heard {
            Heard::Generation { number, by } => {
                // The notice of a transaction of this process's own comes behind it.
                if self.known.is_some_and(|known| !is_after(number, known)) {
                    return;
                }
                if let Some(by) = by
                    && !self.others.contains(&by)
                    && self.others.len() < MOST_OTHERS
                {
                    self.others.push(by);
                }
                sooner(&mut self.due.quick, now.max(self.no_quick_before));
            }
            Heard::Turn => sooner(&mut self.due.quick, now + BUSY),
            Heard::Interfaces => self.follow(now),
            Heard::Missed => {
                sooner(&mut self.due.quick, now);
                self.follow(now);
            }
            Heard::Files => {
                self.due.files = true;
                sooner(&mut self.due.reload, now);
            }
            Heard::Reload(client) => {
                self.due.reloads.push(client);
                self.due.reload = Some(now);
            }
            Heard::Set(client) => {
                self.due.sets.push(client);
                // Whoever comes while others' are made is done with those who come meanwhile.
                sooner(&mut self.due.set, now);
            }
        }
    }

    fn follow(&mut self, now: Duration) {
        if self.stage == Stage::Idle || self.stage == Stage::Starting {
            return;
        }
        let at = self
            .last_change
            .map_or(now, |last| now.max(last + INTERFACES));
        self.behind(Why::Interfaces, at);
    }

    /// What is in force is to follow what should be. A repair does so too; one that is held off is not brought forward by
    /// this, or whoever fights would only have to pull a cable now and then.
    fn behind(&mut self, why: Why, at: Duration) {
        match &mut self.due.enforce {
            Some((_, Why::Repair)) => {}
            Some((when, _)) if *when <= at => {}
            other => *other = Some((at, why)),
        }
    }

    /// What is to be done now, if anything is.
    pub fn next(&mut self, now: Duration) -> Option<Order<C>> {
        if now < self.busy_until {
            return None;
        }
        let due = &mut self.due;
        if take(&mut due.start, now) {
            return Some(Order::Start);
        }
        if self.stage == Stage::Starting {
            return None;
        }
        // Whoever asks waits.
        if take(&mut due.set, now) {
            return Some(Order::Set(std::mem::take(&mut due.sets)));
        }
        if take(&mut due.reload, now) {
            let client = if due.reloads.is_empty() {
                None
            } else {
                Some(due.reloads.remove(0))
            };
            due.files = false;
            if !due.reloads.is_empty() {
                due.reload = Some(now);
            }
            return Some(Order::Reload(client));
        }
        if take(&mut due.quick, now) {
            return Some(Order::Look { whole: false });
        }
        if self.stage != Stage::OnTrial
            && let Some((at, why)) = due.enforce
            && at <= now
        {
            due.enforce = None;
            return Some(Order::Enforce(why));
        }
        if take(&mut due.whole, now) {
            return Some(Order::Look { whole: true });
        }
        None
    }

    /// What came of an order that took so long.
    pub fn done(&mut self, outcome: Outcome<C>, order: Done, took: Duration, now: Duration) {
        if !matches!(outcome, Outcome::Busy(_)) {
            self.waiting = None;
        }
        match outcome {
            Outcome::Done { known } => self.is_done(order, known, now),
            Outcome::Repaired { known } => {
                self.repairs.repaired(now);
                self.is_done(order, known, now);
            }
            Outcome::Busy(order) => {
                self.waiting.get_or_insert(now);
                self.busy_until = now + BUSY;
                self.again(order, self.busy_until);
            }
            Outcome::OnTrial(order) => {
                if self.stage != Stage::Starting {
                    self.stage = Stage::OnTrial;
                }
                self.again(order, now + TRIAL);
            }
            Outcome::InForce { generation, whole } => {
                if self.stage != Stage::Starting {
                    self.stage = Stage::Keeping;
                }
                if whole {
                    self.known = Some(generation);
                    self.others.clear();
                    self.no_look_before = now + took * LOOKS;
                } else {
                    self.no_quick_before = now + QUICK;
                    sooner(&mut self.due.whole, now.max(self.no_look_before));
                }
            }
            Outcome::Broken => {
                self.stage = Stage::Keeping;
                self.due.whole = None;
                self.no_look_before = now + took * LOOKS;
                let at = self.repairs.when(now);
                self.due.enforce = Some((at, Why::Repair));
            }
            Outcome::Behind(why) => {
                self.stage = Stage::Keeping;
                self.due.whole = None;
                self.no_look_before = now + took * LOOKS;
                self.behind(why, now);
            }
            Outcome::Unloaded => {
                self.stage = Stage::Idle;
                self.known = None;
                self.others.clear();
                self.due.enforce = None;
                self.due.whole = None;
            }
            Outcome::Waits => self.stage = Stage::Keeping,
            Outcome::Unnoted { repaired } => {
                self.stage = Stage::Keeping;
                if repaired {
                    self.repairs.repaired(now);
                }
                self.failed(order, now);
            }
            Outcome::Failed => self.failed(order, now),
        }
    }

    fn failed(&mut self, order: Done, now: Duration) {
        // Whoever asked was told, and asks again.
        if matches!(order, Done::Reload | Done::Set) {
            return;
        }
        let at = self.retries.failed(now);
        match order {
            Done::Start => self.due.start = Some(at),
            Done::Look => sooner(&mut self.due.whole, at),
            Done::Enforce(Why::Repair) => {
                let at = at.max(self.repairs.when(now));
                self.due.enforce = Some((at, Why::Repair));
            }
            Done::Enforce(_) => self.due.enforce = Some((at, Why::Again)),
            Done::Reload | Done::Set => {}
        }
    }

    fn is_done(&mut self, order: Done, known: Option<u32>, now: Duration) {
        self.retries.worked();
        self.last_change = Some(now);
        match order {
            Done::Start | Done::Reload => {
                self.stage = Stage::Keeping;
                self.due.enforce = None;
                self.repairs.forgive();
            }
            Done::Enforce(_) => self.stage = Stage::Keeping,
            Done::Look | Done::Set => {}
        }
        self.know(known, now);
    }

    fn know(&mut self, known: Option<u32>, now: Duration) {
        self.known = known;
        if known.is_some() {
            self.others.clear();
            self.due.quick = None;
            self.due.whole = None;
        } else if self.stage == Stage::Keeping {
            // Somebody came right behind, or what is there could not be noted.
            sooner(&mut self.due.whole, now.max(self.no_look_before));
        }
    }

    /// What could not be done yet is to be done again.
    fn again(&mut self, order: Order<C>, at: Duration) {
        match order {
            Order::Start => self.due.start = Some(at),
            Order::Look { whole: true } => sooner(&mut self.due.whole, at),
            Order::Look { whole: false } => sooner(&mut self.due.quick, at),
            Order::Enforce(why) => {
                self.due.enforce = Some((at, why));
                // A trial ends in silence.
                if self.stage == Stage::OnTrial {
                    sooner(&mut self.due.quick, at);
                }
            }
            Order::Reload(client) => {
                match client {
                    Some(client) => self.due.reloads.insert(0, client),
                    None => self.due.files = true,
                }
                self.due.reload = Some(at);
            }
            Order::Set(mut clients) => {
                clients.append(&mut self.due.sets);
                self.due.sets = clients;
                self.due.set = Some(at);
            }
        }
    }

    /// Nobody waits any longer for the other flbc: those who asked for something, and are to be told.
    pub fn give_up(&mut self) -> Vec<C> {
        self.waiting = None;
        let mut all = std::mem::take(&mut self.due.sets);
        self.due.set = None;
        all.append(&mut self.due.reloads);
        if !self.due.files {
            self.due.reload = None;
        }
        all
    }

    /// When there is something to do, and what for; `None`: only what is heard gives something to do.
    pub fn timeout(&self) -> Option<(Duration, &'static str)> {
        let due = &self.due;
        let mut all = vec![(due.start, "start")];
        if self.stage != Stage::Starting {
            let enforce = due.enforce.filter(|_| self.stage != Stage::OnTrial);
            all.extend([
                (due.set, "set"),
                (due.reload, "reload"),
                (due.quick, "look for the tables"),
                (enforce.map(|(at, _)| at), "enforce"),
                (due.whole, "look"),
            ]);
        }
        let each = all.into_iter().filter_map(|(at, why)| Some((at?, why)));
        let (at, why) = each.min()?;
        Some((at.max(self.busy_until), why))
    }

    /// Who committed something since all was known to be in force, the first ones first.
    pub fn others(&self) -> &[Process] {
        &self.others
    }

    /// Since when another flbc is waited for.
    pub const fn waiting(&self) -> Option<Duration> {
        self.waiting
    }

    /// Until when what is broken stays so, if that was repaired too often.
    pub fn held(&self, now: Duration) -> Option<Duration> {
        let (at, why) = self.due.enforce?;
        at.checked_sub(now)
            .filter(|left| why == Why::Repair && !left.is_zero() && self.repairs.holds(now))
    }

    /// Whether nothing is to be in force.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Whether a trial is open.
    pub fn is_on_trial(&self) -> bool {
        self.stage == Stage::OnTrial
    }

    /// Whether nothing was made to be in force yet.
    pub fn is_starting(&self) -> bool {
        self.stage == Stage::Starting
    }
}

/// Whether a generation came after another one: they are counted round and round.
const fn is_after(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() > 0
}

fn sooner(due: &mut Option<Duration>, at: Duration) {
    *due = Some(due.map_or(at, |due| due.min(at)));
}

/// Whether it is time; it is not due any more then.
fn take(due: &mut Option<Duration>, now: Duration) -> bool {
    let is_time = due.is_some_and(|at| at <= now);
    if is_time {
        *due = None;
    }
    is_time
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What could not be noted is tried again, and nobody is said to fight.
    #[test]
    fn what_fails_is_not_told_as_a_fight() {
        let now = Duration::from_secs(1_000);
        let mut core: Core<()> = Core::new(now);
        let mut done = |outcome, order| {
            core.done(outcome, order, Duration::ZERO, now);
            core.held(now)
        };
        done(Outcome::Done { known: Some(1) }, Done::Start);
        assert_eq!(done(Outcome::Broken, Done::Look), None);
        let unnoted = Outcome::Unnoted { repaired: true };
        assert_eq!(done(unnoted, Done::Enforce(Why::Repair)), None);
        // Whoever takes it away for the fourth time within a minute does.
        for _ in 0..2 {
            assert_eq!(done(Outcome::Broken, Done::Look), None);
            let repaired = Outcome::Repaired { known: Some(1) };
            assert_eq!(done(repaired, Done::Enforce(Why::Repair)), None);
        }
        let held = done(Outcome::Broken, Done::Look);
        assert_eq!(held, Some(Duration::from_secs(60)));
    }
}

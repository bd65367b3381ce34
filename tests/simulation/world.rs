//! A simulated machine: one kernel, one folder of notes, one file, a clock that jumps, and whoever is at work there.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;
use std::time::Duration;
use std::{fs, mem};

use flbc::apply::Tables;
use flbc::control::Kind;
use flbc::daemon::hands::Hands;
use flbc::daemon::order::Heard;
use flbc::kernel::events::Process;
use flbc::kernel::fake::Fake;
use flbc::model::MacAddress;
use flbc::notes::Notes;
use flbc::notes::lock::Lock;
use flbc::notes::trial::Trials;
use flbc::operate::Refused;
use flbc::operate::trial::{Next, Watcher};
use tempfile::TempDir;

use super::author::{Dice, INTERFACES, file, is_sound};
use super::daemon::{Daemon, Disk, Paper};
use super::deeds::Deed;
use super::mortal::{Fate, Mortal, lives};
use super::planted::Planted;
use super::wanted::Possible;

/// The tables.
pub(crate) const TABLE: &str = "flbc";

/// When a machine begins.
pub(crate) const BEGINNING: Duration = Duration::from_secs(1_000);

/// What is to happen later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Later {
    Start,
    LetGo,
    OpenNotes,
    Comes(&'static str),
    CalledAgain(&'static str),
    SwitchOn(&'static str),
}

pub(crate) struct World {
    pub(crate) fake: Rc<RefCell<Fake>>,
    pub(crate) folder: TempDir,
    pub(crate) disk: Disk,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) fate: Rc<Fate>,
    pub(crate) watcher: Option<(Watcher, Duration)>,
    pub(crate) possible: Possible,
    pub(crate) dice: Dice,
    pub(crate) later: Vec<(Duration, Later)>,
    /// Another flbc that hangs.
    pub(crate) hangs: Option<Lock>,
    /// Who broke the tables last, if the daemon can know it.
    pub(crate) culprit: Option<Process>,
    pub(crate) tally: BTreeMap<Deed, u64>,
    pub(crate) kinds: BTreeMap<Kind, u64>,
    /// What was found.
    pub(crate) faults: Vec<String>,
    pub(crate) log: VecDeque<String>,
    /// Whether all notes were lost, and the daemon may not have written them anew.
    pub(crate) lost: bool,
    /// What the file said when a daemon read it last that did not end by itself.
    pub(crate) kept: Option<Rc<str>>,
    /// What the daemon did last.
    pub(crate) last: &'static str,
    /// What it said when it was read last.
    pub(crate) said: Option<Rc<str>>,
    pub(crate) planted: Option<Planted>,
    pub(crate) repairs: VecDeque<Duration>,
}

/// So many lines of what happened are kept.
const LOG: usize = 200;

impl World {
    pub(crate) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut dice = Dice::new(seed);
        let mut fake = Fake {
            now: BEGINNING,
            ..Fake::default()
        };
        // Generations are counted round and round: some machines are about to begin anew.
        fake.observed.generation = if dice.one_in(2) { u32::MAX - 100 } else { 1 };
        for name in INTERFACES {
            let mac = mac(&mut dice);
            fake.link_comes(name, Some(mac));
            fake.switch(name, true);
        }
        let folder = ["/dev/shm", "/tmp"]
            .into_iter()
            .find_map(|place| tempfile::tempdir_in(place).ok());
        let text = file(&mut dice);
        let mut world = Self {
            fake: Rc::new(RefCell::new(fake)),
            folder: folder.expect("a folder for notes"),
            disk: Rc::new(RefCell::new(Some(text))),
            daemon: None,
            fate: Rc::default(),
            watcher: None,
            possible: Possible::nothing(),
            dice,
            later: Vec::new(),
            hangs: None,
            culprit: None,
            tally: BTreeMap::new(),
            kinds: BTreeMap::new(),
            faults: Vec::new(),
            log: VecDeque::new(),
            lost: false,
            kept: None,
            last: "",
            said: None,
            planted,
            repairs: VecDeque::new(),
        };
        world.start();
        world
    }

    pub(crate) fn now(&self) -> Duration {
        self.fake.borrow().now
    }

    pub(crate) fn say(&mut self, text: String) {
        let line = format!("{:>12.3} {text}", self.now().as_secs_f64());
        if std::env::var_os("FLBC_SIM_LOUD").is_some() {
            eprintln!("{line}");
        }
        if self.log.len() >= LOG {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    pub(crate) fn fault(&mut self, text: String) {
        self.say(format!("FAULT: {text}"));
        self.faults.push(text);
    }

    pub(crate) fn after(&mut self, longest: u64, what: Later) {
        let pause = Duration::from_millis(self.dice.below(longest * 1_000));
        let at = self.now() + pause;
        self.later.push((at, what));
    }

    pub(crate) fn notes(&self) -> Notes {
        Notes::new(self.folder.path().join("run"))
    }

    /// Whether the folder of notes can be used.
    pub(crate) fn notes_are_open(&self) -> bool {
        let metadata = fs::metadata(self.folder.path().join("run"));
        metadata.map_or(true, |it| it.permissions().mode() & 0o022 == 0)
    }

    pub(crate) fn tables(&self, name: &str, id: u32, fate: Rc<Fate>) -> Tables<Mortal> {
        let kernel = Mortal {
            fake: self.fake.clone(),
            fate,
            process: Process {
                id,
                name: name.to_owned(),
            },
        };
        Tables::new(kernel, self.notes(), TABLE)
    }

    /// Somebody runs a command, and may be killed after so many calls.
    pub(crate) fn operate<T>(
        &mut self,
        dies: Option<(u32, bool)>,
        act: impl FnOnce(&mut Tables<Mortal>) -> Result<T, Refused>,
    ) -> Option<Result<T, Refused>> {
        let fate = Rc::<Fate>::default();
        fate.dies.set(dies);
        let mut tables = self.tables("flbc", 200, fate);
        let done = lives(|| act(&mut tables));
        let word = match &done {
            None => "killed".to_owned(),
            Some(Ok(_)) => "done".to_owned(),
            Some(Err(refused)) => refused.to_string(),
        };
        self.say(format!("    {word}"));
        done
    }

    /// The trial that is open, as far as that can be told.
    pub(crate) fn on_trial(&self) -> Option<bool> {
        let trials = Trials::new(&self.notes(), TABLE).ok()?;
        trials.open(self.now()).ok().map(|open| open.is_some())
    }

    /// Whether there is a note on the tables.
    pub(crate) fn notes_say(&self) -> bool {
        let path = self.notes().file(TABLE, "state");
        path.is_ok_and(|path| path.exists())
    }

    /// A trial that is over and was not confirmed went back.
    pub(crate) fn follow_trial(&mut self) {
        if self.possible.before.is_some() && self.on_trial() == Some(false) {
            self.say("the trial went back".to_owned());
            self.possible.back();
            if !self.notes_are_open() {
                // What was set before could not be written down again: whoever goes back says so.
                self.possible.perhaps(Possible::forget);
            }
            let fake = self.fake.borrow();
            let is_gone = fake.observed.inet.is_none() && fake.observed.netdev.is_none();
            drop(fake);
            let runs = self
                .daemon
                .as_ref()
                .is_some_and(|it| !it.core.is_starting());
            if is_gone && !runs {
                // Nobody knows any more whether they were flushed or unloaded before.
                self.possible.perhaps(Possible::unload);
                let disk = self.disk.borrow().clone();
                if let Some(text) = disk.filter(|text| is_sound(text)) {
                    self.possible.perhaps(|it| it.apply(&text, true));
                }
            }
        }
    }

    /// Starts the daemon, if none runs; says whether it does.
    pub(crate) fn start(&mut self) -> bool {
        let Ok(Some(lock)) = self.notes().lock_of_daemon(TABLE) else {
            return false;
        };
        if self.daemon.is_some() {
            self.fault("a second daemon begins".to_owned());
            return false;
        }
        self.fate = Rc::default();
        let tables = self.tables("flbc", 100, self.fate.clone());
        let files = Paper {
            disk: self.disk.clone(),
            read: None,
            is_sound: false,
        };
        let hands = Hands::new(tables, files, None);
        self.daemon = Some(Daemon::new(hands, lock, self.planted));
        self.say("the daemon starts".to_owned());
        self.culprit = None;
        self.repairs.clear();
        true
    }

    /// Where all notes are lost and the daemon has not seen it yet, nobody else knows what was set.
    pub(crate) fn may_be_lost(&mut self) {
        if self.lost {
            self.possible.perhaps(super::wanted::Possible::forget);
        }
    }

    /// The daemon is gone, and starts again after a while.
    pub(crate) fn dies(&mut self) {
        self.may_be_lost();
        self.daemon = None;
        self.fake.borrow_mut().happenings = None;
        self.culprit = None;
        self.after(60, Later::Start);
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, until: Duration) {
        loop {
            self.settle();
            if !self.faults.is_empty() {
                return;
            }
            let now = self.now();
            let timeout = self.daemon.as_ref().and_then(|it| it.core.timeout());
            let watcher = self.watcher.as_ref().map(|(_, next)| *next);
            let later = self.later.iter().map(|(at, _)| *at).min();
            let waiting = self.daemon.as_ref().and_then(|it| it.core.waiting());
            let waiting = waiting.map(|since| since + flbc::daemon::core::PATIENCE);
            let all = [timeout.map(|(at, _)| at), watcher, later, waiting];
            let next = all.into_iter().flatten().min().unwrap_or(until);
            if next > until && now >= until {
                return;
            }
            let next = next.min(until);
            if next > now {
                self.fake.borrow_mut().now = next;
            } else if now >= until {
                return;
            }
            self.watch();
            self.catch_up();
        }
    }

    fn watch(&mut self) {
        let now = self.now();
        let Some((mut watcher, at)) = self.watcher.take() else {
            return;
        };
        if now < at {
            self.watcher = Some((watcher, at));
            return;
        }
        let lock = self.notes().lock(TABLE);
        let tables = self.tables("flbc", 201, Rc::default());
        match watcher.look(now, || lock, || Ok(tables)) {
            Next::Over => self.say("the watcher ends".to_owned()),
            Next::Look(pause) => {
                let at = self.now() + pause;
                self.watcher = Some((watcher, at));
            }
        }
        self.follow_trial();
    }

    fn catch_up(&mut self) {
        let now = self.now();
        let all = mem::take(&mut self.later);
        let (due, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| *at <= now);
        self.later = rest;
        for (_, what) in due {
            self.say(format!("then: {what:?}"));
            self.happens_now(what);
        }
    }

    pub(crate) fn happens_now(&mut self, what: Later) {
        match what {
            Later::Start => {
                if self.daemon.is_none() && !self.start() {
                    self.after(10, Later::Start);
                }
            }
            Later::LetGo => self.hangs = None,
            Later::OpenNotes => {
                let path = self.folder.path().join("run");
                let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
            }
            Later::Comes(name) => {
                if !self.fake.borrow().interfaces.contains_key(name) {
                    let mac = mac(&mut self.dice);
                    self.fake.borrow_mut().link_comes(name, Some(mac));
                    self.fake.borrow_mut().switch(name, true);
                    self.count(Deed::LinkComes);
                }
            }
            Later::CalledAgain(name) => self.rename(&away(name), name),
            Later::SwitchOn(name) => self.fake.borrow_mut().switch(name, true),
        }
    }

    pub(crate) fn count(&mut self, deed: Deed) {
        *self.tally.entry(deed).or_default() += 1;
    }

    /// Gives an interface another name; what is bound to it stays so.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let mut fake = self.fake.borrow_mut();
        if !fake.interfaces.contains_key(from) || fake.interfaces.contains_key(to) {
            return;
        }
        fake.link_renamed(from, to);
        let chains = fake.observed.netdev.iter_mut();
        let hooks = chains.flat_map(|table| &mut table.chains);
        for hook in hooks.filter_map(|chain| chain.hook.as_mut()) {
            for device in &mut hook.devices {
                if **device == *from {
                    *device = to.into();
                }
            }
        }
    }

    /// Takes an interface away, and what is bound to it alone.
    pub(crate) fn link_goes(&mut self, name: &str) {
        let mut fake = self.fake.borrow_mut();
        fake.link_goes(name);
        if let Some(netdev) = &mut fake.observed.netdev {
            netdev.chains.retain_mut(|chain| {
                chain.hook.as_mut().is_none_or(|hook| {
                    hook.devices.retain(|device| **device != *name);
                    !hook.devices.is_empty()
                })
            });
        }
    }

    pub(crate) fn hup(&mut self) {
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            daemon.core.hear(Heard::Files, now);
        }
    }
}

/// What an interface is called meanwhile.
pub(crate) fn away(name: &str) -> String {
    format!("{name}x")
}

pub(crate) fn mac(dice: &mut Dice) -> MacAddress {
    let [a, b] = [dice.index(256), dice.index(256)].map(|it| u8::try_from(it).unwrap());
    MacAddress([2, 0, 0, 1, a, b])
}

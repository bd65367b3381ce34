//! What happens: operators, other programs, interfaces, the file, the notes, and what kills or fails.

use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;
use std::time::Duration;
use std::{fs, mem};

use flbc::diagnostic::Diagnostics;
use flbc::kernel::events::Source;
use flbc::kernel::fake::Other;
use flbc::model::State;
use flbc::notes::trial::Trials;
use flbc::operate::set::{Demand, set};
use flbc::operate::trial::{Watcher, back, begin, confirm};
use flbc::operate::{Earlier, Job, turn};
use rustix::io::Errno;

use super::author::{INTERFACES, faulty, file, model};
use super::daemon::Ask;
use super::mortal::lives;
use super::strangers::{self, stranger};
use super::wanted::{Asked, Possible};
use super::world::{Later, TABLE, World, away, mac};

macro_rules! deeds {
    ($($name:ident,)+) => {
        /// What can happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Deed {
            $($name,)+
        }

        impl Deed {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

deeds! {
    // The daemon is asked, and killed.
    Reload, AsksToSet, Kill, KillInTheMiddle, Stop, Renew, SecondDaemon,
    // Operators.
    Apply, ApplyKeep, Set, Try, Confirm, Back, Unload, KilledOperator, Hang, WatcherKilled,
    // Other programs.
    Flush, DeleteTable, Dormant, AddRule, RemoveRule, AddElement, RemoveElement, AddChain, RemoveChain, AddSet,
    FlushSet, TakeOver, Elsewhere, InTheMiddle,
    // Interfaces.
    LinkGoes, LinkComes, LinkRenamed, LinkAnew, LinkMac, LinkFlaps,
    // The file.
    FileChanged, FileFaulty, FileEmptied, FileRemoved,
    // The kernel and the notes.
    Crowd, Memory, Sick, Missed, NotesClosed, NotesLost,
}

impl World {
    /// It happens; says whether it did anything.
    pub(crate) fn happens(&mut self, deed: Deed) -> bool {
        self.say(format!("{deed:?}"));
        let happened = match deed {
            Deed::Reload => self.ask(Ask::Reload),
            Deed::AsksToSet => {
                let asked = self.somebody();
                self.ask(Ask::Set(asked))
            }
            Deed::Kill => self.kill(),
            Deed::KillInTheMiddle => {
                let (calls, after) = (self.dice.below(60), self.dice.one_in(2));
                let calls = u32::try_from(calls).unwrap();
                self.fate.dies.set(Some((calls, after)));
                self.daemon.is_some()
            }
            Deed::Stop => self.stop(),
            Deed::Renew => self.kill() && self.start(),
            Deed::SecondDaemon => self.daemon.is_some() && !self.start(),
            Deed::Apply => self.apply(false),
            Deed::ApplyKeep => self.apply(true),
            Deed::Set => self.set(),
            Deed::Try => self.tries(None),
            Deed::Confirm => self.confirms(),
            Deed::Back => self.goes_back(),
            Deed::Unload => self.unload(None),
            Deed::KilledOperator => self.killed_operator(),
            Deed::Hang => self.hang(),
            Deed::WatcherKilled => self.watcher.take().is_some(),
            Deed::Flush
            | Deed::DeleteTable
            | Deed::Dormant
            | Deed::AddRule
            | Deed::RemoveRule
            | Deed::AddElement
            | Deed::RemoveElement
            | Deed::AddChain
            | Deed::RemoveChain
            | Deed::AddSet
            | Deed::FlushSet
            | Deed::TakeOver
            | Deed::Elsewhere => self.strange(deed),
            Deed::InTheMiddle => self.in_the_middle(),
            Deed::LinkGoes => self.link(|world, name| {
                world.link_goes(name);
                world.after(90, Later::Comes(name));
            }),
            Deed::LinkComes => self.comes(),
            Deed::LinkRenamed => self.link(|world, name| {
                world.rename(name, &away(name));
                world.after(90, Later::CalledAgain(name));
            }),
            Deed::LinkAnew => self.link(|world, name| {
                let mac = world.fake.borrow().macs.get(name).copied();
                world.link_goes(name);
                world.fake.borrow_mut().link_comes(name, mac);
                world.fake.borrow_mut().switch(name, true);
            }),
            Deed::LinkMac => self.link(|world, name| {
                let mac = mac(&mut world.dice);
                world.fake.borrow_mut().set_mac(name, mac);
            }),
            Deed::LinkFlaps => self.link(|world, name| {
                world.fake.borrow_mut().switch(name, false);
                world.after(10, Later::SwitchOn(name));
            }),
            Deed::FileChanged => {
                let text = file(&mut self.dice);
                self.write(Some(text))
            }
            Deed::FileFaulty => {
                let text = faulty(&mut self.dice);
                self.write(Some(text))
            }
            Deed::FileEmptied => self.write(Some("\n".into())),
            Deed::FileRemoved => self.write(None),
            Deed::Crowd => {
                let count = 1 + self.dice.index(25);
                let mut fake = self.fake.borrow_mut();
                fake.before.extend(vec![strangers::nothing as Other; count]);
                true
            }
            Deed::Memory => {
                let place = self.dice.index(6);
                let mut fake = self.fake.borrow_mut();
                fake.refuse = Some((fake.asked + place, Errno::NOMEM));
                true
            }
            Deed::Sick => {
                let calls = u32::try_from(self.dice.below(30)).unwrap();
                self.fate.fails.set(Some(calls));
                self.daemon.is_some()
            }
            Deed::Missed => self.missed(),
            Deed::NotesClosed => self.close_notes(),
            Deed::NotesLost => self.lose_notes(),
        };
        if happened && deed != Deed::LinkComes {
            self.count(deed);
        }
        happened
    }

    fn ask(&mut self, ask: Ask) -> bool {
        let Some(daemon) = &mut self.daemon else {
            return false;
        };
        daemon.ask(ask);
        true
    }

    fn kill(&mut self) -> bool {
        let runs = self.daemon.is_some();
        if runs {
            self.dies();
        }
        runs
    }

    /// It ends as it is told, and another one begins.
    fn stop(&mut self) -> bool {
        let Some(mut daemon) = self.daemon.take() else {
            return false;
        };
        if lives(|| daemon.hands.end()).is_some() {
            self.kept = None;
        }
        drop(daemon);
        self.dies();
        true
    }

    /// A server of what may be wanted, mostly, and what it is to be.
    fn somebody(&mut self) -> Asked {
        let all = &self.possible.all;
        let texts = all.iter().filter_map(|one| one.file.clone());
        let texts: Vec<Rc<str>> = texts.collect();
        let demand = match self.dice.below(3) {
            0 => Demand::Weight(u16::try_from(self.dice.below(5)).unwrap()),
            _ => Demand::State(self.dice.pick(&[State::Up, State::Drain, State::Down])),
        };
        if texts.is_empty() || self.dice.one_in(8) {
            return (("nobody".to_owned(), "w0".to_owned()), demand);
        }
        let model = model(&texts[self.dice.index(texts.len())]);
        let service = &model.services[self.dice.index(model.services.len())];
        let servers: Vec<_> = model.real_servers(service).collect();
        let server = &servers[self.dice.index(servers.len())];
        ((service.name.to_string(), server.name.to_string()), demand)
    }

    fn dies_after(&mut self) -> (u32, bool) {
        let calls = u32::try_from(self.dice.below(40)).unwrap();
        (calls, self.dice.one_in(2))
    }

    fn killed_operator(&mut self) -> bool {
        let dies = Some(self.dies_after());
        let which = self.dice.below(5);
        self.say(format!("    {which}: {:?}", self.possible.all.len()));
        match which {
            0 => self.applies(false, dies),
            1 => self.applies(true, dies),
            2 => self.sets(dies),
            3 => self.tries(dies),
            _ => self.unload(dies),
        };
        true
    }

    fn apply(&mut self, keep: bool) -> bool {
        self.applies(keep, None)
    }

    /// `flbc apply`
    pub(crate) fn applies(&mut self, keep: bool, dies: Option<(u32, bool)>) -> bool {
        let text = file(&mut self.dice);
        let declared = model(&text);
        let earlier = if keep {
            Earlier::Kept
        } else {
            Earlier::Dropped
        };
        let open = self.notes_are_open();
        self.may_be_lost();
        let done = self.operate(dies, |tables| {
            let mut sink = Diagnostics::new();
            let _turn = turn::take(tables)?;
            let job = Job::new(tables, declared, earlier, None, &mut sink)?;
            job.commit(tables, &mut sink)
        });
        self.follow_trial();
        match done {
            Some(Err(_)) => false,
            // What cannot be written down nobody knows of.
            Some(Ok(_)) if open => {
                self.culprit = None;
                self.possible.apply(&text, keep);
                true
            }
            None | Some(Ok(_)) => {
                self.culprit = None;
                // What was set ends before the tables change.
                if !keep {
                    self.possible.perhaps(Possible::forget);
                }
                self.possible.perhaps(|it| it.apply(&text, keep));
                true
            }
        }
    }

    fn set(&mut self) -> bool {
        self.sets(None)
    }

    /// `flbc set` of somebody who does not reach the daemon.
    fn sets(&mut self, dies: Option<(u32, bool)>) -> bool {
        let asked = self.somebody();
        let ((service, server), demand) = asked.clone();
        self.may_be_lost();
        let done = self.operate(dies, |tables| {
            let _turn = turn::take(tables)?;
            let mut sink = Diagnostics::new();
            set(tables, None, (&service, &server), demand, &mut sink)
        });
        self.follow_trial();
        match done {
            Some(Err(_)) => false,
            Some(Ok(_)) => {
                self.culprit = None;
                self.possible.set(&asked);
                true
            }
            None => {
                self.culprit = None;
                self.possible.perhaps(|it| it.set(&asked));
                true
            }
        }
    }

    /// `flbc try`
    fn tries(&mut self, dies: Option<(u32, bool)>) -> bool {
        let text = file(&mut self.dice);
        let declared = model(&text);
        let timeout = Duration::from_secs(2 + self.dice.below(40));
        let notes = self.notes();
        let mut watcher = None;
        let now = self.now();
        self.may_be_lost();
        let done = self.operate(dies, |tables| {
            let mut sink = Diagnostics::new();
            let _turn = turn::take(tables)?;
            let job = Job::new(tables, declared, Earlier::Dropped, None, &mut sink)?.whole();
            let watch = || {
                watcher = Some(Watcher::new(Trials::new(&notes, TABLE)?, now)?);
                Ok(())
            };
            begin(tables, &job, timeout, watch, &mut sink)
        });
        self.follow_trial();
        if let Some(watcher) = watcher {
            self.watcher = Some((watcher, self.now()));
        }
        match done {
            Some(Ok(Some(_))) => {
                self.culprit = None;
                self.possible.begin(&text);
                true
            }
            // Whoever begins is killed: the watcher goes back.
            None if self.on_trial() == Some(true) => {
                self.culprit = None;
                let before = self.possible.all.clone();
                self.possible.perhaps(|it| it.begin(&text));
                self.possible.before = Some(before);
                true
            }
            _ => false,
        }
    }

    fn confirms(&mut self) -> bool {
        if self.on_trial() != Some(true) && !self.tries(None) {
            return false;
        }
        let done = self.operate(None, confirm);
        let confirmed = matches!(done, Some(Ok(())));
        if confirmed {
            self.possible.before = None;
        }
        confirmed
    }

    fn goes_back(&mut self) -> bool {
        if self.on_trial() != Some(true) && !self.tries(None) {
            return false;
        }
        let done = self.operate(None, back);
        self.follow_trial();
        matches!(done, Some(Ok(_)))
    }

    /// `flbc unload`
    fn unload(&mut self, dies: Option<(u32, bool)>) -> bool {
        let open = self.notes_are_open();
        let done = self.operate(dies, |tables| {
            let _turn = turn::take(tables)?;
            Ok(tables.unload()?)
        });
        self.follow_trial();
        match done {
            Some(Err(_)) => false,
            Some(Ok(_)) if open && !self.lost => {
                self.culprit = None;
                self.possible.unload();
                true
            }
            None | Some(Ok(_)) => {
                self.culprit = None;
                self.possible.perhaps(|it| {
                    it.unload();
                });
                true
            }
        }
    }

    /// Another flbc is at work, for up to two minutes.
    fn hang(&mut self) -> bool {
        if self.hangs.is_some() {
            return false;
        }
        self.hangs = self.notes().lock(TABLE).ok().flatten();
        let longest = if self.dice.one_in(4) { 100 } else { 10 };
        self.after(longest, Later::LetGo);
        self.hangs.is_some()
    }

    /// What another program does to the tables.
    fn strange(&mut self, deed: Deed) -> bool {
        let by = stranger(&mut self.dice);
        let before = self.fake.borrow().observed.clone();
        let mut fake = self.fake.borrow_mut();
        fake.foreign(by.clone(), strangers::deed(deed, &mut self.dice));
        let broken = (&before.inet, &before.netdev) != (&fake.observed.inet, &fake.observed.netdev);
        drop(fake);
        let known = self.daemon.as_ref().is_some_and(|it| !it.core.is_idle());
        if broken && known && self.culprit.is_none() && self.on_trial() == Some(false) {
            self.culprit = Some(by);
        }
        broken || deed == Deed::Elsewhere
    }

    /// Another program comes while the daemon is at work.
    fn in_the_middle(&mut self) -> bool {
        let calls = u32::try_from(self.dice.below(30)).unwrap();
        let by = stranger(&mut self.dice);
        let deeds = [
            Deed::Flush,
            Deed::DeleteTable,
            Deed::Dormant,
            Deed::RemoveElement,
        ];
        let deed = strangers::deed(self.dice.pick(&deeds), &mut self.dice);
        let met = Box::new(move |fake: &mut flbc::kernel::fake::Fake| fake.foreign(by, deed));
        *self.fate.meets.borrow_mut() = Some((calls, met));
        self.culprit = None;
        self.daemon.is_some()
    }

    /// Something happens to an interface that is there.
    fn link(&mut self, act: impl FnOnce(&mut Self, &'static str)) -> bool {
        let name = self.dice.pick(&INTERFACES);
        let there = self.fake.borrow().interfaces.contains_key(name);
        if there {
            act(self, name);
        }
        there
    }

    fn comes(&mut self) -> bool {
        let gone = |(_, later): &(Duration, Later)| matches!(later, Later::Comes(_));
        let place = self.later.iter().position(gone);
        if let Some(place) = place {
            let (_, what) = self.later.remove(place);
            self.happens_now(what);
        }
        place.is_some()
    }

    fn write(&mut self, text: Option<Rc<str>>) -> bool {
        *self.disk.borrow_mut() = text;
        self.hup();
        true
    }

    /// More happens than the kernel keeps.
    fn missed(&mut self) -> bool {
        let source = self.dice.pick(&[Source::Rules, Source::Interfaces]);
        self.fake.borrow_mut().miss(source);
        if source == Source::Rules {
            let deeds = [Deed::Flush, Deed::RemoveRule, Deed::Elsewhere];
            let deed = self.dice.pick(&deeds);
            let deed = strangers::deed(deed, &mut self.dice);
            let by = stranger(&mut self.dice);
            self.fake.borrow_mut().foreign(by, deed);
        }
        self.culprit = None;
        self.daemon.is_some()
    }

    fn close_notes(&mut self) -> bool {
        let path = self.folder.path().join("run");
        let closed = fs::set_permissions(path, fs::Permissions::from_mode(0o777)).is_ok();
        self.after(40, Later::OpenNotes);
        closed
    }

    /// All notes are removed. What was set is lost if no daemon knows of it; and an open trial is over.
    fn lose_notes(&mut self) -> bool {
        // Who holds a lock in a folder that is gone holds nothing.
        if self.hangs.is_some() {
            return false;
        }
        let path = self.folder.path().join("run");
        let there = fs::read_dir(&path).into_iter().flatten().flatten();
        for entry in there {
            // The daemon's own lock: without it a second one would begin.
            if entry.path().extension().is_none_or(|end| end != "run") {
                let _ = fs::remove_file(entry.path());
            }
        }
        let before = mem::take(&mut self.possible.before);
        if let Some(before) = before {
            self.possible.perhaps(|it| it.all = before);
        }
        if self.daemon.is_none() {
            self.possible.forget();
        }
        self.kept = None;
        self.lost = true;
        true
    }
}

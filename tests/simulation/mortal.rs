//! A process as the kernel sees it: it can die at any call, before or after what the call does, and calls can fail.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use flbc::diff::{Counter, Observed, ObservedSet};
use flbc::emit::netlink::change::Change;
use flbc::emit::netlink::{Element, Interfaces, TableFamily};
use flbc::kernel::events::Process;
use flbc::kernel::fake::Fake;
use flbc::kernel::{
    Balanced, BaseChain, Committed, Connection, Counted, Flow, ForeignChain, Judged, Kernel,
    KernelError, Memory, Part, Recollection, Verdict,
};
use flbc::model::MacAddress;
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;

/// How long a call takes.
const CALL: Duration = Duration::from_micros(20);

/// What somebody else does in the middle of it.
pub(crate) type Deed = Box<dyn FnOnce(&mut Fake)>;

/// What is to become of a process.
#[derive(Default)]
pub(crate) struct Fate {
    /// After how many calls it dies, and whether the last one is still made.
    pub(crate) dies: Cell<Option<(u32, bool)>>,
    /// After how many calls one fails.
    pub(crate) fails: Cell<Option<u32>>,
    /// After how many calls somebody else does something.
    pub(crate) meets: RefCell<Option<(u32, Deed)>>,
}

/// What unwinds a process that was killed: nothing of it runs on but what the kernel does too, that files are closed.
struct Killed;

/// A process that asks the one kernel there is.
#[derive(Clone)]
pub(crate) struct Mortal {
    pub(crate) fake: Rc<RefCell<Fake>>,
    pub(crate) fate: Rc<Fate>,
    pub(crate) process: Process,
}

/// Lets a process do something; `None`: it was killed in the middle of it.
pub(crate) fn lives<T>(act: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => Some(done),
        Err(why) if why.is::<Killed>() => None,
        Err(why) => resume_unwind(why),
    }
}

impl Mortal {
    fn call<T>(&mut self, act: impl FnOnce(&mut Fake) -> T) -> T {
        let fate = &self.fate;
        let met = match &mut *fate.meets.borrow_mut() {
            Some((left @ 1.., _)) => {
                *left -= 1;
                false
            }
            Some((0, _)) => true,
            None => false,
        };
        if met && let Some((_, deed)) = fate.meets.take() {
            deed(&mut self.fake.borrow_mut());
        }
        let dies = match fate.dies.get() {
            Some((left @ 1.., after)) => {
                fate.dies.set(Some((left - 1, after)));
                None
            }
            Some((0, after)) => Some(after),
            None => None,
        };
        if dies == Some(false) {
            resume_unwind(Box::new(Killed));
        }
        let done = {
            let mut fake = self.fake.borrow_mut();
            fake.now += CALL;
            fake.process = Some(self.process.clone());
            act(&mut fake)
        };
        if dies == Some(true) {
            resume_unwind(Box::new(Killed));
        }
        done
    }

    fn ask<T>(
        &mut self,
        act: impl FnOnce(&mut Fake) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        match self.fate.fails.get() {
            Some(0) => {
                self.fate.fails.set(None);
                return self.call(|_| {
                    Err(KernelError::Failed {
                        doing: "ask the kernel",
                        errno: Errno::NOBUFS,
                    })
                });
            }
            Some(left) => self.fate.fails.set(Some(left - 1)),
            None => {}
        }
        self.call(act)
    }
}

impl Kernel for Mortal {
    fn generation(&mut self) -> Result<u32, KernelError> {
        self.ask(Kernel::generation)
    }

    fn identities(&mut self, table: &str) -> Result<[Option<String>; 2], KernelError> {
        self.ask(|fake| fake.identities(table))
    }

    fn observe_part(&mut self, table: &str, part: Part<'_>) -> Result<Observed, KernelError> {
        self.ask(|fake| fake.observe_part(table, part))
    }

    fn read_handles(&mut self, table: &str, observed: &mut Observed) -> Result<(), KernelError> {
        self.ask(|fake| fake.read_handles(table, observed))
    }

    fn commit(
        &mut self,
        table: &str,
        changes: &[Change],
        expected: u32,
    ) -> Result<Committed, KernelError> {
        self.ask(|fake| fake.commit(table, changes, expected))
    }

    fn counters(
        &mut self,
        table: &str,
        family: TableFamily,
        set: &str,
    ) -> Result<Vec<(Element, Counter)>, KernelError> {
        self.ask(|fake| fake.counters(table, family, set))
    }

    fn check(&mut self, table: &str, changes: &[Change]) -> Result<(), KernelError> {
        self.ask(|fake| fake.check(table, changes))
    }

    fn siblings(
        &mut self,
        own_table: &str,
        stem: &str,
    ) -> Result<Vec<(String, Vec<ObservedSet>)>, KernelError> {
        self.ask(|fake| fake.siblings(own_table, stem))
    }

    fn now(&mut self) -> Duration {
        self.call(|fake| fake.now)
    }

    fn clock(&mut self) -> u64 {
        self.call(Kernel::clock)
    }

    fn interfaces(&mut self) -> Result<Interfaces, KernelError> {
        self.ask(Kernel::interfaces)
    }

    fn mac_of(&mut self, interface: &str) -> Result<Option<MacAddress>, KernelError> {
        self.ask(|fake| fake.mac_of(interface))
    }

    fn base_chains(&mut self, own_table: &str) -> Result<Vec<BaseChain>, KernelError> {
        self.ask(|fake| fake.base_chains(own_table))
    }

    fn rules_of_chains(
        &mut self,
        chains: Vec<BaseChain>,
    ) -> Result<Vec<ForeignChain>, KernelError> {
        self.ask(|fake| fake.rules_of_chains(chains))
    }

    fn connections(&mut self, filter: &Balanced) -> Result<Vec<Connection>, KernelError> {
        self.ask(|fake| fake.connections(filter))
    }

    fn connections_by_mark(
        &mut self,
        which: Counted,
    ) -> Result<FxHashMap<u32, usize>, KernelError> {
        self.ask(|fake| fake.connections_by_mark(which))
    }

    fn memories(&mut self, table: &str) -> Result<Vec<Memory>, KernelError> {
        self.ask(|fake| fake.memories(table))
    }

    fn forget_remembered(
        &mut self,
        table: &str,
        servers: &FxHashSet<u32>,
        generation: u32,
    ) -> Result<(usize, u32), KernelError> {
        self.ask(|fake| fake.forget_remembered(table, servers, generation))
    }

    fn judge(&mut self, judge: &dyn Fn(&Connection) -> Verdict) -> Result<Judged, KernelError> {
        self.ask(|fake| fake.judge(judge))
    }

    fn recollections(&mut self, table: &str) -> Result<Vec<Recollection>, KernelError> {
        self.ask(|fake| fake.recollections(table))
    }

    fn untranslated(&mut self, of: Option<IpAddr>) -> Result<Vec<Flow>, KernelError> {
        self.ask(|fake| fake.untranslated(of))
    }

    fn forget_untranslated(
        &mut self,
        doomed: &dyn Fn(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        self.ask(|fake| fake.forget_untranslated(doomed))
    }
}

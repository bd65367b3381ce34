//! From a checked model to the kernel: read what is there, work out the difference, commit it as one transaction.
//!
//! ```text
//! see ──▶ number ──▶ lower ──▶ diff ──▶ commit ──▶ forget connections ──▶ remember
//!  ▲                                       │
//!  └── somebody else committed meanwhile ──┘
//! ```

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::diagnostic::Diagnostics;
use crate::diff::{Drift, Observed, diff, drift};
use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::{Desired, MissingInterface, desired};
use crate::kernel::cache::Cache;
use crate::kernel::{Balanced, Kernel, KernelError, numbers, random_id};
use crate::lower::{identity, lower, number};
use crate::model::{Model, State};
use crate::outline::{Difference, Outline};
use crate::schedule::Plan;

mod remembered;
mod view;

pub use remembered::Remembered;
pub use view::{ServerView, ServiceView, View};

/// How often a transaction is worked out anew because somebody else committed one meanwhile.
const TRIES: usize = 20;

/// What an apply did, or with `--dry-run` would do.
#[derive(Debug)]
pub struct Applied {
    /// What changes in the operator's words.
    pub difference: Difference,
    /// What others had changed in flbc's own tables.
    pub drift: Vec<Drift>,
    /// What the transaction holds.
    pub totals: Totals,
    /// How many connections to servers that are gone or down were forgotten.
    pub forgotten: usize,
    /// Something that went wrong without harm to the rules, in a sentence.
    pub notes: Vec<String>,
}

/// What a transaction holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Elements added.
    pub added: usize,
    /// Elements removed.
    pub removed: usize,
    /// Rules, chains, sets and tables added or removed.
    pub structure: usize,
}

impl Totals {
    fn of(changes: &[Change]) -> Self {
        let mut totals = Self::default();
        for change in changes {
            match &change.step {
                Step::AddElements { elements, .. } => totals.added += elements.len(),
                Step::DeleteElements { elements, .. } => totals.removed += elements.len(),
                _ => totals.structure += 1,
            }
        }
        totals
    }

    /// Whether there is nothing to do.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Why nothing was applied.
#[derive(Debug)]
pub enum Failure {
    /// The rules name interfaces that are not there.
    Interfaces(Vec<MissingInterface>),
    /// More servers or slots than there are numbers; reported to the sink.
    Numbers,
    /// The kernel's answer.
    Kernel(KernelError),
    /// Others committed so often that no difference stayed true for long enough.
    Crowded,
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

/// What is to be applied, and where.
#[derive(Debug)]
pub struct Request<'a> {
    /// The name of both tables.
    pub table: &'a str,
    /// What should be there.
    pub model: &'a Model,
    /// Its slots.
    pub plan: &'a Plan<'a>,
    /// Whether to commit.
    pub commit: bool,
}

/// What the kernel has, and what is known of how it came about.
#[derive(Debug)]
pub struct Seen {
    /// The tables.
    pub observed: Observed,
    /// What the last apply made of these tables, where it is known.
    pub remembered: Option<Remembered<'static>>,
    /// What others changed since the last apply.
    pub drift: Vec<Drift>,
    /// Whether the tables were not read, as nobody has committed anything since.
    current: bool,
}

impl Seen {
    /// What the last apply said, or what can be read off the tables.
    pub fn outline(&self) -> Outline {
        match &self.remembered {
            Some(remembered) => Outline::of(&remembered.model),
            None => View::of(&self.observed).outline(),
        }
    }
}

/// Looks at what the kernel has: what is remembered if it is known to be true, else what can be read.
///
/// # Errors
///
/// Those of reading.
pub fn see(kernel: &mut impl Kernel, cache: &Cache, table: &str) -> Result<Seen, KernelError> {
    let left = cache.recall(kernel, table);
    let remembered = left
        .as_ref()
        .and_then(|left| Remembered::from_note(&left.note));
    let (observed, drift, current) = match left {
        Some(left) if left.current => (left.observed, Vec::new(), true),
        left => {
            let observed = kernel.observe(table)?;
            let drift = left.map(|left| drift(&left.observed, &observed));
            (observed, drift.unwrap_or_default(), false)
        }
    };
    Ok(Seen {
        observed,
        remembered,
        drift,
        current,
    })
}

/// Makes the kernel have what the model says, as one transaction or not at all.
///
/// # Errors
///
/// See [`Failure`]; the kernel then has what it had.
pub fn apply(
    kernel: &mut impl Kernel,
    cache: &Cache,
    request: &Request<'_>,
    sink: &mut Diagnostics,
) -> Result<Applied, Failure> {
    let new = Outline::of(request.model);
    for _ in 0..TRIES {
        let seen = see(kernel, cache, request.table)?;
        let wanted = wanted(kernel, request, &seen.observed, sink)?;
        let id: Arc<str> = random_id()?.into();
        let changes = diff(&seen.observed, &wanted, &id);
        let mut applied = Applied {
            difference: Difference::between(&seen.outline(), &new),
            drift: seen.drift,
            totals: Totals::of(&changes),
            forgotten: 0,
            notes: Vec::new(),
        };
        if !request.commit {
            if !changes.is_empty() {
                kernel.check(request.table, &changes)?;
            }
            return Ok(applied);
        }
        let mut now = seen.observed;
        if !changes.is_empty() {
            let dying = dying(&now, Some(request));
            cache.set_aside(request.table);
            match kernel.commit(request.table, &changes, now.generation) {
                Ok(committed) => now.generation = committed.generation,
                Err(error) => {
                    cache.put_back(request.table);
                    if error == KernelError::Changed {
                        continue;
                    }
                    return Err(error.into());
                }
            }
            let followed = now.apply(&changes).is_ok();
            applied.forgotten = forget_connections(kernel, &dying, &mut applied.notes);
            if !followed || kernel.read_handles(request.table, &mut now).is_err() {
                // Somebody came right behind: what is there now is for the next run to read.
                if let Err(error) = cache.forget(request.table) {
                    applied.notes.push(cannot_remember(&error));
                }
                return Ok(applied);
            }
        }
        if !(changes.is_empty() && seen.current && applied.difference.is_empty()) {
            let remembered = Remembered {
                model: Cow::Borrowed(request.model),
            };
            let note = remembered.to_note();
            if let Err(error) = cache.remember(kernel, request.table, &now, &note) {
                applied.notes.push(cannot_remember(&error));
            }
        }
        return Ok(applied);
    }
    Err(Failure::Crowded)
}

fn cannot_remember(error: &std::io::Error) -> String {
    format!("the rules are in place, but the next apply will read them from the kernel: {error}")
}

/// What the kernel should have, with the numbers that it has already.
fn wanted(
    kernel: &mut impl Kernel,
    request: &Request<'_>,
    observed: &Observed,
    sink: &mut Diagnostics,
) -> Result<Desired, Failure> {
    let numbers = number::assign(request.model, request.plan, &numbers(observed), sink);
    if sink.errors() > 0 {
        return Err(Failure::Numbers);
    }
    let ruleset = lower(request.model, request.plan, &numbers, request.table);
    desired(&ruleset, &kernel.interfaces()?).map_err(Failure::Interfaces)
}

/// Removes flbc's own tables, in one transaction, and forgets their connections.
///
/// # Errors
///
/// Those of the kernel.
pub fn unload(
    kernel: &mut impl Kernel,
    cache: &Cache,
    table: &str,
) -> Result<Option<Applied>, Failure> {
    for _ in 0..TRIES {
        let seen = see(kernel, cache, table)?;
        let outline = seen.outline();
        let observed = seen.observed;
        let changes = diff(&observed, &Desired::nothing(table.into()), &"".into());
        if changes.is_empty() {
            return Ok(None);
        }
        let dying = dying(&observed, None);
        cache.set_aside(table);
        if let Err(error) = kernel.commit(table, &changes, observed.generation) {
            cache.put_back(table);
            if error == KernelError::Changed {
                continue;
            }
            return Err(error.into());
        }
        let mut applied = Applied {
            difference: Difference::between(&outline, &Outline::default()),
            drift: Vec::new(),
            totals: Totals::of(&changes),
            forgotten: 0,
            notes: Vec::new(),
        };
        applied.forgotten = forget_connections(kernel, &dying, &mut applied.notes);
        if let Err(error) = cache.forget(table) {
            applied
                .notes
                .push(format!("what was remembered of them stays: {error}"));
        }
        return Ok(Some(applied));
    }
    Err(Failure::Crowded)
}

/// Servers that will take no packet any more: their numbers, and the VIPs that their connections were made to.
struct Dying {
    numbers: HashSet<u32>,
    vips: HashSet<IpAddr>,
}

/// The servers in the kernel that are not in what is to come, or down there.
fn dying(observed: &Observed, to_come: Option<&Request<'_>>) -> Dying {
    let view = View::of(observed);
    let mut staying: HashSet<(String, IpAddr, Option<u16>)> = HashSet::new();
    if let Some(request) = to_come {
        for block in &request.plan.blocks {
            for server in &block.servers {
                if server.state != State::Down {
                    let identity = identity(request.model, block, server);
                    staying.insert((identity, server.address, server.port));
                }
            }
        }
    }
    let stays = |server: &ServerView| {
        server.address.is_none_or(|address| {
            staying.contains(&(server.identity.clone(), address, server.port))
        })
    };
    Dying {
        numbers: view
            .servers()
            .filter(|server| !stays(server))
            .map(|server| server.number)
            .collect(),
        vips: view.nat_vips().collect(),
    }
}

/// Forgets the connections to servers that take none any more: those with their mark, translated, and made to a VIP
/// of flbc's. Others use marks too.
fn forget_connections(kernel: &mut impl Kernel, dying: &Dying, notes: &mut Vec<String>) -> usize {
    if dying.numbers.is_empty() {
        return 0;
    }
    let all = Balanced {
        mark: None,
        vip: None,
    };
    let found = match kernel.connections(&all) {
        Ok(found) => found,
        Err(error) => {
            notes.push(format!(
                "connections to servers that are gone may live on: {error}"
            ));
            return 0;
        }
    };
    let doomed: HashSet<(u32, IpAddr)> = found
        .iter()
        .filter(|c| dying.numbers.contains(&c.mark) && dying.vips.contains(&c.vip))
        .map(|c| (c.mark, c.vip))
        .collect();
    let mut forgotten = 0;
    for (mark, vip) in doomed {
        let filter = Balanced {
            mark: Some(mark),
            vip: Some(vip),
        };
        match kernel.forget(&filter) {
            Ok(count) => forgotten += count,
            Err(error) => notes.push(format!(
                "connections to a server that is gone may live on: {error}"
            )),
        }
    }
    forgotten
}

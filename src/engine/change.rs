//! One change of some servers: worked out, committed, settled, and noted.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::apply::census::Census;
use crate::apply::commit::Transaction;
use crate::apply::delta::{Delta, Side};
use crate::apply::moves::{Moves, Unfinished};
use crate::apply::settle::{remember, settle};
use crate::apply::work::keep_counters;
use crate::apply::{Applied, Failure, Remembered, Request, Tables, Totals};
use crate::diagnostic::Diagnostics;
use crate::diff::{Observed, diff};
use crate::emit::netlink::change::Change;
use crate::emit::netlink::desired;
use crate::kernel::{Kernel, KernelError};
use crate::lower::slots::{Placement, Replaced};
use crate::lower::{Scope, lower};
use crate::model::{Family, LayerChanges, Served};
use crate::notes::Notes;
use crate::outline::Difference;
use crate::ruleset::name;
use crate::schedule::{Plan, schedule};

use super::amendments::Amendments;
use super::extract::Extract;
use super::part::{Growth, Own, Why, narrow};
use super::{Engine, Kind};

/// So much may amend a note: more, and it is written anew.
const AMENDMENTS: usize = 1000;

/// What became of a change.
#[derive(Debug)]
pub enum Outcome {
    /// It was made.
    Made(Applied),
    /// Nothing was done: it needs a whole apply, behind which this engine is out of date.
    Whole(Why),
}

/// What is to be done.
struct Work {
    changes: Vec<Change>,
    /// What the tables have of it now.
    structure: Observed,
    moves: Moves,
    now: Census,
    difference: Difference,
    placement: Placement,
    /// The first slot of each block that has another from now on.
    firsts: Vec<(u32, u32)>,
    growth: Growth,
}

impl Engine {
    /// Changes what is said of some servers, in one transaction. See [`Engine::narrowed`] for what is left of the changes.
    ///
    /// # Errors
    ///
    /// See [`Failure`]; the kernel then has what it had, and this is what it was.
    pub fn change<K: Kernel>(
        &mut self,
        tables: &mut Tables<K>,
        changes: LayerChanges,
        sink: &mut Diagnostics,
    ) -> Result<Outcome, Failure> {
        let changes = self.narrowed(changes);
        if changes.is_empty() {
            return Ok(Outcome::Made(self.applied()));
        }
        let (kernel, notes, table) = tables.parts();
        if Unfinished::of_killed(notes, table).is_some() {
            return Ok(Outcome::Whole(Why::Unfinished));
        }
        // Whoever noted something else since knows more.
        if notes.edition(table) != self.edition {
            return Ok(Outcome::Whole(Why::Foreign));
        }
        if !self.interfaces.is_empty() && !self.remembered().are_there(&kernel.interfaces()?) {
            return Ok(Outcome::Whole(Why::Foreign));
        }
        let mut services: Vec<u32> = Vec::new();
        for key in changes.servers() {
            match self.concerned(&key.place) {
                Some(users) => services.extend(users),
                None => return Ok(Outcome::Whole(Why::LeftOut)),
            }
        }
        services.sort_unstable();
        services.dedup();
        let work = match self.worked_out(kernel, table, (&changes, &services), sink)? {
            Ok(work) => work,
            // Where the last server of a service goes, what all services share would seem to go with it.
            Err(Why::Structure) => {
                let with_company = self.with_company(&services);
                let concerned = (&changes, &*with_company);
                match self.worked_out(kernel, table, concerned, sink)? {
                    Ok(work) => work,
                    Err(why) => return Ok(Outcome::Whole(why)),
                }
            }
            Err(why) => return Ok(Outcome::Whole(why)),
        };
        self.make((kernel, notes, table), changes, work)
    }

    /// The same services, and some of the same kinds that do not change.
    fn with_company(&self, services: &[u32]) -> Vec<u32> {
        let all = &self.effective.model().services;
        let kinds = services.iter().filter_map(|at| all.get(*at as usize));
        let kinds: FxHashSet<Kind> = kinds.map(Kind::of).collect();
        let company = kinds.iter().filter_map(|kind| self.index.company.get(kind));
        let mut together: Vec<u32> = company.flatten().copied().collect();
        together.extend(services);
        together.sort_unstable();
        together.dedup();
        together
    }

    /// Whether no other service has a VIP of the address and the protocol of one of theirs.
    fn have_their_own_vips(&self, services: &[u32]) -> bool {
        let all = &self.effective.model().services;
        let mut services = services.iter().filter_map(|at| all.get(*at as usize));
        services.all(|service| {
            let mut vips = service.vips.iter();
            vips.all(|vip| !self.index.shared.contains(&(vip.address, vip.protocol)))
        })
    }

    /// What is to be done, as far as it follows from some services alone.
    fn worked_out<K: Kernel>(
        &mut self,
        kernel: &mut K,
        table: &str,
        (changes, services): (&LayerChanges, &[u32]),
        sink: &mut Diagnostics,
    ) -> Result<Result<Work, Why>, Failure> {
        let [before, after] = Extract::of(self, services).before_and_after(changes);
        let unheard = &mut Diagnostics::new();
        let old_plan = schedule(before.model(), unheard);
        let mut told = Diagnostics::new();
        let new_plan = schedule(after.model(), &mut told);
        let known = self.places(&old_plan);
        let Some((places, old_numbers)) = known.and_then(|places| {
            let numbers = self.numbers_of(&places)?;
            Some((places, numbers))
        }) else {
            impossible!("a service of the model has no blocks in its plan");
            return Ok(Err(Why::Structure));
        };
        let remembered = Remembered {
            effective: Cow::Borrowed(&before),
            numbers: Cow::Borrowed(&old_numbers),
            interfaces: self.interfaces.clone(),
            ids: self.ids.clone(),
        };
        let request = Request {
            layout: None,
            effective: &after,
            plan: &new_plan,
            commit: true,
        };
        let delta = Delta::between(Side::of(&remembered, &old_plan), (&request).into());
        let moving: Vec<usize> = delta.changed().collect();
        let replaced = moving.iter().filter_map(|at| {
            let slots = |plan: &Plan<'_>| Some(plan.blocks.get(*at)?.choice.slots());
            Some(Replaced {
                first: old_numbers.blocks.get(*at)?.first_slot,
                had: slots(&old_plan)?,
                wants: slots(&new_plan)?,
            })
        });
        let Some(placement) = self.space.place(replaced) else {
            return Ok(Err(Why::Slots));
        };
        let mut new_numbers = old_numbers.clone();
        let mut firsts = Vec::new();
        for (at, first) in moving.iter().zip(&placement.firsts) {
            if let (Some(numbers), Some(place)) = (new_numbers.blocks.get_mut(*at), places.get(*at))
                && numbers.first_slot != *first
            {
                numbers.first_slot = *first;
                firsts.push((*place, *first));
            }
        }
        let lowered = (|| {
            let mut has = remembered
                .tables(&old_plan, table, &Scope::Whole)
                .ok_or(Why::Foreign)?;
            let ruleset = lower(after.model(), &new_plan, &new_numbers, table);
            let mut wanted = desired(ruleset, &self.interfaces).map_err(|_| Why::Foreign)?;
            let own = Own {
                chains: chains_of(&new_plan),
                fragments: self.have_their_own_vips(services),
            };
            let growth = narrow(&mut has, &mut wanted, &own, &self.members)?;
            Ok((has, wanted, growth))
        })();
        let (mut has, wanted, growth) = match lowered {
            Ok(lowered) => lowered,
            Err(why) => {
                self.space.undo(&placement);
                return Ok(Err(why));
            }
        };
        has.generation = self.generation;
        if has.lacks_handles()
            && let Err(error) = kernel.read_handles(table, &mut has)
        {
            self.space.undo(&placement);
            return match error {
                KernelError::Changed => Ok(Err(Why::Foreign)),
                error => Err(error.into()),
            };
        }
        let mut changes = diff(&has, wanted, &Arc::from(""));
        let [was, now] = delta.censuses(&old_numbers, &new_numbers);
        let moves = Moves::between(&was, &now);
        if let Err(error) = keep_counters(kernel, table, &has, &moves, &mut changes) {
            self.space.undo(&placement);
            return Err(error.into());
        }
        has.drop_sets();
        for fault in told.sorted() {
            sink.report(fault.clone());
        }
        Ok(Ok(Work {
            changes,
            structure: has,
            moves,
            now,
            difference: delta.difference(),
            placement,
            firsts,
            growth,
        }))
    }

    /// Commits it, and sees to what follows.
    fn make<K: Kernel>(
        &mut self,
        (kernel, notes, table): (&mut K, &Notes, &str),
        changes: LayerChanges,
        work: Work,
    ) -> Result<Outcome, Failure> {
        #[cfg(debug_assertions)]
        self.compare_with_whole((kernel, table), &changes, &work)?;
        let Work {
            changes: mut steps,
            structure: mut now,
            moves,
            now: census,
            difference,
            placement,
            firsts,
            growth,
        } = work;
        let mut applied = Applied {
            difference,
            totals: Totals::of(&steps),
            ..self.applied()
        };
        let nothing = steps.is_empty();
        if !nothing {
            let transaction = Transaction {
                place: (notes, table),
                moves: &moves,
                resumes: false,
                generation: self.generation,
            };
            match transaction.make(kernel, &mut steps, &mut 0, &mut applied) {
                Ok(Some(generation)) => now.generation = generation,
                Ok(None) => {
                    self.space.undo(&placement);
                    return Ok(Outcome::Whole(Why::Foreign));
                }
                Err(failure) => {
                    self.space.undo(&placement);
                    return Err(failure);
                }
            }
        }
        self.space.settle(&placement);
        for (set, more) in growth {
            if let Some(members) = self.members.get_mut(&set) {
                *members = members.saturating_add_signed(more);
            }
        }
        for (place, first) in firsts {
            let Some(numbers) = self.numbers.blocks.get_mut(place as usize) else {
                continue;
            };
            let before = std::mem::replace(&mut numbers.first_slot, first);
            self.amended.move_slots(place, [before, first]);
        }
        self.amended.add(&changes, self.effective.layers());
        let indices = [&self.index.declared, self.index.holding()];
        self.effective.change(changes, indices);
        let place = (notes, table);
        let anew = Cell::new(false);
        let keep = |kernel: &mut K, generation, applied: &mut Applied| {
            anew.set(anew.get() | self.note(kernel, place, generation, applied));
        };
        if nothing {
            keep(kernel, now.generation, &mut applied);
        } else {
            let settled = (&moves, &census, &Served::default());
            settle(kernel, place, &mut now, keep, settled, &mut applied);
        }
        self.generation = now.generation;
        self.noted(place, anew.get());
        Ok(Outcome::Made(applied))
    }

    /// Nothing, of these tables.
    fn applied(&self) -> Applied {
        Applied {
            left_out: self.effective.lacking().len(),
            ..Applied::default()
        }
    }

    /// There is a note of all of it, be it the one that was.
    pub(super) fn noted(&mut self, (notes, table): (&Notes, &str), anew: bool) {
        if anew {
            self.amended = Amendments::default();
        }
        self.edition = notes.edition(table);
    }

    /// Remembers all of it as of a generation: amends the note if that says the rest, else writes it anew and says so.
    pub(super) fn note<K: Kernel>(
        &self,
        kernel: &mut K,
        (notes, table): (&Notes, &str),
        generation: u32,
        applied: &mut Applied,
    ) -> bool {
        let edition = self.edition.filter(|_| self.amended.len() <= AMENDMENTS);
        let amended = edition.is_some_and(|edition| {
            // Plain data: serialization cannot fail.
            let what = postcard::to_stdvec(self.amended.all()).unwrap_or_default();
            let at = kernel.clock();
            let of = (edition, generation);
            notes.amend(table, of, at, &what).is_ok()
        });
        if amended {
            notes.put_back(table);
        } else {
            let known = self.remembered();
            remember(kernel, (notes, table), generation, Some(&known), applied);
        }
        !amended
    }

    /// Works out the same by planning and lowering everything, and compares.
    #[cfg(debug_assertions)]
    fn compare_with_whole<K: Kernel>(
        &self,
        (kernel, table): (&mut K, &str),
        changes: &LayerChanges,
        work: &Work,
    ) -> Result<(), Failure> {
        use crate::apply::work::since;
        let mut after = self.effective.clone();
        after.change(
            changes.clone(),
            [&self.index.declared, self.index.holding()],
        );
        let plan = schedule(after.model(), &mut Diagnostics::new());
        let request = Request {
            layout: None,
            effective: &after,
            plan: &plan,
            commit: true,
        };
        let whole = since(
            (kernel, table),
            (&self.remembered(), self.generation),
            &request,
            &self.interfaces,
            &Arc::from(""),
            &mut Diagnostics::new(),
        );
        let whole = match whole {
            Ok(whole) => whole,
            // Others came in between.
            Err(Failure::Kernel(KernelError::Changed)) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        debug_assert!(whole.is_some(), "what is kept does not fit together");
        let Some(whole) = whole else { return Ok(()) };
        debug_assert_eq!(
            work.changes, whole.changes,
            "a part does what the whole does"
        );
        debug_assert_eq!(work.difference, whole.difference);
        let mut numbers = self.numbers.clone();
        for (place, first) in &work.firsts {
            if let Some(numbers) = numbers.blocks.get_mut(*place as usize) {
                numbers.first_slot = *first;
            }
        }
        debug_assert_eq!(numbers, whole.numbers);
        Ok(())
    }
}

/// The chains that each service of a plan has for itself.
fn chains_of(plan: &Plan<'_>) -> FxHashSet<Arc<str>> {
    let names = plan.services.iter().map(|planned| &*planned.service.name);
    let chains = |name: &str, family: Family| {
        [
            name::service_chain(name, family),
            name::error_chain(name, family),
        ]
    };
    let both = names.flat_map(|name| Family::BOTH.map(|family| chains(name, family)));
    both.flatten().collect()
}

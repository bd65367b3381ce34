//! What the kernel has in flbc's own tables.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::{Bytes, Counter, Element, Hook, RuleBody, Shape, TableFamily};
use crate::ruleset::name;

/// Both tables, as the kernel has them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The kernel's generation of the whole ruleset when this was read.
    pub generation: u32,
    /// `inet NAME`
    pub inet: Option<ObservedTable>,
    /// `netdev NAME`
    pub netdev: Option<ObservedTable>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObservedTable {
    /// The text by which the table is known again; `None` where the kernel does not tell one from another.
    pub id: Option<Arc<str>>,
    /// Whether no packet meets its rules, because somebody said so.
    #[serde(skip)]
    pub dormant: bool,
    /// Named sets and maps.
    pub sets: Vec<ObservedSet>,
    /// Chains.
    pub chains: Vec<ObservedChain>,
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSet {
    /// The set's name.
    pub name: Arc<str>,
    /// The set's declaration.
    pub shape: Shape,
    /// Its elements. Those of a set whose keys are longer than flbc's are not read.
    pub elements: Vec<Element>,
    /// What each element counted, where they count and were read from the kernel; else empty.
    #[serde(skip)]
    pub counters: Vec<Counter>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedChain {
    /// The chain's name.
    pub name: Arc<str>,
    /// Where packets enter the chain; `None`: rules lead to it.
    pub hook: Option<Hook>,
    /// The chain's rules, in order.
    pub rules: Vec<ObservedRule>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedRule {
    /// The kernel's number of it; 0 as long as it has not been read.
    pub handle: u64,
    /// What the rule does.
    pub body: RuleBody,
}

impl ObservedSet {
    /// Keeps the elements for which `stays` holds, and what each has counted, as far as that is known.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&Element) -> bool) {
        let mut places = 0..;
        let counters = &mut self.counters;
        let mut kept = Vec::new();
        self.elements.retain(|element| {
            let counter = places.next().and_then(|at: usize| counters.get(at));
            let stays = stays(element);
            kept.extend(counter.filter(|_| stays));
            stays
        });
        *counters = kept;
    }
}

impl Observed {
    /// The table of this family.
    pub const fn table(&self, family: TableFamily) -> Option<&ObservedTable> {
        match family {
            TableFamily::Inet => self.inet.as_ref(),
            TableFamily::Netdev => self.netdev.as_ref(),
        }
    }

    /// The table of this family, to change.
    pub const fn table_mut(&mut self, family: TableFamily) -> &mut Option<ObservedTable> {
        match family {
            TableFamily::Inet => &mut self.inet,
            TableFamily::Netdev => &mut self.netdev,
        }
    }

    /// Whether there is any table.
    pub fn has_tables(&self) -> bool {
        TableFamily::BOTH
            .iter()
            .any(|family| self.table(*family).is_some())
    }

    /// Forgets the chains of services, of which there are many.
    pub fn drop_service_chains(&mut self) {
        for table in [&mut self.inet, &mut self.netdev].into_iter().flatten() {
            table.chains.retain(|c| !name::is_service_chain(&c.name));
        }
    }

    /// Takes over the numbers of rules, chain by chain, from `other`.
    pub fn take_handles(&mut self, other: &Self) {
        for family in TableFamily::BOTH {
            let (Some(ours), Some(theirs)) = (self.table_mut(family), other.table(family)) else {
                continue;
            };
            for chain in &mut ours.chains {
                let same = theirs.chains.iter().find(|c| c.name == chain.name);
                let rules = same.into_iter().flat_map(|same| &same.rules);
                for (ours, theirs) in chain.rules.iter_mut().zip(rules) {
                    ours.handle = theirs.handle;
                }
            }
        }
    }

    /// Forgets the sets.
    pub fn drop_sets(&mut self) {
        for table in [&mut self.inet, &mut self.netdev].into_iter().flatten() {
            table.sets = Vec::new();
        }
    }

    /// Whether numbers of rules are still to be read. A chain of one rule needs none: it is replaced whole.
    pub fn lacks_handles(&self) -> bool {
        let tables = TableFamily::BOTH.into_iter().filter_map(|f| self.table(f));
        let mut chains = tables.flat_map(|table| &table.chains);
        chains.any(ObservedChain::lacks_handles)
    }

    /// Makes the changes here that the kernel makes.
    ///
    /// # Errors
    ///
    /// The place of the first change that cannot be made, and why; what is before it is made.
    pub fn apply<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<(), Misfit> {
        let mut tables =
            TableFamily::BOTH.map(|family| Working::new(self.table_mut(family).take()));
        let outcome = changes
            .into_iter()
            .enumerate()
            .try_for_each(|(at, change)| {
                let [inet, netdev] = &mut tables;
                let table = match change.family {
                    TableFamily::Inet => inet,
                    TableFamily::Netdev => netdev,
                };
                table.apply(&change.step).map_err(|why| Misfit { at, why })
            });
        let [inet, netdev] = tables;
        self.inet = inet.finish();
        self.netdev = netdev.finish();
        outcome
    }
}

/// A change that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misfit {
    /// The change, by its place.
    pub at: usize,
    /// Why.
    pub why: MisfitKind,
}

/// Why a change cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisfitKind {
    /// What the change speaks of is not there.
    Missing,
    /// What the change adds is there already.
    Exists,
    /// What the change removes is in use.
    Busy,
    /// The set is full.
    Full,
}

impl ObservedChain {
    /// Whether numbers of its rules are still to be read, and wanted.
    pub(crate) fn lacks_handles(&self) -> bool {
        self.rules.len() > 1 && self.rules.iter().any(|rule| rule.handle == 0)
    }
}

impl ObservedTable {
    /// The set of this name.
    pub fn set(&self, name: &str) -> Option<&ObservedSet> {
        self.sets.iter().find(|set| *set.name == *name)
    }
}

/// A table while it changes: chains are found by name, and leave gaps when they go.
struct Working {
    table: Option<ObservedTable>,
    chains: Vec<Option<ObservedChain>>,
    places: FxHashMap<Arc<str>, usize>,
}

impl Working {
    fn new(mut table: Option<ObservedTable>) -> Self {
        let chains = table.as_mut().map(|t| std::mem::take(&mut t.chains));
        Self {
            table,
            chains: chains.unwrap_or_default().into_iter().map(Some).collect(),
            places: FxHashMap::default(),
        }
    }

    fn finish(self) -> Option<ObservedTable> {
        let mut table = self.table?;
        table.chains = self.chains.into_iter().flatten().collect();
        Some(table)
    }

    fn apply(&mut self, step: &Step) -> Result<(), MisfitKind> {
        match step {
            Step::AddTable { id } => {
                if self.table.is_some() {
                    return Err(MisfitKind::Exists);
                }
                self.table = Some(ObservedTable {
                    id: Some(id.clone()),
                    ..ObservedTable::default()
                });
            }
            Step::WakeTable => self.table.as_mut().ok_or(MisfitKind::Missing)?.dormant = false,
            Step::DeleteTable => {
                self.table.take().ok_or(MisfitKind::Missing)?;
                self.chains.clear();
                self.places.clear();
            }
            Step::AddSet { .. }
            | Step::DeleteSet { .. }
            | Step::AddElements { .. }
            | Step::DeleteElements { .. }
            | Step::CarryElements { .. }
            | Step::ClearElements { .. } => {
                let table = self.table.as_mut().ok_or(MisfitKind::Missing)?;
                change_sets(&mut table.sets, step)?;
            }
            Step::AddChain { chain, hook, .. } => {
                if self.table.is_none() {
                    return Err(MisfitKind::Missing);
                }
                if self.place(chain).is_some() {
                    return Err(MisfitKind::Exists);
                }
                self.places.insert(chain.clone(), self.chains.len());
                self.chains.push(Some(ObservedChain {
                    name: chain.clone(),
                    hook: hook.clone(),
                    rules: Vec::new(),
                }));
            }
            Step::FlushChain { chain } => self.chain(chain)?.rules.clear(),
            Step::DeleteChain { chain } => {
                let place = self.place(chain).ok_or(MisfitKind::Missing)?;
                self.places.remove(chain);
                if let Some(chain) = self.chains.get_mut(place) {
                    *chain = None;
                }
            }
            Step::AddRule {
                chain,
                before,
                body,
                ..
            } => {
                let rules = &mut self.chain(chain)?.rules;
                let place = match before {
                    None => rules.len(),
                    Some(handle) => place_of(rules, *handle)?,
                };
                let rule = ObservedRule {
                    handle: 0,
                    body: body.clone(),
                };
                rules.insert(place, rule);
            }
            Step::DeleteRule { chain, handle } => {
                let rules = &mut self.chain(chain)?.rules;
                rules.remove(place_of(rules, *handle)?);
            }
        }
        Ok(())
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        if self.places.is_empty() {
            let named = self.chains.iter().enumerate();
            self.places = named
                .filter_map(|(at, chain)| Some((chain.as_ref()?.name.clone(), at)))
                .collect();
        }
        self.places.get(name).copied()
    }

    fn chain(&mut self, name: &str) -> Result<&mut ObservedChain, MisfitKind> {
        let place = self.place(name).ok_or(MisfitKind::Missing)?;
        let chain = self.chains.get_mut(place).and_then(Option::as_mut);
        chain.ok_or(MisfitKind::Missing)
    }
}

fn place_of(rules: &[ObservedRule], handle: u64) -> Result<usize, MisfitKind> {
    let place = rules.iter().position(|rule| rule.handle == handle);
    place.ok_or(MisfitKind::Missing)
}

fn change_sets(sets: &mut Vec<ObservedSet>, step: &Step) -> Result<(), MisfitKind> {
    let place = |sets: &[ObservedSet], name: &str| sets.iter().position(|s| *s.name == *name);
    let find = |sets, name: &str| place(sets, name).ok_or(MisfitKind::Missing);
    match step {
        Step::AddSet { set, shape, .. } => {
            if place(sets, set).is_some() {
                return Err(MisfitKind::Exists);
            }
            sets.push(ObservedSet {
                name: set.clone(),
                shape: shape.clone(),
                elements: Vec::new(),
                counters: Vec::new(),
            });
        }
        Step::DeleteSet { set } => {
            let place = find(sets, set)?;
            sets.remove(place);
        }
        Step::AddElements {
            set,
            elements,
            counters,
            ..
        } => {
            let place = find(sets, set)?;
            let set = sets.get_mut(place).ok_or(MisfitKind::Missing)?;
            if set.elements.len() + elements.len() > set.shape.size as usize {
                return Err(MisfitKind::Full);
            }
            if set.shape.counts() {
                set.counters.resize(set.elements.len(), Counter::default());
                set.counters.extend_from_slice(counters);
            }
            set.elements.extend_from_slice(elements);
        }
        Step::DeleteElements { set, elements } => {
            let place = find(sets, set)?;
            let set = sets.get_mut(place).ok_or(MisfitKind::Missing)?;
            let mut gone: FxHashSet<ElementKey> = elements.iter().map(identity).collect();
            set.retain(|element| !gone.remove(&identity(element)));
            if !gone.is_empty() {
                return Err(MisfitKind::Missing);
            }
        }
        Step::CarryElements { set, elements } => {
            let place = find(sets, set)?;
            let set = sets.get_mut(place).ok_or(MisfitKind::Missing)?;
            set.counters.clear();
            let elements = elements.iter().map(|carried| carried.element.clone());
            set.elements.extend(elements);
        }
        Step::ClearElements { set, elements } => {
            let place = find(sets, set)?;
            let set = sets.get_mut(place).ok_or(MisfitKind::Missing)?;
            let gone: FxHashSet<ElementKey> = elements.iter().map(identity).collect();
            set.retain(|element| !gone.contains(&identity(element)));
        }
        _ => {}
    }
    Ok(())
}

/// What makes an element another one.
pub(super) type ElementKey = (Bytes, Option<Bytes>);

pub(super) fn identity(element: &Element) -> ElementKey {
    (element.key, element.key_end.as_deref().copied())
}

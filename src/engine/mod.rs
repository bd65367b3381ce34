//! What was applied, kept in memory by whoever changes it often, so that a change of some servers costs what they cost: what
//! concerns them is planned, lowered and compared, and nothing else.
//!
//! ```text
//! changes ──▶ services concerned ──▶ a model of those alone (extract) ──▶ lowered before and after, compared (part)
//!                                                                             │
//!      engine ◀── note amended ◀── settled ◀── committed (change) ◀── fits ◀──┘──▶ does not: apply the whole
//! ```
//!
//! The result is that of a whole apply, to the byte. A build for tests works out each change both ways and compares.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::apply::{Applied, Basis, Remembered, Tables};
use crate::diagnostic::Diagnostics;
use crate::diff::Identities;
use crate::emit::netlink::{Interfaces, TableFamily};
use crate::kernel::{Kernel, KernelError};
use crate::lower::number::Numbering;
use crate::lower::slots::SlotSpace;
use crate::lower::{Part, Scope, lower_part};
use crate::model::{
    Effective, Family, LayerChanges, Layers, Member, Mode, Model, Place, PlaceIndex, Protocol,
    RealServer, ServerKey, Service, Wish,
};
use crate::notes::Edition;
use crate::schedule::{Plan, schedule};

mod amendments;
mod change;
mod extract;
mod part;

use amendments::Amendments;
pub use change::Outcome;
pub use part::Why;

/// So many services of one kind are known as company for those that change.
const COMPANY: usize = 4;

/// What was applied, as the kernel has it.
#[derive(Debug)]
pub struct Engine {
    effective: Effective,
    numbers: Numbering,
    interfaces: Interfaces,
    ids: Identities,
    /// The generation at which the kernel had this.
    generation: u32,
    index: Index,
    /// Where there is room for slots.
    space: SlotSpace,
    /// How many elements each set has.
    members: Members,
    /// The note that says all of this, with what amends it.
    edition: Option<Edition>,
    amended: Amendments,
}

/// How many elements each set has that is not for rules to fill.
type Members = FxHashMap<(TableFamily, Arc<str>), usize>;

/// Where things are: what of a plan no change of servers changes.
#[derive(Debug)]
struct Index {
    /// What the file says.
    declared: PlaceIndex,
    /// The same without services that are left out, if any are.
    holding: Option<PlaceIndex>,
    /// For each service that is not left out, its block of each family, by its place in the plan.
    blocks: Vec<[Option<u32>; 2]>,
    /// The services that use each pool.
    users: Vec<Vec<u32>>,
    /// Some services of each kind.
    company: FxHashMap<Kind, Vec<u32>>,
    /// The addresses and protocols that several services have VIPs of.
    shared: FxHashSet<(IpAddr, Protocol)>,
}

/// What services have in common that are made of the same chains and sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    mode: Mode,
    by_turn: bool,
    remembers: [bool; 2],
    families: Vec<Family>,
}

impl Kind {
    fn of(service: &Service) -> Self {
        Self {
            mode: service.mode.clone(),
            by_turn: service.scheduler.needs_tracking(),
            remembers: [service.persistence.is_some(), service.track.is_some()],
            families: service.families().collect(),
        }
    }
}

impl Index {
    fn of(effective: &Effective, plan: &Plan<'_>) -> Self {
        let model = effective.model();
        let all = effective.lacking().is_empty();
        let declared = PlaceIndex::of(effective.declared());
        let holding = (!all).then(|| PlaceIndex::of(model));
        let known = holding.as_ref().unwrap_or(&declared);
        let mut blocks = vec![[None; 2]; model.services.len()];
        let mut company: FxHashMap<Kind, Vec<u32>> = FxHashMap::default();
        for planned in &plan.services {
            let Some(at) = known.service(&planned.service.name) else {
                continue;
            };
            let places = planned.families.iter().filter_map(|(family, place)| {
                let place = u32::try_from((*place)?).ok()?;
                Some((*family, place))
            });
            if let Some(of_service) = blocks.get_mut(at) {
                for (family, place) in places {
                    let [four, six] = of_service;
                    *match family {
                        Family::V4 => four,
                        Family::V6 => six,
                    } = Some(place);
                }
            }
            let same = company.entry(Kind::of(planned.service)).or_default();
            if same.len() < COMPANY {
                same.extend(u32::try_from(at));
            }
        }
        let mut users = vec![Vec::new(); model.pools.len()];
        for (at, service) in (0..).zip(&model.services) {
            for member in &service.members {
                if let Member::Pool(id) = member
                    && let Some(users) = users.get_mut(id.0)
                    && users.last() != Some(&at)
                {
                    users.push(at);
                }
            }
        }
        Self {
            declared,
            holding,
            blocks,
            users,
            company,
            shared: shared(model),
        }
    }

    /// Where the services and pools are that hold.
    fn holding(&self) -> &PlaceIndex {
        self.holding.as_ref().unwrap_or(&self.declared)
    }
}

impl Engine {
    /// What the last apply left; `None`: it is not known, or others have committed something since, and a whole apply finds
    /// out what there is.
    ///
    /// # Errors
    ///
    /// Those of looking.
    pub fn of<K: Kernel>(tables: &mut Tables<K>) -> Result<Option<Self>, KernelError> {
        let interfaces = tables.kernel.interfaces()?;
        let (kernel, notes, table) = tables.parts();
        let Some(left) = notes.recall(kernel, table).filter(|left| left.current) else {
            return Ok(None);
        };
        let Some(remembered) = Remembered::from_note(&left.note) else {
            return Ok(None);
        };
        if !remembered.are_there(&interfaces) {
            return Ok(None);
        }
        let amended = left.note.amended.as_deref();
        let amended = amended.and_then(|amended| postcard::from_bytes(amended).ok());
        let mut engine = Self::new(remembered, left.generation, table);
        engine.edition = notes.edition(table);
        engine.amended = Amendments::known(amended.unwrap_or_default());
        Ok(Some(engine))
    }

    fn new(remembered: Remembered<'static>, generation: u32, table: &str) -> Self {
        let Remembered {
            effective,
            numbers,
            interfaces,
            ids,
        } = remembered;
        let (effective, numbers) = (effective.into_owned(), numbers.into_owned());
        let plan = schedule(effective.model(), &mut Diagnostics::new());
        let index = Index::of(&effective, &plan);
        let firsts = numbers.blocks.iter().map(|block| block.first_slot);
        let slots = plan.blocks.iter().map(|block| block.choice.slots());
        let space = SlotSpace::around(firsts.zip(slots));
        let members = members(effective.model(), &plan, &numbers, table);
        Self {
            effective,
            numbers,
            interfaces,
            ids,
            generation,
            index,
            space,
            members,
            edition: None,
            amended: Amendments::default(),
        }
    }

    /// Looks whether the tables are as they were though others have committed something; `false`: they are not, or somebody
    /// noted something else of them.
    ///
    /// # Errors
    ///
    /// Those of looking.
    pub fn is_unchanged<K: Kernel>(&mut self, tables: &mut Tables<K>) -> Result<bool, KernelError> {
        let (_, notes, table) = tables.parts();
        if notes.edition(table) != self.edition {
            return Ok(false);
        }
        let seen = tables.see()?;
        if !matches!(seen.basis, Basis::Left(_)) {
            return Ok(false);
        }
        if seen.generation != self.generation {
            self.generation = seen.generation;
            let (kernel, notes, table) = tables.parts();
            let place = (notes, table);
            let unheard = &mut Applied::default();
            let anew = self.note(kernel, place, seen.generation, unheard);
            self.noted(place, anew);
        }
        Ok(true)
    }

    /// What holds: the file, and what is beside it.
    pub const fn effective(&self) -> &Effective {
        &self.effective
    }

    /// What is said of servers beside the file.
    pub const fn layers(&self) -> &Layers {
        self.effective.layers()
    }

    /// The generation of the kernel at which it had this.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The server that the file declares here.
    pub fn declared(&self, key: &ServerKey) -> Option<&RealServer> {
        let declared = self.effective.declared();
        self.index.declared.server(declared, key)
    }

    /// The service of this name, of those that the file declares.
    pub fn service(&self, name: &str) -> Option<&Service> {
        let at = self.index.declared.service(name)?;
        self.effective.declared().services.get(at)
    }

    /// The services that use a server that is declared here.
    pub fn users(&self, place: &Place) -> impl Iterator<Item = &Service> {
        let services = self.concerned(place).unwrap_or_default();
        let all = &self.effective.model().services;
        services.into_iter().filter_map(|at| all.get(at as usize))
    }

    /// The same by their places; `None`: the service that has it is left out.
    fn concerned(&self, place: &Place) -> Option<Vec<u32>> {
        let known = self.index.holding();
        match place {
            Place::Pool(name) => {
                let users = self.index.users.get(known.pool(name)?.0)?;
                Some(users.clone())
            }
            Place::Service(name) => Some(vec![u32::try_from(known.service(name)?).ok()?]),
        }
    }

    /// Those of the changes that make a difference: of servers that the file has, and not what it says itself.
    pub fn narrowed(&self, changes: LayerChanges) -> LayerChanges {
        let LayerChanges {
            mut operator,
            mut health,
        } = changes;
        operator.retain(|key, change| {
            let Some(server) = self.declared(key) else {
                return false;
            };
            let wish = change.take().and_then(|wish| {
                let wish = Wish {
                    address: Some(server.address),
                    port: server.port,
                    ..wish
                };
                wish.beside(server.standing())
            });
            *change = wish;
            self.layers().operator.get(key) != wish.as_ref()
        });
        health.retain(|key, change| {
            self.declared(key).is_some() && self.layers().health.get(key) != change.as_ref()
        });
        LayerChanges { operator, health }
    }

    /// All of it, as a whole apply would have left it: what tables are looked at and explained with.
    pub fn remembered(&self) -> Remembered<'_> {
        use std::borrow::Cow;
        Remembered {
            effective: Cow::Borrowed(&self.effective),
            numbers: Cow::Borrowed(&self.numbers),
            interfaces: self.interfaces.clone(),
            ids: self.ids.clone(),
        }
    }
}

/// The addresses and protocols that several services have VIPs of.
fn shared(model: &Model) -> FxHashSet<(IpAddr, Protocol)> {
    let mut first: FxHashMap<(IpAddr, Protocol), usize> = FxHashMap::default();
    let mut shared = FxHashSet::default();
    for (at, service) in model.services.iter().enumerate() {
        for vip in &service.vips {
            let of = (vip.address, vip.protocol);
            if *first.entry(of).or_insert(at) != at {
                shared.insert(of);
            }
        }
    }
    shared
}

/// Counts what each set has, without making it.
fn members(model: &Model, plan: &Plan<'_>, numbers: &Numbering, table: &str) -> Members {
    let nothing = Scope::Part(Part {
        blocks: vec![false; plan.blocks.len()],
        ..Part::default()
    });
    let ruleset = lower_part(model, plan, numbers, table, &nothing);
    let mut members = Members::default();
    for (family, table) in [
        (TableFamily::Inet, ruleset.inet),
        (TableFamily::Netdev, ruleset.netdev),
    ] {
        let sets = table.into_iter().flat_map(|table| table.sets);
        members.extend(sets.map(|set| ((family, set.name), set.members)));
    }
    members
}

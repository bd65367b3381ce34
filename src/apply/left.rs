//! Services and servers for whoever looks and changes nothing: read from the kernel, or, where nobody has touched the tables
//! since an apply left them, known from its note, so that only counters are read.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::diagnostic::Diagnostics;
use crate::diff::{Counter, Drift, Observed, ObservedTable};
use crate::emit::netlink::TableFamily;
use crate::kernel::{Kernel, KernelError, Part};
use crate::lower::number::BlockNumbers;
use crate::lower::{Scope, identity};
use crate::model::{HookedIn, Model};
use crate::ruleset::name;
use crate::schedule::{Block, Choice, Plan, schedule};

use super::gap::{gaps, wished, without_a_note};
use super::{Gap, Remembered, Tables, went_with};
use crate::view::drifted::drifted_since;
use crate::view::element::mark;
use crate::view::numbers::drawn_slots;
use crate::view::services::counter;
use crate::view::{ServerView, View};

/// What there is now.
#[derive(Debug)]
pub struct Look {
    /// Services and servers, in the order of the file as far as that is known.
    pub view: View,
    /// What the last apply left, if that is known.
    pub known: Option<Remembered<'static>>,
    /// What others changed since.
    pub drift: Vec<Drift>,
    /// Why else what was applied is not in force.
    pub gaps: Vec<Gap>,
    /// Which tables there are, `inet` first.
    pub tables: [bool; 2],
    /// When the last apply was, if that is known: seconds since 1970.
    pub applied_at: Option<u64>,
}

impl Look {
    /// Whether the kernel has what was applied; `None`: it is not known what that was.
    pub fn in_force(&self) -> Option<bool> {
        if self.gaps.iter().any(|gap| matches!(gap, Gap::Dormant(_))) {
            return Some(false);
        }
        let known = self.known.as_ref();
        known.map(|_| self.drift.is_empty() && self.gaps.is_empty())
    }
}

impl<K: Kernel> Tables<K> {
    /// Looks at what there is, in a time that grows with it and not with its square: slots, of which there may be
    /// millions, are read where something may have changed, and no more of them than rules draw.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn look(&mut self) -> Result<Look, KernelError> {
        let name = self.name().to_owned();
        let generation = self.kernel.generation()?;
        let current = self
            .recall_and_compare()
            .is_some_and(|(_, current)| current);
        let last = self.last();
        let known = last.as_ref();
        let known = known.and_then(|last| Remembered::from_note(&last.note));
        let (Some(last), Some(known)) = (last, known) else {
            let drawn = |_, table: &ObservedTable| drawn_slots(table);
            let observed = self.kernel.observe_part(&name, Part::Slots(&drawn))?;
            return Ok(Look {
                view: View::read(&observed, None),
                known: None,
                drift: Vec::new(),
                gaps: without_a_note(&observed),
                tables: there_are(&observed),
                applied_at: None,
            });
        };
        let applied_at = Some(last.at);
        let unfulfilled = self.wishes().and_then(|all| wished(&all, &known));
        let interfaces = self.kernel.interfaces()?;
        let plan = schedule(known.model(), &mut Diagnostics::new());
        if current && known.are_there(&interfaces) {
            let keys = keys(&known, &plan);
            let keys = |family, set: &str| {
                let counts_servers = name::is_addresses(set) || set == name::MACS;
                let keys = keys.get(&(family, set.into())).map(Vec::as_slice);
                counts_servers.then(|| keys.unwrap_or_default())
            };
            let counted = self.kernel.observe_part(&name, Part::Counters(&keys))?;
            // Nobody came in between.
            if counted.generation == generation {
                let mut gaps = gaps(&last, &known, &counted, &interfaces);
                gaps.extend(unfulfilled);
                return Ok(Look {
                    view: View::left(&known, &plan, &counted),
                    drift: Vec::new(),
                    gaps,
                    tables: there_are(&counted),
                    known: Some(known),
                    applied_at,
                });
            }
        }
        let left = known.tables(&plan, &name, &Scope::Whole);
        let met = |family, table: &ObservedTable| {
            let mut slots = drawn_slots(table);
            let left = left.as_ref().and_then(|left| left.table(family));
            let left = left.map(drawn_slots).unwrap_or_default();
            if left != slots {
                slots.extend(left);
                slots.sort_unstable();
                slots.dedup();
            }
            slots
        };
        let observed = self.kernel.observe_part(&name, Part::Slots(&met))?;
        let mut gaps = gaps(&last, &known, &observed, &interfaces);
        gaps.extend(unfulfilled);
        let drift = left.as_ref().filter(|_| !gaps.contains(&Gap::Gone));
        let mut drift = drift.map(|left| drifted_since(left, &observed));
        if let (Some(drift), Some(left)) = (&mut drift, &left) {
            let gone = went_with(left, &known.interfaces, &interfaces);
            drift.retain(|one| !one.is_missing_chain(|chain| gone.contains(chain)));
            // The same from another hand is the same.
            if drift.is_empty() {
                gaps.retain(|gap| *gap != Gap::Others);
            }
        }
        // Since Linux 6.16 the kernel binds chains to interfaces by their names: nothing is amiss with one that was made anew,
        // unless a rule has its number.
        if gaps.iter().any(|gap| matches!(gap, Gap::Stranger(_))) {
            let now = known.tables_on(&interfaces, &plan, &name, &Scope::Whole);
            if now.is_some_and(|now| drifted_since(&now, &observed).is_empty()) {
                gaps.retain(|gap| !matches!(gap, Gap::Stranger(_)));
                drift = Some(Vec::new());
            }
        }
        if last.killed {
            // What differs may be what that run made, and is nobody else's then.
            drift = drift.map(|_| Vec::new());
        }
        let untouched = drift.as_ref().is_some_and(Vec::is_empty) && gaps.is_empty();
        if untouched && !current {
            // Others committed something of their own: to find that out once is enough.
            let (kernel, cache, table) = self.parts();
            cache.renew(kernel, table, observed.generation);
        }
        let view = if untouched {
            View::left(&known, &plan, &observed)
        } else {
            View::read(&observed, Some(&known).filter(|_| !last.killed))
        };
        Ok(Look {
            view,
            known: Some(known),
            drift: drift.unwrap_or_default(),
            gaps,
            tables: there_are(&observed),
            applied_at,
        })
    }
}

fn there_are(observed: &Observed) -> [bool; 2] {
    TableFamily::BOTH.map(|family| observed.table(family).is_some())
}

impl View {
    /// What the tables say, and the file where it is known.
    fn read(observed: &Observed, known: Option<&Remembered<'_>>) -> Self {
        let mut view = Self::of(observed);
        view.once();
        for service in view.services.values_mut() {
            service.arrange(&[]);
            let place = |server: &ServerView| (server.address, server.port, server.name.clone());
            service.servers.sort_by_cached_key(place);
        }
        if let Some(known) = known {
            view.complete(known);
            view.arrange(known.model());
        }
        view
    }

    /// What an apply left, where nothing of it was changed since; `counted` has the sets of these tables whose elements
    /// count.
    fn left(known: &Remembered<'_>, plan: &Plan<'_>, counted: &Observed) -> Self {
        let mut view = Self {
            layout: known.numbers.layout,
            ..Self::default()
        };
        let [inet, netdev] = TableFamily::BOTH.map(|family| {
            let Some(table) = counted.table(family) else {
                return FxHashMap::default();
            };
            view.read_services(family, table);
            view.read_turned_away(table);
            of_servers(table)
        });
        let blocks = plan.blocks.iter().zip(&known.numbers.blocks);
        let blocks: Vec<Vec<ServerView>> = blocks
            .map(|(block, numbers)| match block.mode.hooked_in() {
                HookedIn::Inet => servers(known.model(), block, numbers, &inet),
                HookedIn::Netdev => servers(known.model(), block, numbers, &netdev),
            })
            .collect();
        for one in &plan.services {
            if let Some(service) = view.services.get_mut(&*one.service.name) {
                let places = one.families.iter().filter_map(|(_, place)| *place);
                let servers = places.filter_map(|place| blocks.get(place)).flatten();
                service.servers = servers.cloned().collect();
            }
        }
        view.complete(known);
        view.arrange(known.model());
        view
    }

    /// Puts services and VIPs into the order of the file; what is not in it stands behind.
    fn arrange(&mut self, model: &Model) {
        for (place, service) in model.services.iter().enumerate() {
            if let Some(seen) = self.services.get_mut(&*service.name) {
                seen.place = Some(place);
                seen.arrange(&service.vips);
            }
        }
    }
}

/// The numbers of servers by the map in which each is counted.
fn keys(known: &Remembered<'_>, plan: &Plan<'_>) -> FxHashMap<(TableFamily, Arc<str>), Vec<u32>> {
    let mut keys: FxHashMap<_, Vec<u32>> = FxHashMap::default();
    for (block, numbers) in plan.blocks.iter().zip(&known.numbers.blocks) {
        let table = match block.mode.hooked_in() {
            HookedIn::Inet => TableFamily::Inet,
            HookedIn::Netdev => TableFamily::Netdev,
        };
        let maps = [
            name::addresses(block.family),
            name::addresses_with_ports(block.family),
            name::MACS.into(),
        ];
        let mut of_maps = [Vec::new(), Vec::new(), Vec::new()];
        for (server, number) in block.servers.iter().zip(&numbers.servers) {
            let [same_port, own_port, by_mac] = &mut of_maps;
            let map = match (server.mac, server.port) {
                (Some(_), _) => by_mac,
                (None, Some(_)) => own_port,
                (None, None) => same_port,
            };
            map.push(*number);
        }
        for (map, numbers) in maps.into_iter().zip(of_maps) {
            keys.entry((table, map)).or_default().extend(numbers);
        }
    }
    keys
}

/// What was counted under each server's number where it is sent to.
fn of_servers(table: &ObservedTable) -> FxHashMap<u32, Counter> {
    let sets = table.sets.iter();
    let sets = sets.filter(|set| name::is_addresses(&set.name) || *set.name == *name::MACS);
    let elements = sets.flat_map(|set| set.elements.iter().enumerate().map(move |one| (set, one)));
    elements
        .filter_map(|(set, (at, element))| Some((mark(element)?, counter(set, at))))
        .collect()
}

/// The servers of a block, whatever their state.
fn servers(
    model: &Model,
    block: &Block<'_>,
    numbers: &BlockNumbers,
    counters: &FxHashMap<u32, Counter>,
) -> Vec<ServerView> {
    let mut slots = vec![0; block.servers.len()];
    match &block.choice {
        Choice::Empty => {}
        Choice::Only(owner) => slots.iter_mut().skip(*owner).take(1).for_each(|n| *n = 1),
        Choice::Slots { owners, .. } => {
            for owner in owners {
                if let Some(slots) = slots.get_mut(*owner as usize) {
                    *slots += 1;
                }
            }
        }
    }
    let of_slots = slots.iter().sum();
    let servers = block.servers.iter().zip(&numbers.servers).zip(slots);
    servers
        .map(|((server, number), slots)| ServerView {
            number: *number,
            also: Vec::new(),
            nat: block.mode.hooked_in() == HookedIn::Inet,
            identity: identity(model, block, server),
            name: server.name.to_string(),
            group: block.service.name.to_string(),
            address: Some(server.address),
            port: server.port,
            weight: server.weight,
            state: server.state,
            mark: None,
            slots,
            of_slots,
            counter: counters.get(number).copied().unwrap_or_default(),
            to: None,
            from: None,
        })
        .collect()
}

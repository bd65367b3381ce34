//! Who gets another server by a change, told before it is made.

use rustc_hash::FxHashMap;

use crate::model::{Family, Model, Scheduler, Service};
use crate::schedule::moved::{Moved, Owned, moved};
use crate::schedule::{Plan, alone};

/// The clients of a service that a change moves.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceMoves {
    /// The service's name.
    pub service: String,
    /// The families some of whose clients move, and how many.
    pub families: Vec<(Family, Moved)>,
    /// Whether clients or flows are remembered, and stay where they are as long as they are.
    pub remembers: bool,
    /// Another scheduler that would move far fewer, with the share for each of the families.
    pub instead: Option<(Scheduler, Vec<f64>)>,
}

/// How many points of a hundred another scheduler must save to be named.
const WORTH_TELLING: f64 = 5.0;

impl ServiceMoves {
    /// A line for each family: `moves 9.1 % of the clients of IPv4 (the least possible: 9.1 %)`
    pub(super) fn lines(&self) -> Vec<String> {
        let families = self.families.iter();
        families
            .map(|(family, moved)| {
                let about = if moved.exact { "" } else { "about " };
                format!(
                    "moves {about}{} of {} (the least possible: {})",
                    percent(moved.share),
                    self.whom(*family),
                    percent(moved.least)
                )
            })
            .collect()
    }

    /// What would move fewer, if anything would.
    pub(super) fn advice(&self) -> Option<String> {
        let (scheduler, shares) = self.instead.as_ref()?;
        let families = self.families.iter().zip(shares);
        let each = families.map(|((family, moved), share)| {
            format!(
                "{} of {} instead of {}",
                percent(*share),
                self.whom(*family),
                percent(moved.share)
            )
        });
        Some(format!(
            "`scheduler {scheduler}` in service `{}` would move {}",
            self.service,
            each.collect::<Vec<_>>().join(" and ")
        ))
    }

    fn whom(&self, family: Family) -> String {
        let which = if self.remembers {
            " that are not remembered"
        } else {
            ""
        };
        format!("the clients of {family}{which}")
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.05 {
        "less than 0.1 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

/// Who moves when one plan takes the place of another, in the services that are asked about.
pub fn between_plans(
    old: &Plan<'_>,
    (model, new): (&Model, &Plan<'_>),
    asked: impl Fn(&str) -> bool,
) -> Vec<ServiceMoves> {
    let before = |service: &Service| {
        let found = old
            .services
            .binary_search_by(|plan| plan.service.name.cmp(&service.name));
        found.ok().and_then(|at| old.services.get(at))
    };
    let had = |service: &Service, family| {
        let families = &before(service)?.families;
        let (_, place) = families.iter().find(|(one, _)| *one == family)?;
        let place = (*place)?;
        Some((place, Owned::of(old.blocks.get(place)?)?))
    };
    let scheduler = |service: &Service, _: &[Owned<'_>]| {
        before(service)
            .map(|before| before.service.scheduler)
            .filter(|before| *before != service.scheduler)
    };
    moves((model, new), asked, had, scheduler)
}

/// Who moves when a plan takes the place of what `had` tells of a service and family: what is the same has the same number.
///
/// `other` tells another scheduler for a service that may move fewer, as it had what is given.
pub fn moves<'o>(
    (model, plan): (&Model, &Plan<'_>),
    asked: impl Fn(&str) -> bool,
    had: impl Fn(&Service, Family) -> Option<(usize, Owned<'o>)>,
    other: impl Fn(&Service, &[Owned<'o>]) -> Option<Scheduler>,
) -> Vec<ServiceMoves> {
    // What services share is compared once.
    let mut compared: FxHashMap<(usize, usize), Moved> = FxHashMap::default();
    let mut tried: FxHashMap<(usize, usize), Option<f64>> = FxHashMap::default();
    let mut all = Vec::new();
    for planned in plan.services.iter().filter(|p| asked(&p.service.name)) {
        let service = planned.service;
        let (mut families, mut pairs, mut owned) = (Vec::new(), Vec::new(), Vec::new());
        for (family, place) in &planned.families {
            let now = place.and_then(|place| Some((place, Owned::of(plan.blocks.get(place)?)?)));
            let Some(((number, before), (place, now))) = had(service, *family).zip(now) else {
                continue;
            };
            let pair = (number, place);
            let compare = || moved(&before, &now);
            let moved = *compared.entry(pair).or_insert_with(compare);
            if moved.share > 0.0 {
                families.push((*family, moved));
                pairs.push(pair);
                owned.push(before);
            }
        }
        if families.is_empty() {
            continue;
        }
        let fits = |scheduler: &Scheduler| {
            let blocks = planned.families.iter().filter_map(|(_, place)| *place);
            let mut blocks = blocks.filter_map(|place| plan.blocks.get(place));
            blocks.all(|block| has_room(scheduler, block.servers.len()))
        };
        let instead = other(service, &owned).filter(fits).and_then(|scheduler| {
            let other = Service {
                scheduler,
                ..service.clone()
            };
            let before = families.iter().zip(&owned).zip(&pairs);
            let shares = before.map(|(((family, _), before), pair)| {
                let share = || share_with(model, &other, *family, before);
                *tried.entry(*pair).or_insert_with(share)
            });
            let shares: Vec<f64> = shares.collect::<Option<_>>()?;
            let told = families.iter().map(|(_, moved)| moved.share);
            let saved = told.sum::<f64>() - shares.iter().sum::<f64>();
            (saved * 100.0 >= WORTH_TELLING).then_some((scheduler, shares))
        });
        all.push(ServiceMoves {
            service: service.name.to_string(),
            families,
            remembers: service.persistence.is_some() || service.track.is_some(),
            instead,
        });
    }
    all
}

/// How many clients of a family move to a service as it would be; `None` if it cannot be.
fn share_with(model: &Model, service: &Service, family: Family, had: &Owned<'_>) -> Option<f64> {
    let block = alone(model, service, family)?;
    let has = Owned::of(&block)?;
    Some(moved(had, &has).share)
}

/// Whether a scheduler that draws by a hash can have so many servers.
///
/// It is asked for every family of a service, also for one whose clients all stay: one line of the file is for both.
fn has_room(scheduler: &Scheduler, servers: usize) -> bool {
    match scheduler {
        Scheduler::Maglev {
            table: Some(size), ..
        } => servers <= *size as usize,
        Scheduler::Maglev { table: None, .. } | Scheduler::Hash(_) => true,
        Scheduler::RoundRobin | Scheduler::Random => false,
    }
}

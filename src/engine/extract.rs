//! A model of some services alone, as a whole model has them: all that follows from it is what follows of them from the
//! whole, but for what is shared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lower::number::Numbering;
use crate::model::{
    Effective, Family, Lacking, LayerChanges, Layers, Member, Model, Place, PoolId, ServerKey,
};
use crate::schedule::Plan;

use super::Engine;

/// Some services, with the pools that they use.
pub(super) struct Extract {
    declared: Model,
    layers: Layers,
}

impl Extract {
    /// The services of these places among those that hold, in the order of the file.
    pub(super) fn of(engine: &Engine, services: &[u32]) -> Self {
        let holding = &engine.effective.model().services;
        let declared = engine.effective.declared();
        let known = &engine.index.declared;
        let services = services.iter().filter_map(|at| {
            let name = &holding.get(*at as usize)?.name;
            declared.services.get(known.service(name)?)
        });
        let mut services: Vec<_> = services.cloned().collect();
        let members = services.iter().flat_map(|service| &service.members);
        let pools = members.filter_map(|member| match member {
            Member::Pool(id) => Some((*id, *id)),
            Member::Server(_) => None,
        });
        // In the order of the file, as those that pools are told in.
        let mut pools: BTreeMap<PoolId, PoolId> = pools.collect();
        for (at, id) in pools.values_mut().enumerate() {
            *id = PoolId(at);
        }
        for member in services.iter_mut().flat_map(|one| &mut one.members) {
            if let Member::Pool(id) = member
                && let Some(here) = pools.get(id)
            {
                *id = *here;
            }
        }
        let declared = Model {
            pools: pools.keys().map(|id| declared.pool(*id).clone()).collect(),
            services,
        };
        let layers = layers_of(&declared, engine.layers());
        Self { declared, layers }
    }

    /// What holds of it before and after changes.
    pub(super) fn before_and_after(self, changes: &LayerChanges) -> [Effective; 2] {
        let Self { declared, layers } = self;
        let mut after = layers.clone();
        changes.clone().put_into(&mut after);
        [
            Effective::of(declared.clone(), layers, Lacking::new()),
            Effective::of(declared, after, Lacking::new()),
        ]
    }
}

/// What is said of the servers of a model.
fn layers_of(model: &Model, layers: &Layers) -> Layers {
    let pools = model.pools.iter().map(|pool| pool.name.clone());
    let services = model.services.iter().map(|service| service.name.clone());
    let places = pools.map(Place::Pool).chain(services.map(Place::Service));
    let mut of_those = Layers::default();
    for place in places {
        copy(&place, &layers.operator, &mut of_those.operator);
        copy(&place, &layers.health, &mut of_those.health);
    }
    of_those
}

fn copy<T: Copy>(place: &Place, from: &BTreeMap<ServerKey, T>, to: &mut BTreeMap<ServerKey, T>) {
    let first = ServerKey {
        place: place.clone(),
        server: Arc::from(""),
    };
    let said = from
        .range(first..)
        .take_while(|(key, _)| key.place == *place);
    to.extend(said.map(|(key, said)| (key.clone(), *said)));
}

impl Engine {
    /// For each block of a plan of an extract, its place in the plan of the whole.
    pub(super) fn places(&self, plan: &Plan<'_>) -> Option<Vec<u32>> {
        let mut places = vec![None; plan.blocks.len()];
        for planned in &plan.services {
            let at = self.index.holding().service(&planned.service.name)?;
            let [four, six] = *self.index.blocks.get(at)?;
            for (family, here) in &planned.families {
                let place = match family {
                    Family::V4 => four,
                    Family::V6 => six,
                };
                if let Some(here) = here {
                    *places.get_mut(*here)? = place;
                }
            }
        }
        places.into_iter().collect()
    }

    /// The numbers of those blocks.
    pub(super) fn numbers_of(&self, places: &[u32]) -> Option<Numbering> {
        let blocks = places.iter().map(|place| {
            let numbers = self.numbers.blocks.get(*place as usize);
            numbers.cloned()
        });
        Some(Numbering {
            layout: self.numbers.layout,
            blocks: blocks.collect::<Option<_>>()?,
        })
    }
}

//! A model as it is written down for a later run. Lists of prefixes that services share are written once.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Access, AccessEntry, AccessList, Model, Pool, Service};

/// A service, and the places of its `allow` and its `deny` among the lists.
type Listed<S> = (S, usize, usize);

#[derive(Serialize)]
struct Written<'m> {
    pools: &'m [Pool],
    lists: Vec<&'m [AccessEntry]>,
    services: Vec<Listed<&'m Service>>,
}

#[derive(Deserialize)]
struct Read {
    pools: Vec<Pool>,
    lists: Vec<Vec<AccessEntry>>,
    services: Vec<Listed<Service>>,
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut lists: Vec<&[AccessEntry]> = Vec::new();
        let mut places = HashMap::new();
        let mut services = Vec::with_capacity(self.services.len());
        for service in &self.services {
            let Access { allow, deny } = &service.access;
            let [allow, deny] = [allow, deny].map(|list| {
                *places.entry(Arc::as_ptr(list)).or_insert_with(|| {
                    lists.push(list);
                    lists.len() - 1
                })
            });
            services.push((service, allow, deny));
        }
        let written = Written {
            pools: &self.pools,
            lists,
            services,
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let lists: Vec<AccessList> = read.lists.into_iter().map(Arc::new).collect();
        let list = |place: usize| lists.get(place).cloned().unwrap_or_default();
        let services = read.services.into_iter().map(|(service, allow, deny)| {
            let access = Access {
                allow: list(allow),
                deny: list(deny),
            };
            Service { access, ..service }
        });
        Ok(Self {
            pools: read.pools,
            services: services.collect(),
        })
    }
}

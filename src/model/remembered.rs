//! A model as it is written down for a later run. Lists of prefixes that services share are written once.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Access, AccessEntry, AccessList, Member, Model, Pool, Service};

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
        let there = read.pools.len();
        let knows_pools = |service: &Service| {
            let mut members = service.members.iter();
            members.all(|member| match member {
                Member::Pool(id) => id.0 < there,
                Member::Server(_) => true,
            })
        };
        if !read.services.iter().all(|(one, ..)| knows_pools(one)) {
            return Err(D::Error::custom("a service uses a pool that is not there"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mode, OnEmpty, PoolId, Scheduler};
    use crate::source::Span;

    #[test]
    fn a_note_that_names_a_pool_which_is_not_there_is_refused() {
        let service = Service {
            name: "www".into(),
            span: Span::NOWHERE,
            vips: Vec::new(),
            mode: Mode::default(),
            scheduler: Scheduler::RoundRobin,
            persistence: None,
            track: None,
            on_empty: OnEmpty::Drop,
            access: Access::default(),
            members: vec![Member::Pool(PoolId(0))],
        };
        let pool = Pool {
            name: "web".into(),
            span: Span::NOWHERE,
            real_servers: Vec::new(),
        };
        let mut model = Model {
            pools: vec![pool],
            services: vec![service],
        };
        let read = |model: &Model| {
            let bytes = postcard::to_stdvec(model).unwrap();
            postcard::from_bytes::<Model>(&bytes)
        };
        assert_eq!(read(&model).unwrap().services.len(), 1);
        model.pools.clear();
        assert!(read(&model).is_err());
    }
}

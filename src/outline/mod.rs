//! A configuration in the operator's words, and what differs between two of them.
//!
//! So that a run can say `web1 weight 3 -> 5` rather than which slots changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::model::{
    Access, AccessEntry, AccessList, DurationWords, Family, Mark, Member, Model, Place, Prefix,
    RealServer, ServerKey, Service, State,
};
use crate::schedule::{MaglevTable, maglev_table};
use crate::syntax::{Keyword, OptionWord};

mod difference;
mod moved;
mod setting;

pub use difference::Difference;
pub use moved::{ServiceMoves, between_plans, moves};
pub use setting::{SettingKey, SettingValues};

/// One configuration: what it is made of, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Pools that services use.
    pub pools: BTreeMap<String, Servers>,
    /// Services.
    pub services: BTreeMap<String, ServiceOutline>,
    /// The Maglev tables of services that have any: they follow from the rest.
    pub tables: BTreeMap<String, BTreeMap<Family, MaglevTable>>,
    /// The places of services and of pools in the file, where there is one. They tell what stands where and are no
    /// difference.
    pub(super) places: Places,
}

/// Places in a file, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub(super) services: HashMap<String, usize>,
    pub(super) pools: HashMap<String, usize>,
}

/// Wherever things stand, they are the same.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

/// Real servers by name.
pub type Servers = BTreeMap<String, ServerOutline>;

/// One service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceOutline {
    /// The service's VIPs, sorted.
    pub vips: Vec<String>,
    /// `mode`, `scheduler` and so on, each with its value; what is not set is not there.
    pub settings: SettingValues,
    /// `allow from` and `deny from`, each with its prefixes, sorted; what is not given is not there.
    pub access: BTreeMap<&'static str, Arc<[Prefix]>>,
    /// The names of the service's pools, in the order written.
    pub pools: Vec<String>,
    /// The servers that the service declares itself.
    pub servers: Servers,
}

/// One real server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerOutline {
    /// Its place among the servers, from 0: round-robin takes them in this order.
    pub place: usize,
    /// Address and port.
    pub endpoint: String,
    /// `weight`, `state`, `mac` and `via`, each with its value.
    pub settings: SettingValues,
}

impl ServerOutline {
    /// What every server has a value of.
    pub fn standing(weight: u16, state: State) -> SettingValues {
        SettingValues::from([
            (SettingKey::Option(OptionWord::Weight), weight.to_string()),
            (SettingKey::State, state.to_string()),
        ])
    }
}

/// The services and pools that an outline tells in full, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Focus {
    /// Names of services.
    pub services: FxHashSet<Arc<str>>,
    /// Names of pools.
    pub pools: FxHashSet<Arc<str>>,
}

impl Outline {
    /// The outline of a model.
    pub fn of(model: &Model) -> Self {
        Self::detailed(model, |_| true, |_| true)
    }

    /// The same, where all but what is in focus has a name and nothing else.
    pub fn focused(model: &Model, focus: &Focus) -> Self {
        Self::detailed(
            model,
            |service| focus.services.contains(service),
            |pool| focus.pools.contains(pool),
        )
    }

    /// Marks what something else than the file says: `drain (set)`.
    pub fn mark(&mut self, marks: &BTreeMap<ServerKey, Mark>) {
        for (key, mark) in marks {
            let servers = match &key.place {
                Place::Pool(pool) => self.pools.get_mut(&**pool),
                Place::Service(service) => {
                    let service = self.services.get_mut(&**service);
                    service.map(|service| &mut service.servers)
                }
            };
            let Some(server) = servers.and_then(|servers| servers.get_mut(&*key.server)) else {
                continue;
            };
            let Mark {
                file, now, cause, ..
            } = mark;
            for (name, differs, layer) in [
                ("state", now.state != file.state, cause.state),
                ("weight", now.weight != file.weight, cause.weight),
            ] {
                if differs && let Some(value) = server.settings.get_mut(name) {
                    value.push_str(layer.mark());
                }
            }
        }
    }

    /// The same, told in the order of a model: tables that were read have none.
    #[must_use]
    pub fn in_order_of(self, model: &Model) -> Self {
        let services = model.services.iter().map(|one| one.name.to_string());
        let pools = model.pools.iter().map(|one| one.name.to_string());
        Self {
            places: Places {
                services: services.zip(0..).collect(),
                pools: pools.zip(0..).collect(),
            },
            ..self
        }
    }

    fn detailed(
        model: &Model,
        wants_service: impl Fn(&str) -> bool,
        wants_pool: impl Fn(&str) -> bool,
    ) -> Self {
        let mut outline = Self::default().in_order_of(model);
        let mut lists = Lists::default();
        for service in &model.services {
            for pool in service.members.iter().filter_map(|member| match member {
                Member::Pool(id) => Some(model.pool(*id)),
                Member::Server(_) => None,
            }) {
                if !outline.pools.contains_key(&*pool.name) {
                    let mut servers = Servers::new();
                    if wants_pool(&pool.name) {
                        for server in &pool.real_servers {
                            insert(&mut servers, server);
                        }
                    }
                    outline.pools.insert(pool.name.to_string(), servers);
                }
            }
            if !wants_service(&service.name) {
                let empty = ServiceOutline::default();
                outline.services.insert(service.name.to_string(), empty);
                continue;
            }
            let tables = service.families().filter_map(|family| {
                let table = maglev_table(model, service, family)?;
                Some((family, table))
            });
            outline
                .tables
                .insert(service.name.to_string(), tables.collect());
            let entry = entry(model, service, &mut lists);
            outline.services.insert(service.name.to_string(), entry);
        }
        outline
    }
}

/// All that a service says, in words. It is taken apart whole: what is forgotten here would change the kernel and be told
/// as no change.
fn entry(model: &Model, service: &Service, lists: &mut Lists) -> ServiceOutline {
    let Service {
        name: _,
        span: _,
        vips,
        mode,
        scheduler,
        persistence,
        track,
        on_empty,
        access: Access { allow, deny },
        members,
    } = service;
    let mut entry = ServiceOutline {
        vips: vips.iter().map(ToString::to_string).collect(),
        ..ServiceOutline::default()
    };
    entry.vips.sort_unstable();
    let settings = [
        (Keyword::Mode, Some(mode.to_string())),
        (Keyword::Scheduler, Some(scheduler.to_string())),
        (Keyword::OnEmpty, Some(on_empty.to_string())),
        (Keyword::Persist, persistence.map(|one| one.to_string())),
        (
            Keyword::Track,
            track.map(|one| DurationWords(one.timeout).to_string()),
        ),
    ];
    for (keyword, value) in settings {
        if let Some(value) = value {
            entry.settings.insert(SettingKey::Statement(keyword), value);
        }
    }
    for (name, list) in [("allow from", allow), ("deny from", deny)] {
        if !list.is_empty() {
            entry.access.insert(name, lists.sorted(list));
        }
    }
    for member in members {
        match member {
            Member::Server(server) => insert(&mut entry.servers, server),
            Member::Pool(id) => entry.pools.push(model.pool(*id).name.to_string()),
        }
    }
    entry
}

/// Lists of prefixes that services share are sorted once.
#[derive(Default)]
struct Lists {
    known: HashMap<*const Vec<AccessEntry>, Arc<[Prefix]>>,
}

impl Lists {
    fn sorted(&mut self, list: &AccessList) -> Arc<[Prefix]> {
        let known = self.known.entry(Arc::as_ptr(list));
        let sorted = known.or_insert_with(|| {
            let mut prefixes: Vec<Prefix> = list.iter().map(|entry| entry.prefix).collect();
            prefixes.sort_unstable();
            prefixes.dedup();
            prefixes.into()
        });
        sorted.clone()
    }
}

/// Adds a server with all that it says; taken apart whole, as a service is.
fn insert(servers: &mut Servers, server: &RealServer) {
    let RealServer {
        name,
        span: _,
        // Both are in the endpoint.
        address: _,
        port: _,
        weight,
        state,
        // Where that is not its weight now, its mark tells so.
        file_weight: _,
        // A server that is held in reserve is in the state `backup`, or `down`, which counts more.
        reserve: _,
        mac,
        via,
    } = server;
    let mut settings = ServerOutline::standing(*weight, *state);
    if let Some(mac) = mac {
        settings.insert(SettingKey::Option(OptionWord::Mac), mac.to_string());
    }
    if let Some(via) = via {
        let words = via.to_string();
        let value = words.strip_prefix("via ").unwrap_or(&words);
        settings.insert(SettingKey::Option(OptionWord::Via), value.to_owned());
    }
    let outline = ServerOutline {
        place: servers.len(),
        endpoint: server.endpoint(),
        settings,
    };
    servers.insert(name.to_string(), outline);
}

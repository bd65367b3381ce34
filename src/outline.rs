//! A configuration in the operator's words, and what differs between two of them.
//!
//! So that a run can say `web1 weight 3 -> 5` rather than which slots changed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::model::{
    AccessEntry, AccessList, DurationWords, Family, Member, Model, Override, Place, Prefix,
    RealServer, Service,
};
use crate::schedule::maglev_size;

/// One configuration: what it is made of, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Pools that services use.
    pub pools: BTreeMap<String, Servers>,
    /// Services.
    pub services: BTreeMap<String, ServiceOutline>,
}

/// Real servers by name.
pub type Servers = BTreeMap<String, ServerOutline>;

/// One service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceOutline {
    /// Its VIPs, sorted.
    pub vips: Vec<String>,
    /// `mode`, `scheduler` and so on, each with its value; what is not set is not there.
    pub settings: BTreeMap<String, String>,
    /// `allow from` and `deny from`, each with its prefixes, sorted; what is not given is not there.
    pub access: BTreeMap<&'static str, Arc<[Prefix]>>,
    /// Its pools, in the order written.
    pub pools: Vec<String>,
    /// Its own servers.
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
    pub settings: BTreeMap<String, String>,
}

/// Services and pools that matter, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Focus {
    /// The services.
    pub services: FxHashSet<Arc<str>>,
    /// The pools.
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

    /// Marks what was set beside the file: `drain (set)`.
    pub fn mark(&mut self, overrides: &[Override]) {
        for one in overrides {
            let servers = match &one.place {
                Place::Pool(pool) => self.pools.get_mut(&**pool),
                Place::Service(service) => {
                    let service = self.services.get_mut(&**service);
                    service.map(|service| &mut service.servers)
                }
            };
            let Some(server) = servers.and_then(|servers| servers.get_mut(&*one.server)) else {
                continue;
            };
            let standing = one.standing();
            for (name, set) in [
                ("state", standing.state != one.file.state),
                ("weight", standing.weight != one.file.weight),
            ] {
                if set && let Some(value) = server.settings.get_mut(name) {
                    value.push_str(" (set)");
                }
            }
        }
    }

    fn detailed(
        model: &Model,
        wants_service: impl Fn(&str) -> bool,
        wants_pool: impl Fn(&str) -> bool,
    ) -> Self {
        let mut outline = Self::default();
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
            let mut vips: Vec<String> = service.vips.iter().map(ToString::to_string).collect();
            vips.sort_unstable();
            let mut entry = ServiceOutline {
                vips,
                ..ServiceOutline::default()
            };
            let mut set = |name: &str, value: String| {
                entry.settings.insert(name.to_owned(), value);
            };
            set("mode", service.mode.to_string());
            set("scheduler", service.scheduler.to_string());
            set("on-empty", service.on_empty.to_string());
            if let Some(persistence) = &service.persistence {
                set("persist", persistence.to_string());
            }
            if let Some(track) = &service.track {
                set("track", DurationWords(track.timeout).to_string());
            }
            if let Some(sizes) = maglev_tables(model, service) {
                set(TABLE, sizes);
            }
            let access = &service.access;
            for (name, list) in [("allow from", &access.allow), ("deny from", &access.deny)] {
                if !list.is_empty() {
                    entry.access.insert(name, lists.sorted(list));
                }
            }
            for member in &service.members {
                match member {
                    Member::Server(server) => insert(&mut entry.servers, server),
                    Member::Pool(id) => entry.pools.push(model.pool(*id).name.to_string()),
                }
            }
            outline.services.insert(service.name.to_string(), entry);
        }
        outline
    }
}

/// The setting that holds the sizes of a service's Maglev tables.
const TABLE: &str = "table";

/// `1024`, or `1024 for IPv4, 512 for IPv6`
fn maglev_tables(model: &Model, service: &Service) -> Option<String> {
    let sizes: Vec<(Family, u32)> = service
        .families()
        .filter_map(|family| Some((family, maglev_size(model, service, family)?)))
        .collect();
    match *sizes {
        [] => None,
        [(_, size)] => Some(size.to_string()),
        _ => {
            let each = sizes
                .iter()
                .map(|(family, size)| format!("{size} for {family}"));
            Some(each.collect::<Vec<_>>().join(", "))
        }
    }
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

fn insert(servers: &mut Servers, server: &RealServer) {
    let mut settings = BTreeMap::from([
        ("weight".to_owned(), server.weight.to_string()),
        ("state".to_owned(), server.state.to_string()),
    ]);
    if let Some(mac) = server.mac {
        settings.insert("mac".to_owned(), mac.to_string());
    }
    if let Some(via) = &server.via {
        let words = via.to_string();
        let value = words.strip_prefix("via ").unwrap_or(&words);
        settings.insert("via".to_owned(), value.to_owned());
    }
    let outline = ServerOutline {
        place: servers.len(),
        endpoint: server.endpoint(),
        settings,
    };
    servers.insert(server.name.to_string(), outline);
}

/// What differs between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// One line each, in the order of names: `+ service dns`, `~ www: web1 weight 3 -> 5`.
    pub lines: Vec<String>,
    /// How many services and pools are new.
    pub added: usize,
    /// How many changed.
    pub changed: usize,
    /// How many are gone.
    pub removed: usize,
    /// What the operator should know before it happens, a sentence each.
    pub warnings: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// From `old` to `new`.
    pub fn between(old: &Outline, new: &Outline) -> Self {
        let mut difference = Self::default();
        difference.group("pool", &old.pools, &new.pools, servers);
        difference.group("service", &old.services, &new.services, service);
        difference.warn_of_moved_clients(old, new);
        difference
    }

    /// Another size of a Maglev table sends most clients to another server.
    fn warn_of_moved_clients(&mut self, old: &Outline, new: &Outline) {
        for (name, service) in &new.services {
            let was = old.services.get(name).and_then(|s| s.settings.get(TABLE));
            if let (Some(was), Some(is)) = (was, service.settings.get(TABLE))
                && was != is
            {
                self.warnings.push(format!(
                    "the Maglev table of service `{name}` changes from {was} to {is} slots, which moves most of its clients; `scheduler maglev table {was}` would keep them"
                ));
            }
        }
    }

    fn group<T: PartialEq>(
        &mut self,
        kind: &str,
        old: &BTreeMap<String, T>,
        new: &BTreeMap<String, T>,
        compare: fn(&T, &T) -> Vec<String>,
    ) {
        for (name, change) in changes(old, new) {
            match change {
                Change::Added(_) => {
                    self.added += 1;
                    self.lines.push(format!("+ {kind} {name}"));
                }
                Change::Removed(_) => {
                    self.removed += 1;
                    self.lines.push(format!("- {kind} {name}"));
                }
                Change::Changed(old, new) => {
                    self.changed += 1;
                    let place = if kind == "service" {
                        name.to_owned()
                    } else {
                        format!("{kind} {name}")
                    };
                    let lines = compare(old, new).into_iter();
                    self.lines
                        .extend(lines.map(|line| format!("~ {place}: {line}")));
                }
            }
        }
    }
}

impl fmt::Display for Difference {
    /// `1 added, 2 changed, 0 removed`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} added, {} changed, {} removed",
            self.added, self.changed, self.removed
        )
    }
}

enum Change<'a, T> {
    Added(&'a T),
    Removed(&'a T),
    Changed(&'a T, &'a T),
}

/// What differs between two maps, in the order of names.
fn changes<'a, T: PartialEq>(
    old: &'a BTreeMap<String, T>,
    new: &'a BTreeMap<String, T>,
) -> BTreeMap<&'a str, Change<'a, T>> {
    let mut all = BTreeMap::new();
    for (name, was) in old {
        match new.get(name) {
            None => all.insert(name.as_str(), Change::Removed(was)),
            Some(is) if is != was => all.insert(name.as_str(), Change::Changed(was, is)),
            Some(_) => None,
        };
    }
    for (name, is) in new {
        if !old.contains_key(name) {
            all.insert(name.as_str(), Change::Added(is));
        }
    }
    all
}

fn service(old: &ServiceOutline, new: &ServiceOutline) -> Vec<String> {
    let mut lines = list("vip", &old.vips, &new.vips);
    let mut before = old.settings.clone();
    let mut after = new.settings.clone();
    let sizes = (before.remove(TABLE), after.remove(TABLE));
    lines.extend(settings("", &before, &after));
    if before.get("scheduler") == after.get("scheduler") {
        lines.extend(resized(sizes));
    }
    lines.extend(access(&old.access, &new.access));
    lines.extend(list("pool", &old.pools, &new.pools));
    lines.extend(servers(&old.servers, &new.servers));
    if lines.is_empty() {
        lines.push("order of pools".to_owned());
    }
    lines
}

/// What became of a Maglev table whose scheduler stays. A single server needs none.
fn resized(sizes: (Option<String>, Option<String>)) -> Option<String> {
    match sizes {
        (Some(was), Some(is)) if was != is => Some(format!("Maglev table {was} -> {is} slots")),
        (Some(was), None) => Some(format!(
            "Maglev table of {was} slots goes: one server needs none"
        )),
        (None, Some(is)) => Some(format!("Maglev table of {is} slots comes")),
        _ => None,
    }
}

/// How many prefixes are named one by one; of more it is told how many there are.
const PREFIXES: usize = 8;

/// `+ allow from 10.0.0.0/8, 192.0.2.0/24`, `- deny from (1203 prefixes)`
fn access(
    old: &BTreeMap<&'static str, Arc<[Prefix]>>,
    new: &BTreeMap<&'static str, Arc<[Prefix]>>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for name in ["allow from", "deny from"] {
        let of = |access: &BTreeMap<&'static str, Arc<[Prefix]>>| {
            let list = access.get(name).cloned();
            list.unwrap_or_else(|| Arc::from([]))
        };
        let (old, new) = (of(old), of(new));
        for (sign, these, others) in [("-", &old, &new), ("+", &new, &old)] {
            // Both are sorted.
            let only: Vec<Prefix> = these
                .iter()
                .filter(|prefix| others.binary_search(prefix).is_err())
                .copied()
                .collect();
            match only.len() {
                0 => {}
                1..=PREFIXES => {
                    let words: Vec<String> = only.iter().map(ToString::to_string).collect();
                    lines.push(format!("{sign} {name} {}", words.join(", ")));
                }
                many => lines.push(format!("{sign} {name} ({many} prefixes)")),
            }
        }
    }
    lines
}

fn list(kind: &str, old: &[String], new: &[String]) -> Vec<String> {
    let gone = old.iter().filter(|item| !new.contains(item));
    let come = new.iter().filter(|item| !old.contains(item));
    gone.map(|item| format!("- {kind} {item}"))
        .chain(come.map(|item| format!("+ {kind} {item}")))
        .collect()
}

fn servers(old: &Servers, new: &Servers) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, change) in changes(old, new) {
        match change {
            Change::Added(server) => lines.push(format!("+ server {}", described(name, server))),
            Change::Removed(_) => lines.push(format!("- server {name}")),
            Change::Changed(old, new) => {
                if old.endpoint != new.endpoint {
                    lines.push(format!("{name} {} -> {}", old.endpoint, new.endpoint));
                }
                lines.extend(settings(&format!("{name} "), &old.settings, &new.settings));
            }
        }
    }
    if lines.is_empty() && old != new {
        lines.push("order of servers".to_owned());
    }
    lines
}

/// `web4 10.20.0.14:8080 weight 2`
fn described(name: &str, server: &ServerOutline) -> String {
    let mut words = vec![name.to_owned()];
    if server.endpoint != name {
        words.push(server.endpoint.clone());
    }
    for (setting, value) in &server.settings {
        match (setting.as_str(), value.as_str()) {
            ("weight", "1") | ("state", "up") => {}
            ("state", state) => words.push(state.to_owned()),
            (setting, value) => words.push(format!("{setting} {value}")),
        }
    }
    words.join(" ")
}

fn settings(
    place: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<String> {
    changes(old, new)
        .into_iter()
        .map(|(name, change)| match change {
            Change::Added(value) => format!("{place}+ {name} {value}"),
            Change::Removed(value) => format!("{place}- {name} {value}"),
            Change::Changed(old, new) if name == "state" => format!("{place}{old} -> {new}"),
            Change::Changed(old, new) => format!("{place}{name} {old} -> {new}"),
        })
        .collect()
}

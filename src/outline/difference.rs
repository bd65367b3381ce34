//! What differs between two configurations, in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::diagnostic::escape;
use crate::model::{Family, Prefix};
use crate::schedule::MaglevTable;

use super::{
    Outline, ServerOutline, Servers, ServiceMoves, ServiceOutline, SettingKey, SettingValues,
};
use crate::syntax::{Keyword, OptionWord};

/// For so many services it is told one by one what would move fewer clients.
const ADVISED: usize = 10;

const SCHEDULER: SettingKey = SettingKey::Statement(Keyword::Scheduler);

/// What differs between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// One line each: what is gone, then what came or changed, each in the order of its file, or of names where there is none: `+ service dns`, `~ www: web1 weight 3 -> 5`; then whom it moves.
    pub lines: Vec<String>,
    /// How many services and pools are new.
    pub added: usize,
    /// How many services and pools changed.
    pub changed: usize,
    /// How many services and pools are gone.
    pub removed: usize,
    /// What the operator should know before it happens, a sentence each.
    pub warnings: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines as a text, each with its end.
    pub fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| escape(line));
        lines.flat_map(|line| [line, "\n".into()]).collect()
    }

    /// From `old` to `new`, which moves clients.
    pub fn between(old: &Outline, new: &Outline, moves: &[ServiceMoves]) -> Self {
        let mut difference = Self::default();
        let places = [&old.places.pools, &new.places.pools];
        difference.group("pool", [&old.pools, &new.pools], places, servers);
        let places = [&old.places.services, &new.places.services];
        difference.group("service", [&old.services, &new.services], places, service);
        difference.tell_consequences(old, new, moves);
        difference
    }

    /// Tells what becomes of tables and clients. Services that did not change themselves, as they share a pool that did,
    /// are told together where it is the same for each.
    fn tell_consequences(&mut self, old: &Outline, new: &Outline, moves: &[ServiceMoves]) {
        let mut consequences: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, tables) in &new.tables {
            let scheduler = |outline: &Outline| {
                let service = outline.services.get(name);
                service.and_then(|service| service.settings.get(&SCHEDULER).cloned())
            };
            let before = old.tables.get(name);
            if let Some(before) = before.filter(|_| scheduler(old) == scheduler(new)) {
                consequences.insert(name, resized(before, tables));
            }
        }
        for one in moves {
            let lines = consequences.entry(&one.service).or_default();
            lines.extend(one.lines());
        }
        let mut told: Vec<(&str, usize, Vec<String>)> = Vec::new();
        let mut alike: HashMap<Vec<String>, usize> = HashMap::new();
        consequences.retain(|_, lines| !lines.is_empty());
        let mut consequences: Vec<(&str, Vec<String>)> = consequences.into_iter().collect();
        consequences.sort_by_key(|(name, _)| place(&new.places.services, name));
        for (name, lines) in consequences {
            if old.services.get(name) == new.services.get(name) {
                let at = *alike.entry(lines.clone()).or_insert(told.len());
                if let Some((_, others, _)) = told.get_mut(at) {
                    *others += 1;
                    continue;
                }
            }
            told.push((name, 0, lines));
        }
        for (name, others, lines) in told {
            let who = match others {
                0 => name.to_owned(),
                1 => format!("{name} and 1 other service"),
                many => format!("{name} and {many} other services"),
            };
            let lines = lines.into_iter();
            self.lines
                .extend(lines.map(|line| format!("~ {who}: {line}")));
        }
        let mut advice = moves.iter().filter_map(ServiceMoves::advice);
        self.warnings.extend(advice.by_ref().take(ADVISED));
        match advice.count() {
            0 => {}
            more => self.warnings.push(format!("and so in {more} more")),
        }
    }

    fn group<T: PartialEq>(
        &mut self,
        kind: &str,
        [old, new]: [&BTreeMap<String, T>; 2],
        [before, now]: [&HashMap<String, usize>; 2],
        compare: fn(&T, &T) -> Vec<String>,
    ) {
        let mut all: Vec<(&String, Change<'_, T>)> = changes(old, new).into_iter().collect();
        all.sort_by_key(|(name, change)| match change {
            Change::Removed(_) => (0, place(before, name)),
            Change::Added(_) | Change::Changed(..) => (1, place(now, name)),
        });
        for (name, change) in all {
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
                        name.clone()
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

/// The place of a name in a file; behind all that are in it if it is not.
fn place(places: &HashMap<String, usize>, name: &str) -> usize {
    places.get(name).copied().unwrap_or(usize::MAX)
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
fn changes<'a, K: Ord, T: PartialEq>(
    old: &'a BTreeMap<K, T>,
    new: &'a BTreeMap<K, T>,
) -> BTreeMap<&'a K, Change<'a, T>> {
    let mut all = BTreeMap::new();
    for (name, was) in old {
        match new.get(name) {
            None => all.insert(name, Change::Removed(was)),
            Some(is) if is != was => all.insert(name, Change::Changed(was, is)),
            Some(_) => None,
        };
    }
    for (name, is) in new {
        if !old.contains_key(name) {
            all.insert(name, Change::Added(is));
        }
    }
    all
}

fn service(old: &ServiceOutline, new: &ServiceOutline) -> Vec<String> {
    // Taken apart whole: of what is forgotten here it would be told that something changed, and not what.
    let ServiceOutline {
        vips,
        settings: said,
        access: may_come,
        pools,
        servers: own,
    } = old;
    let mut lines = list("vip", vips, &new.vips);
    lines.extend(settings("", said, &new.settings));
    lines.extend(access(may_come, &new.access));
    let changed_pools = list("pool", pools, &new.pools);
    if changed_pools.is_empty() && *pools != new.pools {
        lines.push("order of pools".to_owned());
    }
    lines.extend(changed_pools);
    lines.extend(servers(own, &new.servers));
    lines
}

/// What became of the Maglev tables of a service whose scheduler stays.
fn resized(
    old: &BTreeMap<Family, MaglevTable>,
    new: &BTreeMap<Family, MaglevTable>,
) -> Vec<String> {
    use MaglevTable::{Nobody, OneServer, Slots};
    let families: BTreeSet<Family> = old.keys().chain(new.keys()).copied().collect();
    let mut lines = Vec::new();
    for family in &families {
        let of = if families.len() > 1 {
            format!(" for {family}")
        } else {
            String::new()
        };
        let goes = |slots, why| format!("Maglev table of {slots} slots{of} goes{why}");
        lines.extend(match (old.get(family), new.get(family)) {
            (Some(Slots(was)), Some(Slots(is))) => {
                (was != is).then(|| format!("Maglev table{of} {was} -> {is} slots"))
            }
            (Some(Slots(was)), Some(OneServer)) => Some(goes(was, ": one server needs none")),
            (Some(Slots(was)), Some(Nobody)) => Some(goes(was, ": no server takes clients")),
            (Some(Slots(was)), None) => Some(goes(was, "")),
            (None | Some(OneServer | Nobody), Some(Slots(is))) => {
                Some(format!("Maglev table of {is} slots{of} comes"))
            }
            (None | Some(OneServer | Nobody), None | Some(OneServer | Nobody)) => None,
        });
    }
    lines
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
    let only = |these: &[String], others: &[String]| {
        let these = these.iter().filter(|item| !others.contains(item));
        let mut these: Vec<String> = these.cloned().collect();
        // Pools have no address, and stay where they are.
        these.sort_by_cached_key(|item| address_in(item));
        these
    };
    let gone = only(old, new).into_iter();
    let come = only(new, old).into_iter();
    gone.map(|item| format!("- {kind} {item}"))
        .chain(come.map(|item| format!("+ {kind} {item}")))
        .collect()
}

/// What puts VIPs in order: the address, and the first port.
fn address_in(vip: &str) -> Option<(IpAddr, Option<u16>)> {
    let mut words = vip.split([' ', '-']);
    let address = words.next()?.parse().ok()?;
    let port = words.nth(1).and_then(|port| port.parse().ok());
    Some((address, port))
}

fn servers(old: &Servers, new: &Servers) -> Vec<String> {
    let mut lines = Vec::new();
    let mut moved = false;
    for (name, change) in changes(old, new) {
        match change {
            Change::Added(server) => lines.push(format!("+ server {}", described(name, server))),
            Change::Removed(_) => lines.push(format!("- server {name}")),
            Change::Changed(old, new) => {
                // A place that changes as others come and go is told by those.
                let ServerOutline {
                    place,
                    endpoint,
                    settings: said,
                } = old;
                if *endpoint != new.endpoint {
                    lines.push(format!("{name} {endpoint} -> {}", new.endpoint));
                }
                lines.extend(settings(&format!("{name} "), said, &new.settings));
                moved |= *place != new.place;
            }
        }
    }
    if lines.is_empty() && moved {
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
        match (setting, value.as_str()) {
            (SettingKey::Option(OptionWord::Weight), "1") | (SettingKey::State, "up") => {}
            (SettingKey::State, state) => words.push(state.to_owned()),
            (setting, value) => words.push(format!("{setting} {value}")),
        }
    }
    words.join(" ")
}

fn settings(place: &str, old: &SettingValues, new: &SettingValues) -> Vec<String> {
    changes(old, new)
        .into_iter()
        .map(|(setting, change)| match (setting, change) {
            (name, Change::Added(value)) => format!("{place}+ {name} {value}"),
            (name, Change::Removed(value)) => format!("{place}- {name} {value}"),
            (SettingKey::State, Change::Changed(old, new)) => format!("{place}{old} -> {new}"),
            (name, Change::Changed(old, new)) => format!("{place}{name} {old} -> {new}"),
        })
        .collect()
}

//! Rules that were compiled earlier, in the operator's words, for a comparison that needs no kernel.
//!
//! Both sides are read the same way from what `flbc compile` writes, so that what is not told by one is told by neither,
//! and nothing depends on the numbers of servers and slots.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rustc_hash::FxHashMap;

use crate::emit::listing::{ListedTable, Listing};
use crate::emit::netlink::TableFamily;
use crate::lower::layout::Layout;
use crate::lower::{Comment, pools_of};
use crate::model::{Family, HashKey, ModeKind, Model, OnEmpty, Protocol};
use crate::outline::{Outline, ServerOutline, ServiceMoves, ServiceOutline, SettingKey};
use crate::ruleset::name::{self, ranges_of, service_and_family_of, service_of};
use crate::schedule::Plan;
use crate::schedule::maglev::ServerIdentity;
use crate::schedule::moved::Owned;
use crate::syntax::{Keyword, OptionWord};

use super::moved::{by_what_was_had, owned_by_numbers};
use super::services::unabbreviate;

/// A real server as the texts tell it.
struct Listed {
    name: String,
    /// The service, or `pool NAME`, that it was declared in.
    group: String,
    outline: ServerOutline,
}

/// Which bits of marks the numbers of a text are in.
pub fn layout(listing: &Listing) -> Layout {
    let chains = listing
        .tables
        .values()
        .flat_map(|table| table.chains.keys());
    Layout::of_chains(chains.map(|chain| &**chain))
}

/// What a text says, in words.
pub fn outline(listing: &Listing) -> Outline {
    let mut outline = Outline::default();
    for (family, table) in &listing.tables {
        let mut servers = servers(table);
        let groups = servers.values_mut().map(|server| &mut server.group);
        unabbreviate(table.chains.keys().map(|chain| &**chain), groups);
        services(family, table, &mut outline);
        for server in servers.into_values() {
            let known = match pools_of(&server.group) {
                Some(pool) => outline.pools.entry(pool.to_owned()).or_default(),
                None => &mut outline.services.entry(server.group).or_default().servers,
            };
            known.insert(server.name, server.outline);
        }
    }
    outline
}

/// Whom a plan moves, from what a text says.
pub fn moves(listing: &Listing, model: &Model, plan: &Plan<'_>) -> Vec<ServiceMoves> {
    let mut all: FxHashMap<&str, (usize, Owned<'static>)> = FxHashMap::default();
    for (at, table) in listing.tables.values().enumerate() {
        let servers = servers(table);
        let slots = table.sets.get(name::SLOTS).into_iter().flatten();
        let slots: FxHashMap<&str, &str> = slots
            .filter_map(|element| Some((&*element.key, element.data.as_deref()?)))
            .collect();
        let chains = table.chains.iter();
        for (chain, rules) in chains.filter(|(chain, _)| service_of(chain).is_some()) {
            // The last goes on, the one before it draws.
            let draws = rules.iter().rev().nth(1);
            if let Some((first, owned)) = draws.and_then(|rule| drawn(rule, &slots, &servers)) {
                // Numbers are each table's own.
                all.insert(chain, (first as usize * 2 + at, owned));
            }
        }
    }
    let had =
        |service: &str, family: Family| all.get(&*name::service_chain(service, family)).cloned();
    by_what_was_had((model, plan), had)
}

/// The first slot of a rule that draws by a hash, or its only server, and who has which clients.
fn drawn(
    rule: &str,
    slots: &FxHashMap<&str, &str>,
    servers: &BTreeMap<&str, Listed>,
) -> Option<(u32, Owned<'static>)> {
    let identity = |number: &str| servers.get(number)?.identity();
    if let Some((key, first, count)) = hashed(rule) {
        let numbers = (first..first.checked_add(count)?).map(hexadecimal);
        let owners = numbers.map(|slot| slots.get(&*slot).copied());
        let owners = owners.collect::<Option<Vec<&str>>>()?;
        return Some((first, owned_by_numbers(key, &owners, identity)?));
    }
    let (_, number) = rule.split_once("mark set ")?;
    Some((parsed(number)?, Owned::by_one(identity(number)?)))
}

impl Listed {
    fn identity(&self) -> Option<ServerIdentity> {
        let endpoint = &self.outline.endpoint;
        let with_port = endpoint.parse::<SocketAddr>().ok();
        let alone = || {
            endpoint
                .parse::<IpAddr>()
                .ok()
                .map(|address| (address, None))
        };
        let (address, port) = with_port
            .map(|endpoint| (endpoint.ip(), Some(endpoint.port())))
            .or_else(alone)?;
        Some(ServerIdentity { address, port })
    }
}

/// What a rule hashes, the first slot and how many there are:
/// `meta mark set jhash ip saddr . th sport mod 5 seed 0x666c6263 offset 0x01000000`.
fn hashed(rule: &str) -> Option<(HashKey, u32, u32)> {
    let (_, rest) = rule.split_once("mark set jhash ")?;
    let (key, rest) = rest.split_once(" mod ")?;
    let key = if key.ends_with("sport") {
        HashKey::SourcePort
    } else {
        HashKey::Source
    };
    let (count, rest) = rest.split_once(' ')?;
    let (_, first) = rest.split_once("offset ")?;
    Some((key, parsed(first)?, count.parse().ok()?))
}

fn parsed(number: &str) -> Option<u32> {
    u32::from_str_radix(number.strip_prefix("0x")?, 16).ok()
}

/// A number as the text has it.
fn hexadecimal(number: u32) -> String {
    format!("{number:#010x}")
}

/// By number. What any map says of a server's number is a setting of that server.
fn servers(table: &ListedTable) -> BTreeMap<&str, Listed> {
    let mut servers = BTreeMap::new();
    for element in table.sets.get(name::SERVERS).into_iter().flatten() {
        let comment = element.comment.as_deref().and_then(Comment::read);
        let comment = comment.filter(|comment| !comment.who.group.is_empty());
        let Some(Comment { standing, who }) = comment else {
            continue;
        };
        let settings = ServerOutline::standing(standing.weight, standing.state);
        servers.insert(
            element.key.as_str(),
            Listed {
                name: who.name.into_owned(),
                group: who.group.into_owned(),
                outline: ServerOutline {
                    place: 0,
                    endpoint: String::new(),
                    settings,
                },
            },
        );
    }
    for (set, elements) in &table.sets {
        // Which way a frame takes follows from the other settings, and whose a slot is from the weights.
        if [name::SERVERS, name::SLOTS, name::WAYS].contains(&set.as_str()) {
            continue;
        }
        for element in elements {
            let Some(server) = servers.get_mut(element.key.as_str()) else {
                continue;
            };
            let data = element.data.as_deref().unwrap_or("yes").to_owned();
            match set.as_str() {
                map if name::is_addresses(map) => server.outline.endpoint = data,
                // It comes after every map of addresses in the order of names.
                name::PORTS => server.outline.endpoint = with_port(&server.outline.endpoint, &data),
                map => {
                    server.outline.settings.insert(setting(map), data);
                }
            }
        }
    }
    servers
}

fn with_port(address: &str, port: &str) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// What the operator calls what a map tells of a server.
fn setting(map: &str) -> SettingKey {
    match map {
        name::DEVICES => SettingKey::Option(OptionWord::Via),
        name::MACS => SettingKey::Option(OptionWord::Mac),
        name::KEEPERS => SettingKey::Statement(Keyword::Persist),
        name::MASQUERADED => SettingKey::Compiled(Cow::Borrowed("masquerade")),
        map if map.starts_with(name::FIXED_SOURCES) => SettingKey::Compiled(Cow::Borrowed("snat")),
        map => SettingKey::Compiled(Cow::Owned(map.to_owned())),
    }
}

fn services(family: &str, table: &ListedTable, outline: &mut Outline) {
    for (set, elements) in &table.sets {
        let on = name::interface_of(set);
        let protocol = ranges_of(set).map(Protocol::name);
        if !set.starts_with(name::dispatch(ModeKind::Nat)) && on.is_none() {
            continue;
        }
        for element in elements {
            let Some(chain) = element
                .data
                .as_deref()
                .and_then(|d| d.strip_prefix("goto "))
            else {
                continue;
            };
            let Some(name) = service_of(chain) else {
                continue;
            };
            let service = outline.services.entry(name.to_owned()).or_default();
            let vip = match (element.key.split_once(" . "), protocol) {
                (Some((address, ports)), Some(protocol)) => format!("{address} {protocol} {ports}"),
                (Some((_, rest)), None) if !rest.contains(" . ") => {
                    format!("{} any", element.key.replace(" . ", " "))
                }
                _ => element.key.replace(" . ", " "),
            };
            if !service.vips.contains(&vip) {
                service.vips.push(vip);
                service.vips.sort_unstable();
            }
            let mode = if family == TableFamily::Netdev.name() {
                ModeKind::Dr
            } else {
                ModeKind::Nat
            };
            set_once(service, SettingKey::Statement(Keyword::Mode), mode.name());
            if let Some(interface) = on {
                let on = SettingKey::Compiled(format!("on {interface}").into());
                set_once(service, on, "yes");
            }
        }
    }
    for (chain, rules) in &table.chains {
        let Some((name, family)) = service_and_family_of(chain) else {
            continue;
        };
        let service = outline.services.entry(name.to_owned()).or_default();
        let mut others = Vec::new();
        for rule in rules {
            match told(rule) {
                RuleTells::Of(what, value) => {
                    let setting = SettingKey::Compiled(format!("{family} {what}").into());
                    set_once(service, setting, &value);
                }
                RuleTells::Elsewhere => {}
                RuleTells::AsItIs => others.push(without_numbers(rule)),
            }
        }
        if !others.is_empty() {
            let setting = SettingKey::Compiled(format!("{family} rules").into());
            set_once(service, setting, &others.join("; "));
        }
    }
}

/// What a rule of a service's chain tells.
enum RuleTells {
    /// A value, without the numbers that compiling chose.
    Of(&'static str, String),
    /// What is told by something else: how many slots there are and where a packet goes on follow from the servers, and who
    /// is turned away from the list.
    Elsewhere,
    /// What nobody here has a word for: a statement that was added later.
    AsItIs,
}

fn told(rule: &str) -> RuleTells {
    let behind = |word: &str| rule.split_once(word).map(|(_, rest)| rest);
    let goes = |verdict: &str, stem: &str| behind(&format!("{verdict} {stem}"));
    if let Some(rest) = behind("numgen ") {
        let scheduler = if rest.starts_with("inc") {
            "round-robin"
        } else {
            "random"
        };
        RuleTells::Of("scheduler", scheduler.to_owned())
    } else if let Some((key, _)) = behind("jhash ").and_then(|rest| rest.split_once(" mod ")) {
        let key = if key.contains("sport") {
            "source-port"
        } else {
            "source"
        };
        RuleTells::Of("scheduler", format!("hash or maglev by {key}"))
    } else if goes("jump", name::ACCESS).is_some() {
        let list = behind(" set ").and_then(|rest| rest.split(' ').next());
        RuleTells::Of(
            "allow and deny",
            format!("list {}", list.unwrap_or_default()),
        )
    } else if let Some(prefix) = goes("jump", name::RETURN) {
        let bits = prefix.split(['_', ' ']).nth(1).unwrap_or_default();
        RuleTells::Of("persistence", format!("by the first {bits} bits"))
    } else if goes("jump", name::KNOWN).is_some() {
        RuleTells::Of("track", "yes".to_owned())
    } else if goes("goto", name::AWAY).is_some() {
        if behind("mark 0x").is_some() {
            RuleTells::Elsewhere
        } else {
            RuleTells::Of("allow and deny", "nobody".to_owned())
        }
    } else if rule == format!("goto {}", name::REFUSE) {
        RuleTells::Of("on-empty", OnEmpty::Reject.to_string())
    } else if rule == "drop" {
        RuleTells::Of("on-empty", OnEmpty::Drop.to_string())
    } else if rule.starts_with("goto ") || is_constant(rule) {
        RuleTells::Elsewhere
    } else {
        RuleTells::AsItIs
    }
}

/// Whether a rule does nothing but give the only server: `ct mark set 0x00000001`.
fn is_constant(rule: &str) -> bool {
    let number = rule.split_once(" mark set ").map(|(_, number)| number);
    let number = number.or_else(|| rule.strip_prefix("mark set "));
    number.is_some_and(|number| parsed(number).is_some())
}

/// A rule without the marks that compiling chose, of which another file may have others.
fn without_numbers(rule: &str) -> String {
    let words = rule.split(' ').map(|word| match parsed(word) {
        Some(_) if word.len() == hexadecimal(0).len() => "MARK",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn set_once(service: &mut ServiceOutline, setting: SettingKey, value: &str) {
    let value = || value.to_owned();
    service.settings.entry(setting).or_insert_with(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement that is added later makes a rule that nobody here has a word for.
    #[test]
    fn a_rule_that_is_not_known_is_told_as_it_is() {
        let listing = |rule: &str| {
            let text = format!(
                "table inet flbc {{\n\tchain svc_www_v4 {{\n\t\t{rule}\n\t\tct mark set 0x00000001\n\t\tgoto translate\n\t}}\n}}\n"
            );
            outline(&crate::emit::listing::read(&text).unwrap())
        };
        let of = |rule: &str| listing(rule).services["www"].settings.clone();
        let told = of("ct mark set 0x80000000 jump limit4_100");
        assert_eq!(told["IPv4 rules"], "ct mark set MARK jump limit4_100");
        assert_ne!(told, of("ct mark set 0x80000000 jump limit4_200"));
        assert_eq!(told, of("ct mark set 0x80000001 jump limit4_100"));
        assert_eq!(of("drop")["IPv4 on-empty"], "drop");
    }
}

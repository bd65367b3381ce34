//! A file that can be edited at random, and what was set beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::author::{DEFAULTS, entry, pick, scheduler, servers, standing};
use crate::random::{Dice, assert_all_is_said};

/// How many machines answer. Their addresses end in 11 and up.
pub(super) const MACHINES: u8 = 4;

/// How many services there can be.
const PLACES: usize = 5;

/// What a server is as its line says it, or as `flbc set` left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: &'static str,
    pub(super) weight: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) options: String,
    pub(super) standing: Standing,
}

impl Server {
    /// `weight 0` is another way to write `drain`.
    pub(super) fn standing(&self) -> Standing {
        let Standing { state, weight } = self.standing;
        let takes = matches!(state, "up" | "backup");
        let state = if weight == 0 && takes { "drain" } else { state };
        Standing { state, weight }
    }

    fn line(&self) -> String {
        let Standing { state, weight } = self.standing;
        let state = if state == "up" { "" } else { state };
        let (name, address, options) = (&self.name, &self.address, &self.options);
        format!("server {name} {address} weight {weight} {state} {options}")
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) vips: String,
    pub(super) dr: bool,
    pub(super) mode: &'static str,
    pub(super) scheduler: &'static str,
    pub(super) statements: String,
    pub(super) pools: Vec<usize>,
    pub(super) servers: Vec<Server>,
    /// How many servers a range makes, at addresses that nobody has.
    pub(super) ranged: u64,
}

/// What `flbc set` changed of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Override {
    state: Option<&'static str>,
    weight: Option<u16>,
}

impl Override {
    fn standing(self, file: Standing) -> Standing {
        let weight = self.weight.unwrap_or(file.weight);
        // A weight undoes `weight 0`.
        let unweighted = file.weight == 0 && file.state == "drain";
        let state = self.state.unwrap_or(if unweighted && weight > 0 {
            "up"
        } else {
            file.state
        });
        let takes = matches!(state, "up" | "backup");
        let state = if weight == 0 && takes { "drain" } else { state };
        Standing { state, weight }
    }

    /// What of it is left beside a file.
    fn beside(mut self, file: Standing) -> Option<Self> {
        self.state = self.state.filter(|state| *state != file.state);
        self.weight = self.weight.filter(|weight| *weight != file.weight);
        (self.standing(file) != file).then_some(self)
    }
}

/// What was set, by the name of the server, which is one for all services that use it.
pub(super) type Overrides = BTreeMap<String, Override>;

/// A VIP, a protocol and a port.
pub(super) type Target = (String, &'static str, u16);

/// A configuration that can be edited, as text.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    defaults: &'static str,
    pools: [Vec<Server>; 2],
    /// Whether the pools stand in a file of their own.
    apart: bool,
    services: [Option<Entry>; PLACES],
}

impl Draft {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let mut draft = Self::default();
        for pool in 0..draft.pools.len() {
            draft.pools[pool] = servers(&format!("p{pool}"), false, dice);
        }
        for _ in 0..12 {
            draft.edit(dice);
        }
        draft
    }

    /// Changes one thing.
    pub(super) fn edit(&mut self, dice: &mut Dice) {
        let place = dice.below(PLACES as u64) as usize;
        match dice.below(12) {
            0 => self.services[place] = None,
            1..=3 => self.services[place] = Some(entry(place, dice)),
            4 => {
                let pool = dice.below(2) as usize;
                self.pools[pool] = servers(&format!("p{pool}"), false, dice);
            }
            5 => self.defaults = pick(&DEFAULTS, dice),
            6 => self.apart = !self.apart,
            7 => {
                if let Some(entry) = &mut self.services[place] {
                    entry.scheduler = scheduler(entry.dr, dice);
                }
            }
            8 => {
                let pool = dice.below(2) as usize;
                if let Some(entry) = &mut self.services[place]
                    && !entry.dr
                {
                    match entry.pools.iter().position(|p| *p == pool) {
                        Some(at) if entry.pools.len() > 1 || !entry.servers.is_empty() => {
                            entry.pools.remove(at);
                        }
                        Some(_) => {}
                        None => entry.pools.push(pool),
                    }
                }
            }
            _ => {
                let list = match dice.below(7) as usize {
                    pool @ 0..=1 => Some(&mut self.pools[pool]),
                    place => self.services[place - 2].as_mut().map(|e| &mut e.servers),
                };
                if let Some(list) = list
                    && !list.is_empty()
                {
                    let at = dice.below(list.len() as u64) as usize;
                    list[at].standing = standing(dice);
                }
            }
        }
    }

    /// The main file, and the one that it includes.
    pub(super) fn texts(&self) -> [String; 2] {
        let mut pools = String::new();
        for (number, servers) in self.pools.iter().enumerate() {
            let _ = writeln!(pools, "pool p{number} {{\n{}\n}}", lines(servers));
        }
        let (mut text, included) = if self.apart {
            ("include \"pools.flb\"\n".to_owned(), pools)
        } else {
            (pools, "# nothing\n".to_owned())
        };
        // A service that holds on to both pools, so that no file is at fault.
        text.push_str("service base { vip 192.0.2.99, 2001:db8::99 tcp 1; on-empty drop; pool p0; pool p1 }\n");
        let _ = writeln!(text, "defaults {{ {} }}", self.defaults);
        for (place, entry) in self.services.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let _ = writeln!(
                text,
                "service w{place} {{\n{}\nmode {}\n{}\n{}\n{}",
                entry.vips,
                entry.mode,
                entry.scheduler,
                entry.statements,
                lines(&entry.servers)
            );
            for pool in &entry.pools {
                let _ = writeln!(text, "pool p{pool}");
            }
            if entry.ranged > 0 {
                let last = entry.ranged;
                let _ = writeln!(
                    text,
                    "server r{place}-[1-{last}] 10.20.0.[{}-{}] weight 2",
                    101 + place * 20,
                    100 + place as u64 * 20 + last
                );
            }
            text.push_str("}\n");
        }
        [text, included]
    }

    fn servers_of(&self, entry: &Entry, place: usize) -> Vec<Server> {
        let pools = entry.pools.iter().flat_map(|pool| &self.pools[*pool]);
        let ranged = (1..=entry.ranged).map(|n| Server {
            name: format!("r{place}-{n}"),
            address: String::new(),
            options: String::new(),
            standing: Standing {
                state: "up",
                weight: 2,
            },
        });
        let own = entry.servers.iter().chain(pools).cloned();
        // Without a VIP of its family a server is none.
        let own = own.filter(|server| entry.vips.contains("::") || !server.address.contains("::"));
        own.chain(ranged).collect()
    }

    /// The services, and how each of their servers stands with what was set.
    pub(super) fn standings(
        &self,
        set: &Overrides,
    ) -> BTreeMap<String, BTreeMap<String, Standing>> {
        let of = |servers: Vec<Server>| -> BTreeMap<String, Standing> {
            let each = servers.into_iter().map(|server| {
                let file = server.standing();
                let standing = set.get(&server.name).map_or(file, |one| one.standing(file));
                (server.name, standing)
            });
            each.collect()
        };
        let mut all = BTreeMap::new();
        for (place, entry) in self.services.iter().enumerate() {
            if let Some(entry) = entry {
                all.insert(format!("w{place}"), of(self.servers_of(entry, place)));
            }
        }
        all.insert("base".to_owned(), of(self.pools.concat()));
        all
    }

    /// A random server as `flbc set` names it: its service, its name, and what its line says.
    pub(super) fn any_server(&self, dice: &mut Dice) -> (String, String, Standing) {
        let mut all = Vec::new();
        for server in self.pools.iter().flatten() {
            all.push(("base".to_owned(), server));
        }
        for (place, entry) in self.services.iter().enumerate() {
            let own = entry.iter().flat_map(|entry| &entry.servers);
            all.extend(own.map(|server| (format!("w{place}"), server)));
        }
        let (service, server) = &all[dice.below(all.len() as u64) as usize];
        (service.clone(), server.name.clone(), server.standing())
    }

    /// What clients can connect to: VIPs and ports that the machines hold and listen on.
    pub(super) fn targets(&self) -> Vec<Target> {
        let mut all = Vec::new();
        // The last place has a VIP that no machine holds.
        for entry in self.services[..PLACES - 1].iter().flatten() {
            let words: Vec<&str> = entry.vips.split([' ', ',']).collect();
            for vip in words
                .iter()
                .filter(|word| word.contains("2.") || word.contains("::"))
            {
                for protocol in ["tcp", "udp"] {
                    let ports = [
                        ("80", 80),
                        ("443", 443),
                        ("1400-1600", 1500),
                        ("1000-2000", 1500),
                        ("any", 1500),
                        ("any", 443),
                    ];
                    let ports = ports.iter().filter(|(word, _)| words.contains(word));
                    if words.contains(&protocol) {
                        all.extend(ports.map(|(_, port)| ((*vip).to_owned(), protocol, *port)));
                    }
                }
            }
        }
        all
    }

    /// What a connection by nat that is open stands on: the place of its service, its VIPs, and all servers at this address
    /// there.
    pub(super) fn ground(
        &self,
        set: &Overrides,
        (vip, _, port): &Target,
        address: &str,
    ) -> Option<(usize, String, Vec<String>)> {
        // Of services that have the VIP, that of the single port takes it.
        let mut services = self
            .services
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| {
                let entry = entry.as_ref()?;
                let words: Vec<&str> = entry.vips.split([' ', ',']).collect();
                (words.contains(&vip.as_str()) && words.contains(&"tcp")).then_some((place, entry))
            });
        let alone = services.clone().count() == 1;
        let single = services.clone().find(|(_, entry)| {
            let words: Vec<&str> = entry.vips.split([' ', ',']).collect();
            words.contains(&port.to_string().as_str())
        });
        let (place, entry) = single.or_else(|| services.next().filter(|_| alone))?;
        let ground = (place, entry.vips.clone(), self.at(entry, place, address));
        self.still_has(set, &ground).then_some(ground)
    }

    fn at(&self, entry: &Entry, place: usize, address: &str) -> Vec<String> {
        let all = self.servers_of(entry, place).into_iter();
        let alike = |server: &Server| {
            let rest = server.address.trim_start_matches('[').strip_prefix(address);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_hexdigit()))
        };
        let mut all: Vec<String> = all.filter(alike).map(|server| server.address).collect();
        all.sort();
        all
    }

    /// Whether that is as it was, and none of those servers is down.
    pub(super) fn still_has(
        &self,
        set: &Overrides,
        (place, vips, servers): &(usize, String, Vec<String>),
    ) -> bool {
        let Some(entry) = &self.services[*place] else {
            return false;
        };
        let Some(address) = servers.first() else {
            return false;
        };
        let address = bare(address);
        let down = self.servers_of(entry, *place).iter().any(|server| {
            let file = server.standing();
            let now = set.get(&server.name).map_or(file, |one| one.standing(file));
            bare(&server.address) == address && now.state == "down"
        });
        !entry.dr && entry.vips == *vips && !down && self.at(entry, *place, address) == *servers
    }

    /// The address of a server.
    pub(super) fn address_of(&self, name: &str) -> String {
        let own = self.services.iter().flatten().flat_map(|e| &e.servers);
        let mut all = own.chain(self.pools.iter().flatten());
        let server = all.find(|server| server.name == name);
        bare(server.map_or("", |server| &server.address)).to_owned()
    }

    /// What of this is left where it is kept beside this file. `addresses` are those of the servers that were set, then and
    /// afterwards: a server whose name is gone is one that has its address there, and was not set itself.
    pub(super) fn kept(
        &self,
        set: &Overrides,
        addresses: &mut BTreeMap<String, String>,
    ) -> Overrides {
        let own = self.services.iter().flatten().flat_map(|e| &e.servers);
        let servers: Vec<&Server> = own.chain(self.pools.iter().flatten()).collect();
        let is_there = |name: &String| servers.iter().any(|server| server.name == *name);
        let (there, lost): (Vec<_>, Vec<_>) = set.iter().partition(|(name, _)| is_there(name));
        let mut goes_on: BTreeMap<&str, Override> = there
            .iter()
            .map(|(name, one)| (name.as_str(), **one))
            .collect();
        for (name, one) in lost {
            let place = |name: &str| name.split('-').next().map(str::to_owned);
            let same = servers.iter().filter(|server| {
                place(&server.name) == place(name)
                    && addresses.get(name) == Some(&server.address)
                    && !goes_on.contains_key(&*server.name)
            });
            let same: Vec<&&Server> = same.collect();
            if let [server] = *same {
                goes_on.insert(&server.name, *one);
            }
        }
        addresses.clear();
        let kept = servers.iter().filter_map(|server| {
            let left = goes_on.get(&*server.name)?.beside(server.standing())?;
            addresses.insert(server.name.clone(), server.address.clone());
            Some((server.name.clone(), left))
        });
        kept.collect()
    }

    /// The address of a server as its line has it.
    pub(super) fn written_address_of(&self, name: &str) -> String {
        let own = self.services.iter().flatten().flat_map(|e| &e.servers);
        let mut all = own.chain(self.pools.iter().flatten());
        let server = all.find(|server| server.name == name);
        server.map_or_else(String::new, |server| server.address.clone())
    }
}

/// The fewest commands that set this in tables made from this file.
pub(super) fn commands(set: &Overrides) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for (name, one) in set {
        // `w3-1` is of service `w3`, `p1-0` of a pool, which `base` uses.
        let service = match name.split('-').next() {
            Some(place) if place.starts_with('w') => place,
            _ => "base",
        };
        let mut command = |what: &[&str]| {
            let words = [&["set", service, name], what].concat();
            commands.push(words.into_iter().map(str::to_owned).collect());
        };
        if let Some(weight) = one.weight {
            command(&["weight", &weight.to_string()]);
        }
        if let Some(state) = one.state {
            command(&[state]);
        }
    }
    commands
}

/// Adds a wish to what was set; `None`: flbc refuses it.
pub(super) fn wish(
    set: &Overrides,
    server: &str,
    file: Standing,
    what: &[String],
) -> Option<Overrides> {
    let mut set = set.clone();
    let mut one = set.remove(server).unwrap_or_default();
    if let [_, weight] = what {
        one.weight = Some(weight.parse().expect("a weight"));
    } else {
        let states = ["up", "drain", "down", "backup"];
        one.state = states.into_iter().find(|state| *state == what[0]);
        if one.state != Some(one.standing(file).state) {
            return None;
        }
    }
    if let Some(left) = one.beside(file) {
        set.insert(server.to_owned(), left);
    }
    Some(set)
}

/// An address without its port.
fn bare(address: &str) -> &str {
    match address.strip_prefix('[') {
        Some(six) => six.split(']').next(),
        None if address.contains("::") => Some(address),
        None => address.split(':').next(),
    }
    .unwrap_or_default()
}

fn lines(servers: &[Server]) -> String {
    let lines: Vec<String> = servers.iter().map(Server::line).collect();
    lines.join("\n")
}

#[test]
fn files_of_a_walk_say_all_that_a_service_can_say() {
    let texts = (0..40).flat_map(|seed| Draft::new(&mut Dice::new(seed)).texts());
    assert_all_is_said(texts);
}

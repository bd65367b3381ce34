//! What is shown, and what two readings say about the time between them.

use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::apply::{ServerView, ServiceView, View};
use crate::diff::Counter;
use crate::emit::netlink::TableFamily;
use crate::kernel::Memory;

/// One reading.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// What there is to say of a trial that is open.
    pub(super) trial: Option<String>,
    /// What the operator should know, a sentence each.
    pub(super) warnings: Vec<String>,
    /// How many low bits of marks are left to others, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mark_shift: Option<u8>,
    /// Seconds since the reading before, that rates are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interval: Option<f64>,
    /// What is remembered, by what remembers it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) memory: Vec<Table>,
    pub(super) services: Vec<Service>,
}

/// A map of clients or flows.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// `nat` or `dr`.
    pub(super) mode: &'static str,
    /// Its name in the kernel.
    pub(super) map: String,
    /// `clients` or `flows`.
    pub(super) of: &'static str,
    /// How many there are.
    pub(super) used: usize,
    /// How many there can be.
    pub(super) room: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) mode: &'static str,
    /// Whether other services use the same servers, whose figures are then those of all of them together.
    pub(super) shared: bool,
    pub(super) vips: Vec<Vip>,
    /// New connections in nat, packets in dr that `allow` and `deny` turned away; none without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turned_away: Option<u64>,
    /// How many clients are remembered (`persist`), of all servers; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clients: Option<usize>,
    /// How many flows are remembered (`track`), of all servers; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flows: Option<usize>,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) servers: Vec<Server>,
}

#[derive(Debug, Serialize)]
pub(super) struct Vip {
    #[serde(rename = "vip")]
    pub(super) words: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

#[derive(Debug, Serialize)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) weight: u16,
    pub(super) state: String,
    /// What the file says, where something else was set.
    pub(super) file: Option<String>,
    /// Slots over all slots of its family, 0 to 1.
    pub(super) share: f64,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// What was counted since the beginning; nothing where the kernel does not see it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Figures {
    /// New connections, in nat.
    pub(super) connections: Option<u64>,
    /// From clients to real servers.
    pub(super) to: Option<Amount>,
    /// From real servers to clients, in nat.
    pub(super) from: Option<Amount>,
    /// The same, a second, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<Rates>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Amount {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rates {
    pub(super) connections: Option<f64>,
    pub(super) to: Option<Rate>,
    pub(super) from: Option<Rate>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rate {
    pub(super) packets: f64,
    pub(super) bits: f64,
}

impl From<Counter> for Amount {
    fn from(counter: Counter) -> Self {
        Self {
            packets: counter.packets,
            bytes: counter.bytes,
        }
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
        })
    }
}

const NAT: &str = "nat";
const CLIENTS: &str = "clients";
const FLOWS: &str = "flows";

impl Status {
    pub(super) fn of(view: &View) -> Self {
        let mut users: FxHashMap<u32, usize> = FxHashMap::default();
        for server in view.services.values().flat_map(|service| &service.servers) {
            *users.entry(server.number).or_default() += 1;
        }
        let is_shared = |server: &ServerView| users.get(&server.number) > Some(&1);
        let services = view.services.iter();
        Self {
            trial: None,
            warnings: Vec::new(),
            mark_shift: Some(view.layout.shift()).filter(|shift| *shift > 0),
            interval: None,
            memory: Vec::new(),
            services: services
                .map(|(name, service)| {
                    Service::of(name, service, service.servers.iter().any(is_shared))
                })
                .collect(),
        }
    }

    /// Adds what rules remember.
    pub(super) fn remember(&mut self, memories: &[Memory], view: &View) {
        for memory in memories {
            let mode = match memory.family {
                TableFamily::Inet => NAT,
                TableFamily::Netdev => "dr",
            };
            let of = if memory.map.starts_with("persist") {
                CLIENTS
            } else {
                FLOWS
            };
            self.memory.push(Table {
                mode,
                map: memory.map.to_string(),
                of,
                used: memory.by_server.values().sum(),
                room: memory.room,
            });
            for service in self.services.iter_mut().filter(|s| s.mode == mode) {
                let servers = view.services.get(&service.name).into_iter();
                let numbers = servers.flat_map(|service| service.servers.iter().map(|s| s.number));
                let count: usize = numbers
                    .filter_map(|number| memory.by_server.get(&number))
                    .sum();
                let known = if of == CLIENTS {
                    &mut service.clients
                } else {
                    &mut service.flows
                };
                if count > 0 {
                    *known = Some(known.unwrap_or_default() + count);
                }
            }
        }
    }

    /// What to say of maps that have little room left.
    pub(super) fn nearly_full(&self) -> Vec<String> {
        let full = self.memory.iter().filter(|table| {
            // Four fifths.
            table.used as u64 * 5 >= u64::from(table.room) * 4
        });
        full.map(|table| {
            format!(
                "{} of {} {} are remembered in `{}` ({}): when it is full, {}",
                table.used,
                table.room,
                table.of,
                table.map,
                table.mode,
                if table.of == CLIENTS {
                    "new clients are balanced, but not remembered; a shorter `persist` or a prefix makes room"
                } else {
                    "new flows go by a hash; a shorter `track` makes room"
                }
            )
        })
        .collect()
    }

    /// Adds what happened since `before`, so long ago.
    pub(super) fn compare(&mut self, before: &Self, ago: Duration) {
        let seconds = ago.as_secs_f64();
        self.interval = Some(seconds);
        let known: FxHashMap<&str, &Service> = before
            .services
            .iter()
            .map(|service| (service.name.as_str(), service))
            .collect();
        for service in &mut self.services {
            let Some(old) = known.get(service.name.as_str()) else {
                continue;
            };
            service.figures.compare(&old.figures, seconds);
            for (vip, old) in beside(&mut service.vips, &old.vips, |vip| &vip.words) {
                vip.figures.compare(&old.figures, seconds);
            }
            for (server, old) in beside(&mut service.servers, &old.servers, |server| &server.name) {
                server.figures.compare(&old.figures, seconds);
            }
        }
    }
}

/// Each that was there before, with what it was.
fn beside<'n, 'o, T>(
    new: &'n mut [T],
    old: &'o [T],
    name: impl Fn(&T) -> &String,
) -> Vec<(&'n mut T, &'o T)> {
    let known: FxHashMap<&str, &T> = old.iter().map(|one| (name(one).as_str(), one)).collect();
    new.iter_mut()
        .filter_map(|one| {
            let old = known.get(name(one).as_str()).copied()?;
            Some((one, old))
        })
        .collect()
}

impl Service {
    fn of(name: &str, service: &ServiceView, shared: bool) -> Self {
        let nat = service.mode == NAT;
        let vips: Vec<Vip> = service
            .vips
            .iter()
            .map(|(words, counter)| Vip {
                words: words.clone(),
                figures: Figures {
                    connections: nat.then_some(counter.packets),
                    to: (!nat).then_some((*counter).into()),
                    ..Figures::default()
                },
            })
            .collect();
        let servers: Vec<Server> = service.servers.iter().map(|s| Server::of(s, nat)).collect();
        let all = |of: fn(&Figures) -> Option<Amount>| {
            let amounts = servers.iter().map(|server| of(&server.figures));
            amounts.sum::<Option<Amount>>().filter(|_| !shared)
        };
        let figures = Figures {
            connections: vips.iter().map(|vip| vip.figures.connections).sum(),
            to: if nat {
                all(|figures| figures.to)
            } else {
                vips.iter().map(|vip| vip.figures.to).sum()
            },
            from: if nat {
                all(|figures| figures.from)
            } else {
                None
            },
            rate: None,
        };
        Self {
            name: name.to_owned(),
            mode: service.mode,
            shared,
            vips,
            turned_away: service.turned_away.map(|counter| counter.packets),
            clients: None,
            flows: None,
            figures,
            servers,
        }
    }
}

impl Server {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn of(server: &ServerView, nat: bool) -> Self {
        Self {
            name: server.name.clone(),
            endpoint: server.endpoint(),
            weight: server.weight,
            state: server.state.clone(),
            file: server.file.map(|file| file.to_string()),
            share: server.slots as f64 / server.of_slots.max(1) as f64,
            figures: Figures {
                connections: nat.then_some(server.counter.packets),
                to: server.to.map(Amount::from),
                from: server.from.map(Amount::from),
                rate: None,
            },
        }
    }
}

impl Figures {
    fn compare(&mut self, before: &Self, seconds: f64) {
        let amounts = |now: Option<Amount>, then: Option<Amount>| {
            let (now, then) = now.zip(then)?;
            Some(Rate {
                packets: rate(now.packets, then.packets, seconds),
                bits: rate(now.bytes, then.bytes, seconds) * 8.0,
            })
        };
        let connections = self.connections.zip(before.connections);
        self.rate = Some(Rates {
            connections: connections.map(|(now, then)| rate(now, then, seconds)),
            to: amounts(self.to, before.to),
            from: amounts(self.from, before.from),
        });
    }
}

/// How much a second. A counter that is lower than before began anew.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(now: u64, then: u64, seconds: f64) -> f64 {
    now.checked_sub(then).unwrap_or(now) as f64 / seconds.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::{CLIENTS, FLOWS, NAT, Status, Table, rate};

    #[test]
    fn a_map_is_nearly_full_from_four_fifths_on() {
        let table = |of, used| Table {
            mode: NAT,
            map: "persist4".to_owned(),
            of,
            used,
            room: 10,
        };
        let status = Status {
            trial: None,
            warnings: Vec::new(),
            mark_shift: None,
            interval: None,
            memory: vec![table(CLIENTS, 7), table(CLIENTS, 8), table(FLOWS, 10)],
            services: Vec::new(),
        };
        let told = status.nearly_full();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|words| words.contains("of 10")), "{told:?}");
    }

    #[test]
    fn a_rate_is_of_what_came_since_and_a_counter_may_begin_anew() {
        let rates = [rate(30, 10, 2.0), rate(5, 5, 2.0), rate(4, 10, 2.0)];
        assert!(
            rates
                .iter()
                .zip([10.0, 0.0, 2.0])
                .all(|(a, b)| (a - b).abs() < 1e-9)
        );
    }
}

//! The object, out of the tables, and what two readings say about the time between them.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::figures::{Amount, Figures};
use super::{
    AppliedState, Beside, Differs, Kept, Server, Service, Status, Table, TablesThere, Vip,
};
use crate::apply::{Look, Tables, drifted};
use crate::doctor::{self, Hooked};
use crate::kernel::{Kernel, KernelError, Memory};
use crate::model::{Layer, Mark, ModeKind, Model};
use crate::operate::trial;
use crate::ruleset::name;
use crate::view::{ServerView, ServiceView, View, mode_of};

impl Status {
    /// One reading of everything.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn read<K: Kernel>(tables: &mut Tables<K>) -> Result<Self, KernelError> {
        let name = tables.name().to_owned();
        let look = tables.look()?;
        let applied = AppliedState::of(&look);
        let Look {
            mut view, known, ..
        } = look;
        let traffic = tables.kernel.traffic_of(&name, &view.counted())?;
        let mut warnings = applied.not_in_force.clone();
        if let Some(known) = known {
            let foreign = tables.kernel.base_chains(&name)?;
            let obstacles = doctor::obstacles(foreign, &Hooked::by(known.model()));
            let obstacles = tables.kernel.rules_of_chains(obstacles)?;
            warnings.extend(doctor::refusing_by_policy(known.model(), &obstacles));
        }
        view.count(&traffic);
        let mut status = Self::of(&view);
        let memories = tables.kernel.memories(&name)?;
        status.remember(&memories, &view);
        status.ask_for_connections(&mut tables.kernel, &memories, &view)?;
        warnings.extend(status.unanswered());
        warnings.extend(status.nearly_full());
        Ok(Self {
            at: tables.kernel.clock(),
            trial: trial::notice(tables),
            warnings,
            applied,
            ..status
        })
    }

    fn of(view: &View) -> Self {
        let mut users: FxHashMap<u32, usize> = FxHashMap::default();
        for server in view.services.values().flat_map(|service| &service.servers) {
            *users.entry(server.number).or_default() += 1;
        }
        let is_shared = |server: &ServerView| users.get(&server.number) > Some(&1);
        let mut services: Vec<(&String, &ServiceView)> = view.services.iter().collect();
        // What the file does not have stands behind, by name.
        services.sort_by_key(|(_, service)| service.place.unwrap_or(usize::MAX));
        Self {
            trial: None,
            daemon: None,
            warnings: Vec::new(),
            applied: AppliedState::default(),
            mark_shift: Some(view.layout.shift()).filter(|shift| *shift > 0),
            interval: None,
            at: 0,
            memory: Vec::new(),
            services: services
                .into_iter()
                .map(|(name, service)| {
                    Service::of(name, service, service.servers.iter().any(is_shared))
                })
                .collect(),
        }
    }

    /// Adds what rules remember.
    fn remember(&mut self, memories: &[Memory], view: &View) {
        for memory in memories {
            let mode = mode_of(memory.family);
            let of = if memory.map.starts_with(name::CLIENTS) {
                Kept::Clients
            } else {
                Kept::Flows
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
                let known = match of {
                    Kept::Clients => &mut service.clients,
                    Kept::Flows => &mut service.flows,
                };
                if count > 0 {
                    *known = Some(known.unwrap_or_default() + count);
                }
            }
        }
    }

    /// What to say of maps that have little room left.
    fn nearly_full(&self) -> Vec<String> {
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
                match table.of {
                    Kept::Clients => "new clients are balanced, but not remembered; a shorter `persist` or a prefix makes room",
                    Kept::Flows => "new flows go by a hash; a shorter `track` makes room",
                }
            )
        })
        .collect()
    }

    /// Adds what happened since `before`, so long ago.
    pub fn compare(&mut self, before: &Self, ago: Duration) {
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
        let nat = service.mode == ModeKind::Nat;
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

impl AppliedState {
    fn of(look: &Look) -> Self {
        let mut reasons: Vec<String> = look.gaps.iter().map(ToString::to_string).collect();
        reasons.extend(drifted(&look.drift, "; `flbc apply --keep` puts it right"));
        let [inet, netdev] = look.tables;
        let declared = look.known.as_ref().map(|known| known.effective.declared());
        Self {
            in_force: look.in_force(),
            not_in_force: reasons,
            tables: TablesThere { inet, netdev },
            at: look.applied_at,
            config: declared.map(Model::digest),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Default for AppliedState {
    /// Nothing is there, and nothing was applied.
    fn default() -> Self {
        Self {
            in_force: None,
            not_in_force: Vec::new(),
            tables: TablesThere {
                inet: false,
                netdev: false,
            },
            at: None,
            config: None,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Beside {
    fn of(mark: &Mark) -> Self {
        let Mark {
            file,
            now,
            cause,
            wish,
        } = mark;
        let since = |layer, wanted: Option<u64>| wanted.filter(|_| layer == Layer::Operator);
        let state_since = wish.and_then(|wish| Some(wish.state?.since));
        let weight_since = wish.and_then(|wish| Some(wish.weight?.since));
        Self {
            state: (now.state != file.state).then(|| Differs {
                file: file.state,
                by: cause.state,
                // A weight of 0 drains, and one above it ends that.
                since: since(cause.state, state_since.or(weight_since)),
            }),
            weight: (now.weight != file.weight).then(|| Differs {
                file: file.weight,
                by: cause.weight,
                since: since(cause.weight, weight_since),
            }),
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
            state: server.state,
            file: server.mark.map(|mark| mark.file.to_string()),
            beside: server.mark.as_ref().map(Beside::of),
            left: None,
            returning: None,
            unanswered: None,
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

#[cfg(test)]
mod tests {
    use super::{Kept, ModeKind, Status, Table};

    #[test]
    fn a_map_is_nearly_full_from_four_fifths_on() {
        let table = |of, used| Table {
            mode: ModeKind::Nat,
            map: "persist4".to_owned(),
            of,
            used,
            room: 10,
        };
        let status = Status {
            trial: None,
            daemon: None,
            warnings: Vec::new(),
            applied: super::AppliedState::default(),
            mark_shift: None,
            interval: None,
            at: 0,
            memory: vec![
                table(Kept::Clients, 7),
                table(Kept::Clients, 8),
                table(Kept::Flows, 10),
            ],
            services: Vec::new(),
        };
        let told = status.nearly_full();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|words| words.contains("of 10")), "{told:?}");
    }
}

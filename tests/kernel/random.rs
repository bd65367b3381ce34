//! Random configurations, each an edit of the one before.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flbc::diagnostic::Diagnostics;
use flbc::lower;
use flbc::model::{
    Access, DirectReturn, HashKey, MacAddress, Member, Mode, Model, OnEmpty, Pool, PoolId, Ports,
    Protocol, RealServer, Scheduler, Service, SourceNat, State, Via, Vip,
};
use flbc::outline::Outline;
use flbc::ruleset::Ruleset;
use flbc::schedule;
use flbc::source::{Sources, Span};
use flbc::syntax::{Home, Keyword, OptionWord};
use flbc::view::ObservedNumbers;

/// xorshift64*: the same numbers for the same seed everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn small(&mut self, limit: u8) -> u8 {
        u8::try_from(self.below(limit.into())).expect("below a u8")
    }
}

/// Makes configurations.
pub(crate) struct Author {
    pub(crate) dice: Dice,
    span: Span,
    /// Whether there are direct-return services, on `eth0` and `eth1`.
    with_dr: bool,
}

impl Author {
    pub(crate) const fn new(seed: u64, span: Span, with_dr: bool) -> Self {
        Self {
            dice: Dice::new(seed),
            span,
            with_dr,
        }
    }

    /// A configuration out of nothing.
    pub(crate) fn model(&mut self) -> Model {
        let pools = (0..2).map(|n| self.pool(n)).collect();
        let mut services: Vec<Service> = Vec::new();
        for _ in 0..self.dice.below(5) {
            let number = self.dice.small(8);
            if services.iter().all(|s| s.name != service_name(number)) {
                services.push(self.service(number));
            }
        }
        Model { pools, services }
    }

    /// The same, edited in one to three places.
    pub(crate) fn edit(&mut self, model: &Model) -> Model {
        let mut next = model.clone();
        for _ in 0..=self.dice.below(3) {
            self.edit_once(&mut next);
        }
        next
    }

    fn edit_once(&mut self, model: &mut Model) {
        let number = self.dice.small(8);
        let name = service_name(number);
        let place = model.services.iter().position(|s| s.name == name);
        match (self.dice.below(6), place) {
            (0, Some(place)) => drop(model.services.remove(place)),
            (0 | 1, None) => model.services.push(self.service(number)),
            (1, Some(place)) => model.services[place] = self.service(number),
            (2, _) => {
                let pool = self.dice.small(2);
                let at = usize::from(pool);
                model.pools[at] = self.pool(pool);
            }
            (3, Some(place)) => model.services[place].scheduler = self.scheduler(),
            _ => {
                let pools = model.pools.iter_mut().flat_map(|p| &mut p.real_servers);
                let own = model.services.iter_mut().flat_map(|s| &mut s.members);
                let own = own.filter_map(|member| match member {
                    Member::Server(server) => Some(server),
                    Member::Pool(_) => None,
                });
                let mut all: Vec<&mut RealServer> = pools.chain(own).collect();
                let at = self.dice.below(all.len() as u64) as usize;
                let (weight, state) = self.standing();
                all[at].weight = weight;
                all[at].state = state;
            }
        }
    }

    fn standing(&mut self) -> (u16, State) {
        let weight = 1 + u16::from(self.dice.small(4));
        let state = match self.dice.below(8) {
            0 => State::Drain,
            1 => State::Down,
            2 => State::Backup,
            _ => State::Up,
        };
        (weight, state)
    }

    fn pool(&mut self, number: u8) -> Pool {
        Pool {
            name: format!("pool{number}").into(),
            span: self.span,
            real_servers: self.servers(100 + number, false),
        }
    }

    fn servers(&mut self, net: u8, dr: bool) -> Vec<RealServer> {
        let count = 1 + self.dice.small(4);
        (0..count)
            .map(|host| {
                let six = self.dice.one_in(4);
                let address = if six {
                    let host = u16::from(host) + 1;
                    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, net.into(), 0, 0, 0, host))
                } else {
                    IpAddr::V4(Ipv4Addr::new(10, 20, net, host + 1))
                };
                let (weight, state) = self.standing();
                let port = (!dr && self.dice.one_in(2)).then_some(8080);
                RealServer {
                    name: format!("web{host}").into(),
                    address,
                    port,
                    weight,
                    state,
                    file_weight: weight,
                    reserve: state == State::Backup,
                    mac: (dr && self.dice.one_in(3)).then_some(MacAddress([2, 0, 0, 0, net, host])),
                    via: None,
                    span: self.span,
                }
            })
            .collect()
    }

    fn scheduler(&mut self) -> Scheduler {
        let key = if self.dice.one_in(2) {
            HashKey::Source
        } else {
            HashKey::SourcePort
        };
        match self.dice.below(4) {
            0 => Scheduler::RoundRobin,
            1 => Scheduler::Random,
            2 => Scheduler::Hash(key),
            _ => Scheduler::Maglev {
                key,
                table: Some(13),
            },
        }
    }

    fn mode(&mut self) -> Mode {
        if self.with_dr && self.dice.one_in(3) {
            let interface: Arc<str> = if self.dice.one_in(2) { "eth0" } else { "eth1" }.into();
            let via = self.dice.one_in(2).then(|| Via {
                interface: "eth1".into(),
                from: Some(MacAddress([2, 0, 0, 0, 0, 1])),
                looked_up: false,
            });
            return Mode::Dr(DirectReturn {
                on: vec![interface],
                via,
            });
        }
        Mode::Nat(match self.dice.below(4) {
            0 => SourceNat::Masquerade,
            1 => SourceNat::Fixed {
                ipv4: Some(Ipv4Addr::new(10, 0, 0, 99)),
                ipv6: Some(Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, 9)),
            },
            _ => SourceNat::Keep,
        })
    }

    fn vips(&mut self, number: u8) -> Vec<Vip> {
        let mut vips = Vec::new();
        for six in [false, true] {
            if six && self.dice.one_in(2) {
                continue;
            }
            let address = if six {
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()))
            } else {
                IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
            };
            for (ports, chance) in [
                (Ports::One(80), 1),
                (Ports::One(443), 2),
                (Ports::Range(5000, 5999), 3),
                (Ports::Range(6000, 6100), 4),
                (Ports::Any, 5),
            ] {
                if self.dice.one_in(chance) {
                    vips.push(Vip {
                        address,
                        protocol: if self.dice.one_in(3) {
                            Protocol::Udp
                        } else {
                            Protocol::Tcp
                        },
                        ports,
                        span: self.span,
                    });
                }
            }
        }
        vips
    }

    fn service(&mut self, number: u8) -> Service {
        let mode = self.mode();
        let dr = matches!(mode, Mode::Dr(_));
        let mut members: Vec<Member> = Vec::new();
        if !dr && self.dice.one_in(2) {
            members.push(Member::Pool(PoolId(usize::from(self.dice.small(2)))));
        }
        if members.is_empty() || self.dice.one_in(3) {
            let own = self.servers(number, dr).into_iter().map(|server| {
                let name = format!("own{}", server.name).into();
                Member::Server(RealServer { name, ..server })
            });
            members.extend(own);
        }
        Service {
            name: service_name(number),
            span: self.span,
            vips: self.vips(number),
            mode,
            scheduler: self.scheduler(),
            persistence: None,
            track: None,
            on_empty: if self.dice.one_in(3) {
                OnEmpty::Drop
            } else {
                OnEmpty::Reject
            },
            access: Access::default(),
            members,
        }
    }
}

/// A file that no writer of random files writes is one that no random test loads: between them, these must use every statement
/// that a service can hold, and every option of `server`.
#[track_caller]
pub(crate) fn assert_all_is_said(files: impl Iterator<Item = String>) {
    let all: Vec<String> = files.collect();
    let said: BTreeSet<&str> = all
        .iter()
        .flat_map(|text| text.split(|c: char| c.is_whitespace() || c == ';'))
        .collect();
    let statements = Home::Service.statements().map(Keyword::text);
    let options = OptionWord::ALL.iter().map(|option| option.text());
    for word in statements.chain(options) {
        assert!(said.contains(word), "no random file has `{word}`");
    }
}

/// What the writer of random models leaves as it is, and who tries it instead.
const LEFT_ALONE: &[Keyword] = &[
    // Clients that are remembered: persist.rs, apply_edits.rs and the walk.
    Keyword::Persist,
    Keyword::Track,
    // Lists of prefixes: access.rs, apply_edits.rs and the walk.
    Keyword::Allow,
    Keyword::Deny,
];

#[test]
fn random_models_differ_in_all_that_a_service_can_say() {
    let span = Sources::new().add("random.flb", "".into(), String::new());
    let span = Span {
        file: span,
        start: 0,
        end: 0,
    };
    let mut said: HashMap<Keyword, BTreeSet<String>> = HashMap::new();
    for seed in 0..40 {
        let model = Author::new(seed, span, true).model();
        for (_, service) in Outline::of(&model).services {
            for keyword in Home::Service.statements() {
                let value = if keyword == Keyword::Vip {
                    service.vips.join(", ")
                } else if keyword == Keyword::Pool {
                    service.pools.join(", ")
                } else if keyword == Keyword::Server {
                    format!("{:?}", service.servers)
                } else {
                    format!("{:?}", service.settings.get(keyword.text()))
                };
                said.entry(keyword).or_default().insert(value);
            }
        }
    }
    for (keyword, values) in said {
        // A setting that is the same in all of them is tried by none of the tests that are made of them.
        assert_eq!(
            values.len() > 1,
            !LEFT_ALONE.contains(&keyword),
            "{keyword:?}: {values:?}"
        );
    }
}

fn service_name(number: u8) -> Arc<str> {
    format!("s{number}").into()
}

/// Compiles a configuration with numbers that keep those observed.
pub(crate) fn compile(model: &Model, observed: &ObservedNumbers) -> Ruleset {
    let mut sink = Diagnostics::new();
    let plan = schedule::schedule(model, &mut sink);
    let numbers = lower::number::assign(
        &plan,
        ("flbc", observed.layout),
        &observed.into(),
        &mut sink,
    );
    assert_eq!(sink.errors(), 0, "the numbers suffice");
    lower::lower(model, &plan, &numbers, "flbc")
}

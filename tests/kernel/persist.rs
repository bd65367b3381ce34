//! Clients come back to the server that they had.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{self, Connection, Datagrams, Protocol};
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, compile, sampled};
use crate::random::Dice;

/// How a service forwards and draws: each scheduler would scatter the flows of one client.
#[derive(Clone, Copy, Debug)]
struct Way {
    layout: Layout,
    mode: &'static str,
    scheduler: &'static str,
}

const NAT: Way = Way {
    layout: Layout::Nat,
    mode: "nat",
    scheduler: "random",
};

const MASQUERADE: Way = Way {
    layout: Layout::Nat,
    mode: "nat masquerade",
    scheduler: "round-robin",
};

const DR: Way = Way {
    layout: Layout::DrOneInterface,
    mode: "dr on eth0",
    scheduler: "maglev by source-port table 251",
};

const WAYS: [Way; 3] = [NAT, MASQUERADE, DR];

/// Two VIPs of each family.
const VIPS: [[&str; 2]; 2] = [
    ["192.0.2.10", "192.0.2.53"],
    ["2001:db8::10", "2001:db8::53"],
];

const PORTS: [u16; 2] = [80, 81];

struct Stage {
    way: Way,
    topology: Topology,
    host: Host,
    _serving: Vec<RealServer>,
}

impl Stage {
    fn new(way: Way, servers: u8) -> Self {
        let topology = Topology::new(way.layout, servers);
        let serving = topology.serve(&PORTS);
        let host = Host::new(&topology.balancer);
        Self {
            way,
            topology,
            host,
            _serving: serving,
        }
    }

    /// The service, with the servers that are there, each with what `options` says of it.
    fn file(&self, persist: &str, options: &[(&str, &str)]) -> String {
        let Way {
            mode, scheduler, ..
        } = self.way;
        let servers = self.topology.servers.iter().filter_map(|server| {
            let said = options.iter().find(|(name, _)| *name == server.name);
            let said = said.map_or("", |(_, said)| *said);
            (said != "gone").then(|| {
                format!(
                    "server {name} {} {said}\nserver {name}6 {} {said}\n",
                    server.v4,
                    server.v6,
                    name = server.name
                )
            })
        });
        format!(
            "service www {{\nvip {} tcp, udp 80, 81\nmode {mode}\nscheduler {scheduler}\n{persist}\n{}}}\n",
            VIPS.concat().join(", "),
            servers.collect::<String>()
        )
    }

    fn apply(&self, persist: &str, options: &[(&str, &str)]) -> String {
        self.host.apply(&self.file(persist, options))
    }

    /// Who answers a new flow.
    fn who(&self, from: IpAddr, port: u16, to: SocketAddr) -> String {
        let from = SocketAddr::new(from, port);
        let answer = client::ask(
            &self.topology.client,
            Protocol::Udp,
            Some(from),
            to,
            PATIENCE,
        );
        answer
            .unwrap_or_else(|error| panic!("{:?} {from} to {to}: {error}", self.way))
            .server
    }

    /// The elements of both maps.
    fn remembered(&self) -> usize {
        let listed = self.host.list();
        listed.matches(" expires ").count()
    }
}

/// A client's address, of the family of `to`.
fn address(to: SocketAddr, number: u32) -> IpAddr {
    client::source(to, number).ip()
}

fn vips(family: usize) -> impl Iterator<Item = SocketAddr> {
    let addresses = VIPS[family]
        .iter()
        .map(|vip| vip.parse::<IpAddr>().unwrap());
    addresses.flat_map(|vip| PORTS.map(|port| SocketAddr::new(vip, port)))
}

#[test]
fn a_client_comes_back_from_any_port_to_any_vip_and_port() {
    for way in WAYS {
        let stage = Stage::new(way, 3);
        stage.apply("persist 1m", &[]);
        for family in 0..2 {
            let to: Vec<SocketAddr> = vips(family).collect();
            let mut used: BTreeMap<String, usize> = BTreeMap::new();
            for number in 0..20 {
                let from = address(to[0], number);
                let mut ports = 2000..;
                let flows = to.iter().chain(&to);
                let servers: Vec<String> = flows
                    .zip(&mut ports)
                    .map(|(to, port)| stage.who(from, port, *to))
                    .collect();
                assert!(
                    servers.iter().all(|server| *server == servers[0]),
                    "{way:?} {from}: {servers:?}"
                );
                *used.entry(servers[0].clone()).or_default() += 1;
            }
            assert!(used.len() > 1, "{way:?}: all clients are at one: {used:?}");
        }
        assert_eq!(stage.remembered(), 40, "{way:?}");
    }
}

#[test]
fn without_persistence_the_same_flows_scatter() {
    for way in WAYS {
        let stage = Stage::new(way, 3);
        stage.apply("", &[]);
        let to = at("192.0.2.10:80");
        let from = address(to, 0);
        let servers: Vec<String> = (2000..2024).map(|port| stage.who(from, port, to)).collect();
        assert!(client::tally(&servers).len() > 1, "{way:?}: {servers:?}");
    }
}

#[test]
fn clients_of_one_prefix_share_a_server_and_those_of_others_do_not_all() {
    for way in WAYS {
        let stage = Stage::new(way, 3);
        stage.apply("persist 1m by source/29/125", &[]);
        for family in 0..2 {
            let to = vips(family).next().unwrap();
            let mut used: BTreeMap<String, usize> = BTreeMap::new();
            for network in 0..10 {
                let servers: Vec<String> = (0..8)
                    .map(|host| stage.who(address(to, 8 * network + host), 2000, to))
                    .collect();
                assert_eq!(client::tally(&servers).len(), 1, "{way:?} {servers:?}");
                *used.entry(servers[0].clone()).or_default() += 1;
            }
            assert!(used.len() > 1, "{way:?}: {used:?}");
        }
        assert_eq!(stage.remembered(), 20);
    }
}

#[test]
fn silence_ends_it_and_traffic_does_not() {
    for way in WAYS {
        for to in ["192.0.2.10:80", "[2001:db8::10]:80"].map(at) {
            let stage = Stage::new(way, 3);
            stage.apply("persist 2s", &[]);
            // One client who goes on talking on one flow, one that falls silent.
            let [talking, silent] = [0, 1].map(|number| address(to, number));
            let from = SocketAddr::new(talking, 2000);
            let flow = Datagrams::open(&stage.topology.client, Some(from), to, PATIENCE).unwrap();
            let first = flow.ask().unwrap().server;
            stage.who(silent, 2000, to);
            assert_eq!(stage.remembered(), 2, "{way:?}");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(5) {
                thread::sleep(Duration::from_millis(400));
                assert_eq!(flow.ask().unwrap().server, first, "{way:?}");
            }
            assert_eq!(stage.remembered(), 1, "{way:?}");
            for port in 2001..2009 {
                assert_eq!(stage.who(talking, port, to), first, "{way:?}");
            }
        }
    }
}

#[test]
fn a_server_that_is_down_or_gone_is_forgotten_and_a_drained_one_kept() {
    for way in WAYS {
        let stage = Stage::new(way, 3);
        for (to, gone) in [
            ("192.0.2.10:80", "down"),
            ("[2001:db8::10]:80", "gone"),
            ("192.0.2.53:81", "gone"),
        ] {
            let to = at(to);
            stage.apply("persist 1m", &[]);
            let clients: Vec<IpAddr> = (0..30).map(|number| address(to, number)).collect();
            let ask = |port: u16| -> Vec<String> {
                let asked = clients.iter().map(|from| stage.who(*from, port, to));
                asked.collect()
            };
            let first = ask(2000);
            let count = first.iter().filter(|server| *server == "a").count();
            assert!(count > 0 && count < 30, "{way:?} {first:?}");
            stage.apply("persist 1m", &[("a", "drain")]);
            assert_eq!(ask(2001), first, "{way:?}: drained");
            let newcomers = (100..130).map(|number| stage.who(address(to, number), 2000, to));
            assert!(newcomers.into_iter().all(|server| server != "a"));
            let said = stage.apply("persist 1m", &[("a", gone)]);
            assert!(said.contains("remembered client"), "{said}");
            // Before anybody has asked: down and up again forgets too.
            stage.apply("persist 1m", &[("a", "drain")]);
            let then = ask(2002);
            for (then, first) in then.iter().zip(&first) {
                assert_ne!(then, "a", "{way:?}: {gone}");
                assert!(then == first || first == "a", "{way:?}: {gone}");
            }
            stage.host.flbc(&["unload"], "");
        }
    }
}

#[test]
fn clients_stay_through_every_change_that_keeps_their_server() {
    for way in WAYS {
        let stage = Stage::new(way, 4);
        let base = stage.file("persist 1m", &[("d", "gone")]);
        stage.host.apply(&base);
        let to: Vec<SocketAddr> = vips(0).chain(vips(1)).collect();
        let clients: Vec<(IpAddr, SocketAddr)> = (0..24)
            .map(|number| {
                let to = to[number as usize % to.len()];
                (address(to, number), to)
            })
            .collect();
        let mut port = 2000;
        let mut ask = || -> Vec<String> {
            port += 1;
            let asked = clients.iter().map(|(from, to)| stage.who(*from, port, *to));
            asked.collect()
        };
        let first = ask();
        let plain = "service other { vip 192.0.2.99 tcp 1000-60000; persist 30s by source/16/32; server x 10.20.0.77; server y 10.20.0.78 }\n";
        let many = |count: u32| -> String {
            let services = (0..count).map(|n| {
                format!("service s{n} {{ vip 203.0.113.{n} tcp 80; server p 10.9.0.1; server q 10.9.0.2 }}\n")
            });
            services.collect()
        };
        let edits = [
            stage.file("persist 1m", &[]),
            stage.file("persist 1m", &[("d", "weight 9")]),
            stage.file("persist 1m", &[("b", "weight 3"), ("d", "gone")]),
            stage.file("persist 1m", &[("c", "drain"), ("d", "down")]),
            stage.file("persist 2m", &[("a", "weight 0")]),
            format!("{plain}{base}"),
            format!("{base}{}", many(40)),
            format!("{}{base}{plain}", many(200)),
            base.replace("tcp, udp 80, 81", "tcp, udp 80, 81, 443, 1000-2000"),
            base.replace("vip ", "vip 192.0.2.77, "),
            base.replace(way.scheduler, "hash by source"),
            base.replace("}\n", "on-empty drop\n}\n"),
            format!("# moved\n\n\n{base}"),
            base.clone(),
        ];
        for edit in &edits {
            let applied = stage.host.flbc(&["apply", "-"], edit);
            assert_eq!(applied.code, Some(0), "{way:?}\n{edit}\n{}", applied.err);
            // Another scheduler moves whom it does not remember, and that is warned of.
            let mut warnings = applied.err.lines();
            assert!(
                warnings.all(|line| line.contains("that are not remembered")),
                "{}",
                applied.err
            );
            assert_eq!(ask(), first, "{way:?}\n{edit}");
        }
    }
}

#[test]
fn a_full_map_stops_nobody() {
    for way in WAYS {
        let stage = Stage::new(way, 3);
        let rules = compile(&stage.file("persist 1m", &[])).replace("size 1048576", "size 8");
        stage.topology.balancer.nft(&rules);
        for family in 0..2 {
            let to = vips(family).next().unwrap();
            let servers: Vec<String> = (0..60)
                .map(|number| stage.who(address(to, number), 2000, to))
                .collect();
            let used = client::tally(&servers);
            assert_eq!(used.len(), 3, "{way:?}: {used:?}");
        }
        assert_eq!(stage.remembered(), 16, "{way:?}");
    }
}

/// Addresses that differ in one group of 16 bits alone, in each of the groups.
fn alike() -> Vec<IpAddr> {
    let base = Ipv6Addr::new(0x2001, 0xdb8, 0xc1, 0, 0, 0, 0, 1);
    let mut all = Vec::new();
    for group in 3..8 {
        for value in 1..=u16::try_from(sampled(24, 200)).unwrap() {
            let mut groups = base.segments();
            groups[group] = value.rotate_right(u32::from(value % 16)) ^ value;
            all.push(Ipv6Addr::from(groups).into());
        }
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn ipv6_clients_that_differ_in_one_group_alone_are_not_mixed_up() {
    for way in [NAT, DR] {
        let stage = Stage::new(way, 3);
        stage.apply("persist 5m", &[]);
        let to = at("[2001:db8::10]:80");
        let clients = alike();
        assert!(clients.len() > 100);
        let first: Vec<String> = clients
            .iter()
            .map(|from| stage.who(*from, 2000, to))
            .collect();
        assert_eq!(stage.remembered(), clients.len(), "each has an entry");
        assert_eq!(client::tally(&first).len(), 3);
        let again: Vec<String> = clients
            .iter()
            .map(|from| stage.who(*from, 2001, to))
            .collect();
        assert_eq!(again, first, "{way:?}");
    }
}

#[test]
fn a_backup_keeps_its_clients_only_while_it_stands_in() {
    let stage = Stage::new(NAT, 3);
    let to = at("192.0.2.10:80");
    let from = address(to, 0);
    stage.apply(
        "persist 1m",
        &[("a", "down"), ("b", "down"), ("c", "backup")],
    );
    assert_eq!(stage.who(from, 2000, to), "c");
    stage.apply("persist 1m", &[("a", "down"), ("c", "backup")]);
    for port in 2001..2005 {
        assert_eq!(stage.who(from, port, to), "b");
    }
}

#[test]
fn two_services_do_not_share_what_they_remember_even_of_one_pool() {
    for way in [NAT, DR] {
        let stage = Stage::new(way, 3);
        let Way {
            mode, scheduler, ..
        } = way;
        stage.host.apply(&format!(
            "pool web {{ server a 10.20.0.11; server b 10.20.0.12; server c 10.20.0.13 }}
            service one {{ vip 192.0.2.10 udp 80; mode {mode}; scheduler {scheduler}; persist 1m; pool web }}
            service two {{ vip 192.0.2.53 udp 80; mode {mode}; scheduler {scheduler}; persist 1m; pool web }}"
        ));
        let [one, two] = ["192.0.2.10:80", "192.0.2.53:80"].map(at);
        let mut differ = 0;
        for number in 0..30 {
            let from = address(one, number);
            // DR draws by address and port.
            let servers = [(2000, one), (2100, two), (2001, one), (2101, two)]
                .map(|(port, to)| stage.who(from, port, to));
            assert_eq!(servers[0], servers[2], "{way:?}");
            assert_eq!(servers[1], servers[3], "{way:?}");
            differ += u32::from(servers[0] != servers[1]);
        }
        assert!(differ > 0, "{way:?}: each service draws for itself");
        assert_eq!(stage.remembered(), 60);
    }
}

#[test]
fn marks_of_others_are_not_taken_for_clients() {
    let stage = Stage::new(NAT, 2);
    stage.apply("persist 1m", &[]);
    // Others translate connections and mark them with the number of server `a`, whatever it is.
    let listed = stage.host.list();
    let number = listed
        .split_whitespace()
        .find(|word| word.starts_with("0x8000"))
        .expect("a server's number")
        .to_owned();
    stage.topology.balancer.nft(&format!(
        "table ip foreign {{
            chain early {{ type filter hook prerouting priority -150; udp dport 81 ip daddr {{ 10.20.0.11, 203.0.113.1 }} ct mark set {number}; }}
            chain pre {{ type nat hook prerouting priority -105; ip daddr 203.0.113.1 udp dport 81 dnat to 10.20.0.12; }}
        }}\n"
    ));
    let to = at("10.20.0.11:81");
    assert_eq!(stage.who(address(to, 0), 2000, to), "a");
    assert_eq!(stage.remembered(), 0);
}

#[test]
fn the_balancers_own_connections_persist_too() {
    let stage = Stage::new(NAT, 3);
    stage.apply("persist 1m", &[]);
    let servers: Vec<String> = (0..20)
        .map(|_| {
            let to = at("192.0.2.10:80");
            client::ask(&stage.topology.balancer, Protocol::Tcp, None, to, PATIENCE)
                .unwrap()
                .server
        })
        .collect();
    assert_eq!(client::tally(&servers).len(), 1, "{servers:?}");
}

#[test]
fn to_begin_and_to_end_persistence_cuts_no_connection() {
    let stage = Stage::new(NAT, 2);
    let to = at("192.0.2.10:80");
    for (before, after) in [("", "persist 1m"), ("persist 1m", "")] {
        for forget in [false, true] {
            stage.apply(before, &[]);
            let mut open: Vec<Connection> = (0..6)
                .map(|_| Connection::open(&stage.topology.client, None, to, PATIENCE).unwrap())
                .collect();
            if forget {
                stage.host.forget();
            }
            let said = stage.apply(after, &[]);
            assert!(!said.contains("connections forgotten"), "{said}");
            for connection in &mut open {
                assert_eq!(connection.again().unwrap(), connection.answer);
            }
        }
    }
}

#[test]
fn a_number_that_is_free_again_leads_no_client_astray() {
    let stage = Stage::new(NAT, 4);
    let to = at("192.0.2.10:80");
    let mut dice = Dice::new(7);
    let names = ["a", "b", "c", "d"];
    let mut homes: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut port = 2000;
    for step in 0..sampled(12, 100) {
        let kept: Vec<&str> = names.into_iter().filter(|_| dice.below(3) > 0).collect();
        let kept = if kept.is_empty() { vec!["a"] } else { kept };
        let options: Vec<(&str, &str)> = names
            .into_iter()
            .filter(|name| !kept.contains(name))
            .map(|name| (name, ["gone", "down"][dice.below(2) as usize]))
            .collect();
        stage.apply("persist 1m", &options);
        homes.retain(|_, home| kept.contains(&home.as_str()));
        port += 1;
        for number in 0..12 {
            let from = address(to, number);
            let server = stage.who(from, port, to);
            assert!(
                kept.contains(&server.as_str()),
                "step {step}: {server} {kept:?}"
            );
            let home = homes.entry(from).or_insert_with(|| server.clone());
            assert_eq!(*home, server, "step {step} {from}");
        }
    }
}

/// Kilobytes of the kernel's small objects that cannot be taken back.
fn slab() -> i64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("SUnreclaim:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// `make soak` sends 100,000 clients, and prints what one costs.
#[test]
fn every_client_comes_back_through_random_applies() {
    let count = sampled(400, 100_000);
    for way in [NAT, DR] {
        let stage = Stage::new(way, 4);
        let to: Vec<SocketAddr> = vips(0).chain(vips(1)).collect();
        let ask = |port: u16| -> Vec<Vec<String>> {
            let start = Instant::now();
            let answers = to.iter().enumerate().map(|(place, at)| {
                // Every client asks at one VIP and port.
                let own = (0..count).filter(|number| *number as usize % to.len() == place);
                let from: Vec<SocketAddr> = own
                    .map(|number| SocketAddr::new(address(*at, number), port))
                    .collect();
                client::ask_all(&stage.topology.client, Protocol::Udp, &from, *at)
            });
            let answers = answers.collect();
            let each = start.elapsed() / count;
            println!("{:?}: {each:?} a question and an answer", way.layout);
            // Else connections that are known would not be asked about again.
            stage.topology.balancer.run(|| {
                let mut kernel = flbc::kernel::Linux::open().unwrap();
                flbc::kernel::Kernel::judge(&mut kernel, &|_| flbc::kernel::Verdict::Forget)
                    .unwrap()
            });
            answers
        };
        stage.apply("", &[("d", "gone")]);
        ask(2000);
        let before = slab();
        stage.apply("persist 1h", &[("d", "gone")]);
        let first = ask(2000);
        println!(
            "{:?}: {} bytes of the kernel's memory for each of {count} clients",
            way.layout,
            (slab() - before) * 1024 / i64::from(count)
        );
        assert_eq!(stage.remembered(), count as usize, "{way:?}");
        let mut dice = Dice::new(u64::from(count) + 7);
        for round in 1..=20 {
            let one_of = |dice: &mut Dice, all: &[&'static str]| {
                all[usize::try_from(dice.below(all.len() as u64)).unwrap()]
            };
            let kept = ["", "weight 2", "weight 7", "drain", "weight 0"];
            let options = [
                ("a", one_of(&mut dice, &["", "weight 3"])),
                ("b", one_of(&mut dice, &kept)),
                ("c", one_of(&mut dice, &kept)),
                // Nobody came to it while it was not there, and new ones do not come later.
                (
                    "d",
                    one_of(
                        &mut dice,
                        &["", "gone", "down", "drain", "weight 5", "backup"],
                    ),
                ),
            ];
            stage.apply("persist 1h", &options);
            assert_eq!(ask(2000 + round), first, "{way:?} {options:?}");
        }
    }
}

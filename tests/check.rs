//! What a right file means: the model that check makes of it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_push_string,
    reason = "helpers of tests are tests too"
)]

use std::time::Duration;

use flbc::check::check;
use flbc::diagnostic::{Code, Diagnostics};
use flbc::model::{
    HashKey, MacAddress, Member, Mode, Model, OnEmpty, Ports, Protocol, RealServer, Scheduler,
    Service, SourceNat, State,
};
use flbc::source::Sources;
use flbc::syntax::{Input, parse_program};
use proptest::prelude::*;

/// The model of a text, and the codes of its faults.
fn model(source: &str) -> (Model, Vec<Code>) {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(source.into());
    let tree = parse_program(input, &mut sources, &mut sink).expect("a text");
    let model = check(&tree, &sources, &mut sink);
    let codes = sink.sorted().iter().map(|fault| fault.code).collect();
    (model, codes)
}

/// The model of a text in which nothing is wrong.
fn good(source: &str) -> Model {
    let (model, codes) = model(source);
    assert_eq!(codes, [], "{source}");
    model
}

/// The only service of a text, which needs no more than this much.
fn service(statements: &str) -> Service {
    let source =
        format!("service s {{\n vip 192.0.2.1 tcp 80\n server 10.0.0.1\n{statements}\n}}\n");
    good(&source).services.remove(0)
}

fn servers(statements: &str) -> Vec<RealServer> {
    let source = format!("service s {{\n vip 192.0.2.1 tcp 80\n{statements}\n}}\n");
    let service = good(&source).services.remove(0);
    let own = service.members.into_iter().map(|member| match member {
        Member::Server(server) => server,
        Member::Pool(_) => panic!("no pool is used"),
    });
    own.collect()
}

#[test]
fn what_is_unsaid() {
    let nat = service("");
    assert_eq!(nat.mode, Mode::Nat(SourceNat::Keep));
    assert_eq!(nat.scheduler, Scheduler::RoundRobin);
    assert_eq!(nat.on_empty, OnEmpty::Reject);
    assert!(nat.persistence.is_none() && nat.track.is_none());
    let dr = service("mode dr on eth0");
    let maglev = Scheduler::Maglev {
        key: HashKey::SourcePort,
        table: None,
    };
    assert_eq!(dr.scheduler, maglev);
    assert_eq!(dr.on_empty, OnEmpty::Drop);
    assert!(dr.track.is_none());
}

#[test]
fn schedulers_and_their_aliases() {
    let maglev = |key, table| Scheduler::Maglev { key, table };
    for (text, scheduler) in [
        ("rr", Scheduler::RoundRobin),
        ("wrr", Scheduler::RoundRobin),
        ("random", Scheduler::Random),
        ("hash", Scheduler::Hash(HashKey::SourcePort)),
        ("hash by source", Scheduler::Hash(HashKey::Source)),
        ("sh", Scheduler::Hash(HashKey::Source)),
        ("maglev", maglev(HashKey::SourcePort, None)),
        ("mh", maglev(HashKey::Source, None)),
        ("mh table 251", maglev(HashKey::Source, Some(251))),
        ("mh by source table 251", maglev(HashKey::Source, Some(251))),
        ("mh by source-port", maglev(HashKey::SourcePort, None)),
        ("sh by source-port", Scheduler::Hash(HashKey::SourcePort)),
    ] {
        assert_eq!(service(&format!("scheduler {text}")).scheduler, scheduler);
    }
}

#[test]
fn vips_multiply() {
    let source = "service s {\n vip 192.0.2.1, 192.0.2.2 tcp, udp 80, 90-99, any\n vip 2001:db8::1 sctp 7\n server 10.0.0.1\n on-empty drop\n}\n";
    let (model, codes) = model(source);
    assert_eq!(codes, [Code::TakesSsh]);
    let vips = &model.services[0].vips;
    assert_eq!(vips.len(), 13);
    assert_eq!(vips[0].ports, Ports::One(80));
    assert_eq!(vips[1].ports, Ports::Range(90, 99));
    assert_eq!(
        (vips[5].protocol, vips[5].ports),
        (Protocol::Udp, Ports::Any)
    );
    assert_eq!(vips[12].protocol, Protocol::Sctp);
}

#[test]
fn options_of_servers_in_any_order() {
    let source = "service s {\n vip 192.0.2.1 tcp 80\n mode dr on eth0\n server a 10.0.0.1 backup via eth1 from 02:00:00:00:00:01 mac 02:00:00:00:00:02 weight 7\n}\n";
    let model = good(source);
    let server = model.real_servers(&model.services[0]).next().unwrap();
    assert_eq!(
        (&*server.name, server.weight, server.state),
        ("a", 7, State::Backup)
    );
    assert_eq!(server.mac, Some(MacAddress([2, 0, 0, 0, 0, 2])));
    let via = server.via.as_ref().unwrap();
    assert_eq!(
        (&*via.interface, via.from),
        ("eth1", Some(MacAddress([2, 0, 0, 0, 0, 1])))
    );
}

#[test]
fn weight_zero_drains() {
    for (options, state) in [
        ("", State::Up),
        ("weight 1", State::Up),
        ("weight 0", State::Drain),
        ("weight 0 backup", State::Drain),
        ("weight 0 down", State::Down),
        ("drain", State::Drain),
        ("down", State::Down),
        ("backup", State::Backup),
    ] {
        let servers = servers(&format!("server 10.0.0.1 {options}"));
        assert_eq!(servers[0].state, state, "{options}");
    }
}

#[test]
fn ranges_of_servers() {
    let in_both = servers("server web[9-11] 10.20.0.[9-11]:8080 weight 2");
    let names: Vec<_> = in_both.iter().map(|server| &*server.name).collect();
    assert_eq!(names, ["web9", "web10", "web11"]);
    let addresses: Vec<_> = in_both
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    assert_eq!(addresses, ["10.20.0.9", "10.20.0.10", "10.20.0.11"]);
    assert!(
        in_both
            .iter()
            .all(|server| server.port == Some(8080) && server.weight == 2)
    );
    let in_address = servers(
        "server 10.20.0.[1-2]:80\nserver [2001:db8::1]:80\non-empty drop\nvip 2001:db8::2 tcp 80",
    );
    let names: Vec<_> = in_address.iter().map(|server| &*server.name).collect();
    assert_eq!(names, ["10.20.0.1:80", "10.20.0.2:80", "[2001:db8::1]:80"]);
}

#[test]
fn persistence_looks_at_prefixes() {
    let of = |text: &str| {
        let persistence = service(text).persistence.unwrap();
        (
            persistence.timeout,
            persistence.ipv4_prefix,
            persistence.ipv6_prefix,
        )
    };
    let minutes = |n: u64| Duration::from_secs(60 * n);
    assert_eq!(of("persist 5m"), (minutes(5), 32, 128));
    assert_eq!(of("persist 1h30m by source"), (minutes(90), 32, 128));
    assert_eq!(of("persist 5m by source/24"), (minutes(5), 24, 128));
    assert_eq!(of("persist 5m by source/24/56"), (minutes(5), 24, 56));
}

#[test]
fn tracking_is_implied_where_packets_would_scatter() {
    let timeout = |text: &str| service(text).track.map(|track| track.timeout.as_secs());
    assert_eq!(timeout("mode dr on eth0\nscheduler rr"), Some(300));
    assert_eq!(timeout("mode dr on eth0\nscheduler random"), Some(300));
    assert_eq!(
        timeout("mode dr on eth0\nscheduler random\ntrack 1h"),
        Some(3600)
    );
    assert_eq!(
        timeout("mode dr on eth0\nscheduler random\ntrack off"),
        Some(300)
    );
    assert_eq!(timeout("mode dr on eth0\nscheduler hash"), None);
    assert_eq!(timeout("mode dr on eth0\ntrack 1h"), Some(3600));
    assert_eq!(timeout("track off"), None);
    assert_eq!(timeout("scheduler random"), None);
}

#[test]
fn defaults_count_from_where_they_stand() {
    let body = |n: u8, more: &str| {
        format!("service s{n} {{\n vip 192.0.2.{n} tcp 80\n server 10.0.0.1\n{more}\n}}\n")
    };
    let source = [
        &body(1, ""),
        "defaults {\n scheduler hash\n persist 5m\n track 1m\n on-empty drop\n}\n",
        &body(2, ""),
        &body(3, "scheduler random\npersist off\non-empty reject"),
        "defaults {\n scheduler sh\n persist off\n mode dr on eth0\n}\n",
        &body(4, ""),
        &body(5, "mode nat\ntrack off"),
        &body(6, "track off"),
    ]
    .concat();
    let model = good(&source);
    let [one, two, three, four, five, six] = &*model.services else {
        panic!("six services")
    };
    assert_eq!(
        (one.scheduler, one.on_empty),
        (Scheduler::RoundRobin, OnEmpty::Reject)
    );
    assert_eq!(
        (two.scheduler, two.on_empty),
        (Scheduler::Hash(HashKey::SourcePort), OnEmpty::Drop)
    );
    // `track` does not fit `nat`, and is not applied.
    assert!(two.persistence.is_some() && two.track.is_none());
    assert_eq!(
        (three.scheduler, three.on_empty),
        (Scheduler::Random, OnEmpty::Reject)
    );
    assert!(three.persistence.is_none());
    assert_eq!(four.scheduler, Scheduler::Hash(HashKey::Source));
    assert!(four.persistence.is_none() && four.track.is_some());
    assert!(matches!(four.mode, Mode::Dr(_)) && four.on_empty == OnEmpty::Drop);
    assert!(matches!(five.mode, Mode::Nat(_)) && five.track.is_none());
    assert!(six.track.is_none());
}

#[test]
fn access_of_a_service_replaces_that_of_defaults() {
    let source = "defaults {\n allow from 10.0.0.0/8\n allow from 172.16.0.0/12\n deny from 10.1.0.0/16\n}\nservice a {\n vip 192.0.2.1 tcp 80\n server 10.0.0.1\n}\nservice b {\n vip 192.0.2.2 tcp 80\n server 10.0.0.1\n allow from 192.168.0.0/16\n}\n";
    let model = good(source);
    let count = |n: usize| {
        let access = &model.services[n].access;
        (access.allow.len(), access.deny.len())
    };
    assert_eq!((count(0), count(1)), ((2, 1), (1, 1)));
}

#[test]
fn pools_are_found_before_and_after_their_use() {
    let source = "pool a {\n server 10.0.0.1\n}\nservice s {\n vip 192.0.2.1 tcp 80\n pool b\n server 10.0.0.3\n pool a\n}\npool b {\n server 10.0.0.2\n}\n";
    let model = good(source);
    let servers = model.real_servers(&model.services[0]);
    let names: Vec<_> = servers.map(|server| &*server.name).collect();
    assert_eq!(names, ["10.0.0.2", "10.0.0.3", "10.0.0.1"]);
}

#[test]
fn a_server_without_a_source_mac_takes_that_of_the_service() {
    let source = "service s {\n vip 192.0.2.1 tcp 80\n mode dr on eth0 via eth1 from 02:00:00:00:00:01\n server a 10.0.0.1 mac 02:00:00:00:00:0a\n server b 10.0.0.2 mac 02:00:00:00:00:0b via eth1\n server c 10.0.0.3 via eth2\n}\n";
    let model = good(source);
    let Mode::Dr(dr) = &model.services[0].mode else {
        panic!("dr")
    };
    let found: Vec<_> = model
        .real_servers(&model.services[0])
        .map(|server| {
            (
                dr.interface_to(server).unwrap().to_string(),
                dr.source_mac_to(server),
            )
        })
        .collect();
    let mac = Some(MacAddress([2, 0, 0, 0, 0, 1]));
    assert_eq!(
        found,
        [
            ("eth1".into(), mac),
            ("eth1".into(), mac),
            ("eth2".into(), None)
        ]
    );
}

#[test]
fn what_is_damaged_is_not_said_to_be_missing() {
    for (source, codes) in [
        (
            "service s {\n vip 192.0.2.1 tcp 80\n pool gone\n}\n",
            &[Code::UndefinedPool][..],
        ),
        (
            "service s {\n vip 192.0.2.999 tcp 80\n server 10.0.0.1\n}\n",
            &[Code::BadAddress],
        ),
        (
            "service s {\n vip 192.0.2.1 tcp 80\n server 10.0.0.999\n}\n",
            &[Code::BadAddress],
        ),
        (
            "service s {\n vip 192.0.2.1, 2001:db8::1 tcp 80\n server 10.0.0.1\n server 2001:db8::g\n}\n",
            &[Code::BadAddress],
        ),
        (
            "service s {\n vip $gone tcp 80\n server $lost\n}\n",
            &[Code::UndefinedConstant, Code::UndefinedConstant],
        ),
        (
            "service s {\n vip 192.0.2.1 tcp 80\n mdoe dr on eth0\n server 10.0.0.1 mac 02:00:00:00:00:01\n}\n",
            &[Code::UnknownStatement],
        ),
        (
            "service s {\n vip 192.0.2.1 tcp 80\n mode dr on eth/0\n server 10.0.0.1 mac 02:00:00:00:00:01\n}\n",
            &[Code::BadInterface],
        ),
        (
            "pool p {\n server 10.0.0.999\n}\nservice s {\n vip 192.0.2.1 tcp 80\n pool p\n}\n",
            &[Code::BadAddress],
        ),
        (
            "define a = $gone\nservice s {\n vip $a tcp 80\n server 10.0.0.1\n}\n",
            &[Code::UndefinedConstant],
        ),
        (
            "define 1a = 10.0.0.1\nservice s {\n vip 192.0.2.1 tcp 80\n server 10.0.0.1\n}\n",
            &[Code::BadName],
        ),
        (
            "define port = 99999\nservice s {\n vip 192.0.2.1 tcp $port\n vip 192.0.2.2 tcp $port\n server 10.0.0.1\n}\n",
            &[Code::BadPort],
        ),
    ] {
        assert_eq!(model(source).1, codes, "{source}");
    }
}

#[test]
fn lists_of_lists_do_not_eat_the_memory() {
    let mut source = "define c0 = 1, 2\n".to_owned();
    for n in 1..64 {
        source += &format!("define c{n} = $c{0}, $c{0}\n", n - 1);
    }
    source += "service s {\n vip 192.0.2.1 tcp $c63\n server 10.0.0.1\n}\n";
    let codes = model(&source).1;
    assert!(codes.contains(&Code::ListTooLong), "{codes:?}");
}

#[test]
fn ten_thousand_services_take_no_time() {
    let mut source = String::new();
    for n in 0..10_000 {
        source += &format!(
            "service s{n} {{\n vip 10.{}.{}.1 tcp 80\n",
            n / 250,
            n % 250
        );
        for m in 1..=10 {
            source += &format!(" server s{m} 10.20.{}.{m}:8080 weight {m}\n", n % 250);
        }
        source += "}\n";
    }
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let tree = parse_program(Input::Stdin(source.into()), &mut sources, &mut sink).unwrap();
    let start = std::time::Instant::now();
    let model = check(&tree, &sources, &mut sink);
    let elapsed = start.elapsed();
    assert_eq!((model.services.len(), sink.errors()), (10_000, 0));
    println!("checked in {elapsed:?}");
    assert!(elapsed.as_secs() < 10, "{elapsed:?}");
}

/// All pairs that claim the same, the plain way.
fn meets(a: Ports, b: Ports) -> bool {
    match (a, b) {
        (Ports::Range(a, b), Ports::Range(c, d)) => a <= d && c <= b,
        _ => a == b,
    }
}

fn ports() -> impl Strategy<Value = Ports> {
    prop_oneof![
        (1_u16..30).prop_map(Ports::One),
        (1_u16..30, 1_u16..6).prop_map(|(first, more)| Ports::Range(first, first + more)),
        Just(Ports::Any),
    ]
}

proptest! {
    #[test]
    fn vips_clash_exactly_where_two_of_a_kind_meet(claims in prop::collection::vec((0_u8..3, ports()), 0..12)) {
        let mut source = "service s {\n server 10.0.0.1\n vip 192.0.2.99 tcp 80\n".to_owned();
        for (host, ports) in &claims {
            let ports = match ports {
                Ports::One(port) => port.to_string(),
                Ports::Range(first, last) => format!("{first}-{last}"),
                Ports::Any => "any".into(),
            };
            source += &format!(" vip 192.0.2.{host} udp {ports}\n");
        }
        source += "}\n";
        let clash = claims.iter().enumerate().any(|(n, (host, ports))| {
            claims[..n].iter().any(|(h, p)| h == host && meets(*p, *ports))
        });
        let codes = model(&source).1;
        prop_assert_eq!(codes.contains(&Code::VipClaimedTwice), clash, "{}", source);
    }

    #[test]
    fn durations_are_their_sum(d in 0_u64..100, h in 0_u64..100, m in 0_u64..100, s in 1_u64..100) {
        let persistence = service(&format!("persist {d}d{h}h{m}m{s}s")).persistence.unwrap();
        prop_assert_eq!(persistence.timeout.as_secs(), ((d * 24 + h) * 60 + m) * 60 + s);
    }

    #[test]
    fn every_weight_is_read(weight in 1_u16..) {
        prop_assert_eq!(servers(&format!("server 10.0.0.1 weight {weight}"))[0].weight, weight);
    }

    #[test]
    fn every_endpoint_is_read(v4 in any::<u32>(), v6 in any::<u128>(), port in 1_u16.., with_port: bool) {
        // 10.0.0.0/8 and 2001:db8::/32: addresses that a server can have.
        let v4 = std::net::Ipv4Addr::from_bits(v4 & 0x00ff_ffff | 0x0a00_0000);
        let v6 = std::net::Ipv6Addr::from_bits(v6 >> 32 | 0x2001_0db8 << 96);
        let text = if with_port { format!("server {v4}:{port}\nserver [{v6}]:{port}") } else { format!("server {v4}\nserver [{v6}]") };
        let read = servers(&format!("{text}\nvip 2001:db8::2 tcp 80"));
        prop_assert_eq!((read[0].address, read[1].address), (v4.into(), v6.into()));
        let expected = with_port.then_some(port);
        prop_assert_eq!((read[0].port, read[1].port), (expected, expected));
    }

    #[test]
    fn no_word_makes_it_panic(words in prop::collection::vec("[!-~é]{0,12}", 12)) {
        let quoted: Vec<_> = words.iter().map(|word| format!("\"{}\"", word.replace('"', ""))).collect();
        let [a, b, c, d, e, f, g, h, i, j, k, l] = &*quoted else { panic!("twelve words") };
        let source = format!(
            "define x = {a}, {b}\ndefaults {{\n mode nat snat {c}, $x\n}}\nservice s {{\n vip {d}, $x {e} {f}, $x\n mode dr on {g}, $x via {h} from {i}\n scheduler {j} by {k} table {l}\n persist {a} by {b}\n track {c}\n on-empty {d}\n allow from {e}, $x\n pool {f}\n server {g} {h} weight {i} mac {j} via {k}\n server {l}\n}}\n"
        );
        let (_, codes) = model(&source);
        prop_assert!(!codes.is_empty());
    }
}

//! What is read off tables of the kernel in memory, and how each face shows it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use tempfile::TempDir;

use super::{Status, human, json, prometheus};
use crate::apply::{Applied, Tables};
use crate::diagnostic::Diagnostics;
use crate::diff::{Counter, ObservedSet, ObservedTable};
use crate::emit::netlink::{Bytes, Data, Element, TableFamily};
use crate::kernel::fake::Fake;
use crate::kernel::{BaseChain, Connection, Entry, Recollection};
use crate::lower::layout::Layout;
use crate::model::{Model, State};
use crate::notes::Notes;
use crate::operate::set::{Demand, set};
use crate::operate::{Earlier, Job, trial};
use crate::source::Sources;
use crate::syntax::Input;

mod readings;

/// A machine with a kernel in memory, and a folder for notes.
struct Host {
    tables: Tables<Fake>,
    _folder: TempDir,
}

fn model(text: &str) -> Model {
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(text.as_bytes().to_vec());
    let model = crate::read(input, &mut Sources::new(), &mut sink);
    model.unwrap_or_else(|| panic!("{:?}\n{text}", sink.sorted()))
}

const fn counter(packets: u64, bytes: u64) -> Counter {
    Counter { packets, bytes }
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Fake {
            interfaces: [("eth0".into(), 2), ("eth1".into(), 3)].into(),
            ..Fake::default()
        };
        let notes = Notes::new(folder.path().join("run"));
        Self {
            tables: Tables::new(kernel, notes, "flbc"),
            _folder: folder,
        }
    }

    /// With these services, in tables that leave so many bits to others.
    fn with(text: &str, shift: u8) -> Self {
        let mut host = Self::new();
        let mut sink = Diagnostics::new();
        let job = host.job(text, shift);
        job.commit(&mut host.tables, &mut sink).unwrap();
        assert_eq!(sink.errors(), 0);
        host
    }

    fn job(&mut self, text: &str, shift: u8) -> Job {
        let mut sink = Diagnostics::new();
        let layout = Layout::new(shift);
        Job::new(
            &mut self.tables,
            model(text),
            Earlier::Dropped,
            layout,
            &mut sink,
        )
        .unwrap()
    }

    fn status(&mut self) -> Status {
        Status::read(&mut self.tables).unwrap()
    }

    fn table(&mut self, family: TableFamily) -> &mut ObservedTable {
        let observed = &mut self.tables.kernel.observed;
        let table = match family {
            TableFamily::Inet => observed.inet.as_mut(),
            TableFamily::Netdev => observed.netdev.as_mut(),
        };
        table.unwrap()
    }

    fn set(&mut self, family: TableFamily, name: &str) -> &mut ObservedSet {
        let sets = &mut self.table(family).sets;
        sets.iter_mut().find(|set| *set.name == *name).unwrap()
    }

    /// Packets that an element counts: the only one, or the one with this value. Gives its key.
    fn meet(
        &mut self,
        (family, set): (TableFamily, &str),
        value: Option<&[u8]>,
        counted: Counter,
    ) -> Bytes {
        let set = self.set(family, set);
        let is = |element: &Element| match &element.data {
            Data::Value(found) => Some(found.as_slice()) == value,
            Data::None | Data::Verdict(..) => value.is_none(),
        };
        let at = set.elements.iter().position(is).unwrap();
        set.counters.resize(set.elements.len(), Counter::default());
        set.counters[at] = counted;
        set.elements[at].key
    }

    /// The same for packets of nat to a server and from it.
    fn pass(&mut self, server: Bytes, ways: [Counter; 2]) {
        let traffic = self.set(TableFamily::Inet, "traffic");
        for (way, counted) in ways.into_iter().enumerate() {
            let way = u32::try_from(way).unwrap().to_ne_bytes();
            traffic.elements.push(Element {
                key: Bytes::new(&[server.as_slice(), &way].concat()).unwrap(),
                key_end: None,
                data: Data::None,
                comment: None,
            });
            traffic.counters.push(counted);
        }
    }

    /// A map remembers so many clients or flows of a server, and has room for so many.
    fn remember(&mut self, family: TableFamily, map: &str, (server, used, room): (u32, u32, u32)) {
        self.set(family, map).shape.size = room;
        let entry = |number: u32| Entry {
            key: Bytes::new(&number.to_ne_bytes()).unwrap(),
            server,
            timeout: 0,
            left: 1000,
        };
        self.tables.kernel.recollections.push(Recollection {
            family,
            map: map.into(),
            entries: (0..used).map(entry).collect(),
        });
    }

    /// The number of the only server of a table.
    fn only(&mut self, family: TableFamily) -> u32 {
        let servers = &self.set(family, "server").elements;
        assert_eq!(servers.len(), 1);
        u32::from_ne_bytes(servers[0].key.as_slice().try_into().unwrap())
    }
}

const WWW: &str = "service www { vip 192.0.2.10 tcp 80
    server a 10.20.0.11 weight 3; server b 10.20.0.12; server c 10.20.0.13:8080 drain }";

/// Six connections, four of which went to `a`, with packets both ways.
fn busy() -> Host {
    let mut host = Host::with(WWW, 0);
    let inet = TableFamily::Inet;
    host.meet((inet, "svc4"), None, counter(6, 360));
    let a = host.meet((inet, "addr4"), Some(&[10, 20, 0, 11]), counter(4, 240));
    host.meet((inet, "addr4"), Some(&[10, 20, 0, 12]), counter(2, 120));
    host.pass(a, [counter(12, 1234), counter(9, 12_345)]);
    host
}

#[test]
fn people_see_a_table() {
    assert_eq!(
        human(&busy().status()),
        "\
service www (nat)                  weight state   share     conn   pkt in  byte in  pkt out byte out
  vip 192.0.2.10 tcp 80                                       6        -        -        -        -
  a 10.20.0.11                          3 up      75.0%        4       12     1234        9    12.3k
  b 10.20.0.12                          1 up      25.0%        2        0        0        0        0
  c 10.20.0.13:8080                     1 drain    0.0%        0        0        0        0        0  0 connections left
  all                                                         6       12     1234        9    12.3k
"
    );
    assert_eq!(human(&Host::new().status()), "no services\n");
}

#[test]
fn programs_see_the_same_as_json_in_this_order() {
    let nothing = r#"{"packets":0,"bytes":0}"#;
    let to = r#"{"packets":12,"bytes":1234}"#;
    let from = r#"{"packets":9,"bytes":12345}"#;
    let expected = [
        r#"{"trial":null,"warnings":[],"applied":{"in_force":true,"not_in_force":[],"tables":{"inet":true,"netdev":false},"#,
        r#""at":1767225600,"config":"c72d05853f79466c","version":"0.1.0"},"#,
        r#""services":[{"name":"www","mode":"nat","shared":false,"#,
        r#""vips":[{"vip":"192.0.2.10 tcp 80","connections":6,"to":null,"from":null}],"#,
        &format!(r#""connections":6,"to":{to},"from":{from},"servers":["#),
        r#"{"name":"a","endpoint":"10.20.0.11","weight":3,"state":"up","file":null,"share":0.75,"#,
        &format!(r#""connections":4,"to":{to},"from":{from}}},"#),
        r#"{"name":"b","endpoint":"10.20.0.12","weight":1,"state":"up","file":null,"share":0.25,"#,
        &format!(r#""connections":2,"to":{nothing},"from":{nothing}}},"#),
        r#"{"name":"c","endpoint":"10.20.0.13:8080","weight":1,"state":"drain","file":null,"left":0,"share":0.0,"#,
        &format!(r#""connections":0,"to":{nothing},"from":{nothing}}}]}}]}}"#),
        "\n",
    ];
    assert_eq!(json(&busy().status()), expected.concat());
}

#[test]
fn prometheus_sees_the_same_as_samples() {
    let text = prometheus(&busy().status());
    let a = r#"service="www",server="a",endpoint="10.20.0.11",mode="nat""#;
    let www = r#"service="www",mode="nat""#;
    for sample in [
        format!("flbc_server_connections_total{{{a}}} 4"),
        format!("flbc_server_packets_total{{{a},direction=\"to_server\"}} 12"),
        format!("flbc_server_bytes_total{{{a},direction=\"from_server\"}} 12345"),
        format!("flbc_server_weight{{{a}}} 3"),
        format!("flbc_server_share_ratio{{{a}}} 0.75"),
        format!("flbc_server_state{{{a},state=\"up\"}} 1"),
        format!("flbc_server_overridden{{{a}}} 0"),
        format!("flbc_service_connections_total{{{www}}} 6"),
        r#"flbc_vip_connections_total{service="www",vip="192.0.2.10 tcp 80",mode="nat"} 6"#.into(),
        "flbc_trial_open 0".into(),
        "flbc_warnings 0".into(),
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
    }
    // Of each of three servers: connections, packets and bytes both ways, weight, share, state, whether it is set; of the one
    // that is drained, how many connections it still has.
    let samples = text.lines().filter(|line| line.contains("server=\""));
    assert_eq!(samples.count(), 3 * 9 + 1);
}

#[test]
fn direct_return_is_counted_one_way_and_remembers() {
    let mut host = Host::with(
        "service dns { mode dr on eth0; scheduler random; persist 5m
            vip 192.0.2.53 udp 53; deny from 198.51.100.0/24; server a 10.20.0.11 }",
        0,
    );
    let netdev = TableFamily::Netdev;
    host.meet((netdev, "vip4_eth0"), None, counter(5, 205));
    host.meet(
        (netdev, "addr4"),
        Some(&[10, 20, 0, 11]),
        counter(12_000, 480_000),
    );
    let a = host.only(netdev);
    host.remember(netdev, "persist4", (a, 7, 10));
    host.remember(netdev, "track", (a, 3, 10));
    let status = host.status();
    assert_eq!(
        human(&status),
        "\
service dns (dr)                   weight state   share     conn   pkt in  byte in  pkt out byte out
  vip 192.0.2.53 udp 53                                       -        5      205        -        -
  turned away by allow and deny: 0 packets
  clients remembered: 7
  flows remembered: 3
  a 10.20.0.11                          1 up     100.0%        -    12.0k     480k        -        -
  all                                                         -        5      205        -        -
"
    );
    let memory = r#""memory":[{"mode":"dr","map":"persist4","of":"clients","used":7,"room":10},{"mode":"dr","map":"track","of":"flows","used":3,"room":10}]"#;
    assert!(json(&status).contains(memory), "{}", json(&status));
    let text = prometheus(&status);
    for sample in [
        r#"flbc_remembered{mode="dr",map="persist4",of="clients"} 7"#,
        r#"flbc_remembered_room{mode="dr",map="track",of="flows"} 10"#,
        r#"flbc_service_turned_away_packets_total{service="dns",mode="dr"} 0"#,
        r#"flbc_vip_packets_total{service="dns",vip="192.0.2.53 udp 53",mode="dr"} 5"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
    }
    let of_nat = ["_connections_total{", "direction=\"from_server\""];
    assert!(!of_nat.iter().any(|word| text.contains(word)), "{text}");
}

#[test]
fn what_is_nearly_full_is_told() {
    let mut host = Host::with(
        "service www { persist 5m; vip 192.0.2.10 tcp 80; server a 10.20.0.11 }",
        0,
    );
    let a = host.only(TableFamily::Inet);
    host.remember(TableFamily::Inet, "persist4", (a, 8, 10));
    let status = host.status();
    assert_eq!(
        status.warnings,
        [
            "8 of 10 clients are remembered in `persist4` (nat): when it is full, new clients are balanced, but not remembered; a shorter `persist` or a prefix makes room"
        ]
    );
    assert_eq!(status.services[0].clients, Some(8));
    assert!(human(&status).starts_with("warning: 8 of 10 clients"));
    assert!(prometheus(&status).contains("\nflbc_warnings 1\n"));
}

#[test]
fn what_others_changed_is_told_and_their_chains_that_may_drop() {
    let mut host = Host::with(WWW, 0);
    assert!(host.status().warnings.is_empty());
    host.set(TableFamily::Inet, "port").elements.clear();
    host.tables.kernel.observed.generation += 1;
    host.tables.kernel.base_chains.push(BaseChain {
        family: "ip",
        table: "firewall".to_owned(),
        chain: "strict".to_owned(),
        kind: "filter".to_owned(),
        hook: "forward",
        priority: 0,
        accepts: false,
        devices: Vec::new(),
    });
    let status = host.status();
    let [drift, foreign] = &*status.warnings else {
        panic!("{:?}", status.warnings);
    };
    assert!(
        drift.ends_with("missing element of set `port` in inet: server c of www; `flbc apply --keep` puts it right"),
        "{drift}"
    );
    assert!(
        foreign.starts_with("chain strict of table ip firewall has policy drop in forward"),
        "{foreign}"
    );
    let text = human(&status);
    assert!(text.starts_with(&format!(
        "warning[not-in-force]: {drift}\nwarning: {foreign}\n\nservice www"
    )));
}

/// One service in each table.
const BOTH: &str = "
    service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }
    service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server d 10.20.0.13 }";

type Deed = fn(&mut Fake);

/// What somebody does, what is told of it, and which tables there are then.
const DEEDS: [(Deed, &str, [bool; 2]); 9] = [
    (
        |kernel| (kernel.observed.inet, kernel.observed.netdev) = (None, None),
        "the tables of the last apply are gone",
        [false, false],
    ),
    (
        |kernel| kernel.observed.netdev = None,
        "missing table in netdev",
        [true, false],
    ),
    (
        |kernel| kernel.observed.inet = None,
        "missing table in inet",
        [false, true],
    ),
    (
        |kernel| kernel.observed.inet.as_mut().unwrap().dormant = true,
        "dormant table in inet",
        [true, true],
    ),
    (
        |kernel| {
            let chains = &mut kernel.observed.netdev.as_mut().unwrap().chains;
            let hooked = chains.iter_mut().find_map(|chain| chain.hook.as_mut());
            hooked.unwrap().priority = 7;
        },
        "different chain `on_eth0` in netdev: priority 7, was 0",
        [true, true],
    ),
    (
        |kernel| {
            let chains = &mut kernel.observed.inet.as_mut().unwrap().chains;
            chains
                .iter_mut()
                .find(|chain| &*chain.name == "svc_www_v4")
                .unwrap()
                .rules
                .clear();
        },
        "of chain `svc_www_v4` in inet",
        [true, true],
    ),
    (
        |kernel| {
            kernel.interfaces.insert("eth0".into(), 77);
            let netdev = kernel.observed.netdev.as_mut().unwrap();
            netdev.chains.retain(|chain| chain.hook.is_none());
        },
        "`eth0` is another interface than at the last apply: it was made anew",
        [true, true],
    ),
    (
        |kernel| {
            kernel.interfaces.remove("eth0");
        },
        "there is no interface `eth0` any more, which service `dns` needs",
        [true, true],
    ),
    (
        |kernel| {
            let other = Some("other".into());
            kernel.observed.inet.as_mut().unwrap().id = other.clone();
            kernel.observed.netdev.as_mut().unwrap().id = other;
            let sets = &mut kernel.observed.inet.as_mut().unwrap().sets;
            sets.iter_mut()
                .find(|set| &*set.name == "svc4")
                .unwrap()
                .elements
                .clear();
        },
        "the tables are not those of the last apply",
        [true, true],
    ),
];

/// As Linux does it since 6.16.
#[test]
fn an_interface_that_was_made_anew_and_bound_by_its_name_is_no_difference() {
    const DIRECT: &str =
        "service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; server d 10.20.0.13 }";
    let mut host = Host::with(DIRECT, 0);
    host.tables.kernel.interfaces.insert("eth0".into(), 77);
    let status = host.status();
    let applied = &status.applied;
    assert_eq!((applied.in_force, &*status.warnings), (Some(true), &[][..]));
    // What packets go out by has its number in a rule.
    host.tables.kernel.interfaces.insert("eth1".into(), 78);
    let status = host.status();
    let told: Vec<bool> = ["eth0", "eth1"]
        .iter()
        .map(|name| {
            status
                .warnings
                .iter()
                .any(|one| one.contains(&format!("`{name}` is another")))
        })
        .collect();
    assert_eq!(
        (status.applied.in_force, told),
        (Some(false), vec![true, true])
    );
}

#[test]
fn what_is_not_in_force_is_told_by_every_face_of_it() {
    for (deed, sentence, there) in DEEDS {
        let mut host = Host::with(BOTH, 0);
        let before = host.status();
        assert_eq!(before.applied.in_force, Some(true), "{:?}", before.warnings);
        assert_eq!(before.exit() as u8, 0);
        let config = before.applied.config;
        let kernel = &mut host.tables.kernel;
        let interfaces = kernel.interfaces.clone();
        deed(kernel);
        // The kernel counts a change of the rules; of an interface it does not.
        kernel.observed.generation += u32::from(kernel.interfaces == interfaces);
        let status = host.status();
        let applied = &status.applied;
        assert_eq!(
            (applied.in_force, status.exit() as u8),
            (Some(false), 1),
            "{sentence}"
        );
        assert_eq!(
            [applied.tables.inet, applied.tables.netdev],
            there,
            "{sentence}"
        );
        assert_eq!(applied.config, config, "{sentence}");
        assert!(
            status.warnings.iter().any(|one| one.contains(sentence)),
            "{sentence}: {:?}",
            status.warnings
        );
        assert!(
            human(&status).starts_with("warning[not-in-force]: "),
            "{sentence}"
        );
        let text = prometheus(&status);
        assert!(text.contains("\nflbc_in_force 0\n"), "{sentence}: {text}");
        let present = format!(
            "\nflbc_tables_present{{family=\"inet\"}} {}\n",
            u8::from(there[0])
        );
        assert!(text.contains(&present), "{sentence}: {text}");
        assert!(json(&status).contains(r#""in_force":false"#), "{sentence}");
        let job = host.job(BOTH, 0);
        job.commit(&mut host.tables, &mut Diagnostics::new())
            .unwrap();
        let after = host.status();
        assert_eq!(
            after.applied.in_force,
            Some(sentence.contains("no interface")).map(|left_out| !left_out)
        );
    }
}

#[test]
fn the_same_tables_from_another_hand_are_in_force() {
    let mut host = Host::with(BOTH, 0);
    for table in [TableFamily::Inet, TableFamily::Netdev] {
        let table = match table {
            TableFamily::Inet => &mut host.tables.kernel.observed.inet,
            TableFamily::Netdev => &mut host.tables.kernel.observed.netdev,
        };
        table.as_mut().unwrap().id = None;
    }
    host.tables.kernel.observed.generation += 1;
    let status = host.status();
    assert_eq!(status.applied.in_force, Some(true), "{:?}", status.warnings);
}

#[test]
fn what_a_server_that_goes_still_has_is_told_and_who_does_not_answer() {
    for (mode, options, left) in [
        ("", "persist 10m;", "3 connections left"),
        ("mode dr on eth0;", "persist 10m; track 5m;", "2 flows left"),
    ] {
        let up = format!(
            "service www {{ vip 192.0.2.10 tcp 80; {mode} {options} server a 10.20.0.11; server b 10.20.0.12 }}"
        );
        let mut host = Host::with(&up.replace("10.20.0.11", "10.20.0.11 drain"), 0);
        let numbers: Vec<u32> = {
            let look = host.tables.look().unwrap();
            let service = &look.view.services["www"];
            service.servers.iter().map(|server| server.number).collect()
        };
        let kernel = &mut host.tables.kernel;
        for mark in [numbers[0], numbers[0], numbers[1], numbers[0]] {
            kernel.connections.push(Connection {
                protocol: 6,
                client: [198, 51, 100, 7].into(),
                client_port: Some(4000),
                vip: [192, 0, 2, 10].into(),
                vip_port: Some(80),
                server: [10, 20, 0, 11].into(),
                server_port: Some(80),
                mark,
            });
        }
        kernel.unanswered = vec![numbers[1], numbers[1], numbers[1], numbers[0]];
        let family = if mode.is_empty() {
            TableFamily::Inet
        } else {
            TableFamily::Netdev
        };
        for (stem, count) in [("persist4", 1), ("track", 2)] {
            let table = host.tables.kernel.observed.table(family).unwrap();
            let Some(map) = table.sets.iter().find(|set| &*set.name == stem) else {
                continue;
            };
            let map = map.name.clone();
            let entries = (0..count).map(|n: u8| Entry {
                key: Bytes::new(&[n; 8]).unwrap(),
                server: numbers[0],
                timeout: 1000,
                left: 1000,
            });
            let entries = entries.collect();
            host.tables.kernel.recollections.push(Recollection {
                family,
                map,
                entries,
            });
        }
        let status = host.status();
        let text = human(&status);
        assert!(
            text.contains(&format!("  {left}  1 client comes back by persist\n")),
            "{mode}: {text}"
        );
        let silent: Vec<&String> = status.warnings.iter().collect();
        if mode.is_empty() {
            assert_eq!(
                silent,
                [
                    "server `b` of `www` is sent to and does not answer: 3 connections wait for its first packet"
                ]
            );
        } else {
            assert!(silent.is_empty(), "{silent:?}");
        }
    }
}

#[test]
fn what_was_unloaded_is_missed_by_nobody() {
    for gone in [false, true] {
        let mut host = Host::with(BOTH, 0);
        if gone {
            let observed = &mut host.tables.kernel.observed;
            (observed.inet, observed.netdev) = (None, None);
            observed.generation += 1;
            assert_eq!(host.status().applied.in_force, Some(false));
        }
        host.tables.unload().unwrap();
        let status = host.status();
        assert_eq!(status.applied.in_force, None);
        assert_eq!(human(&status), "no services\n");
    }
}

#[test]
fn a_trial_is_told_as_long_as_it_is_open() {
    let mut host = Host::with(WWW, 0);
    let job = host.job(&WWW.replace("weight 3", "weight 5"), 0);
    let mut sink = Diagnostics::new();
    let minute = Duration::from_secs(60);
    let begun = trial::begin(&mut host.tables, &job, minute, || Ok(()), &mut sink).unwrap();
    assert!(begun.is_some());
    // Nobody watches.
    let status = host.status();
    let notice = status.trial.as_deref().unwrap();
    assert!(
        notice.starts_with("on trial, but the process that was to go back was killed"),
        "{notice}"
    );
    let (_, watching) = host.tables.trials().unwrap().watch().unwrap();
    let status = host.status();
    let notice = "on trial: goes back in 1m unless `flbc confirm` comes";
    assert_eq!(status.trial.as_deref(), Some(notice));
    assert!(human(&status).starts_with(&format!("{notice}\n\nservice www")));
    assert!(json(&status).starts_with(&format!("{{\"trial\":\"{notice}\",")));
    assert!(prometheus(&status).contains("\nflbc_trial_open 1\n"));
    drop(watching);
    trial::confirm(&mut host.tables).unwrap();
    assert_eq!(host.status().trial, None);
}

#[test]
fn what_was_set_stands_beside_what_the_file_says() {
    let mut host = Host::with(WWW, 0);
    let mut sink = Diagnostics::new();
    let wish = Demand::State(State::Down);
    let done = set(&mut host.tables, None, ("www", "b"), wish, &mut sink).unwrap();
    assert!(!Applied::is_nothing(&done.applied));
    let status = host.status();
    let b = &status.services[0].servers[1];
    assert_eq!(
        (b.name.as_str(), b.state, b.file.as_deref()),
        ("b", State::Down, Some("weight 1"))
    );
    assert!(
        human(&status)
            .contains("        0  set 0s ago; the file says weight 1  0 connections left\n")
    );
    let b = r#""name":"b","endpoint":"10.20.0.12","weight":1,"state":"down","file":"weight 1""#;
    assert!(json(&status).contains(b), "{}", json(&status));
    let text = prometheus(&status);
    let labels = r#"service="www",server="b",endpoint="10.20.0.12",mode="nat""#;
    for sample in [
        format!("\nflbc_server_state{{{labels},state=\"down\"}} 1\n"),
        format!("\nflbc_server_overridden{{{labels}}} 1\n"),
    ] {
        assert!(text.contains(&sample), "{sample}\n{text}");
    }
}

#[test]
fn two_readings_make_rates() {
    let mut host = busy();
    let before = host.status();
    let inet = TableFamily::Inet;
    host.meet((inet, "svc4"), None, counter(26, 1560));
    let mut after = host.status();
    after.compare(&before, Duration::from_secs(2));
    let text = human(&after);
    let vip = text.lines().nth(1).unwrap();
    let words: Vec<&str> = vip.split_whitespace().collect();
    assert_eq!(words[4..], ["10.0", "-", "-", "-", "-"], "{text}");
    let quiet = r#""rate":{"connections":0.0,"to":{"packets":0.0,"bits":0.0},"#;
    let told = json(&after);
    assert!(
        told.contains(r#","interval":2.0,"services""#) && told.contains(quiet),
        "{told}"
    );
}

#[test]
fn bits_that_are_left_to_others_are_told() {
    let mut host = Host::with(WWW, 8);
    let status = host.status();
    assert!(human(&status).starts_with("mark-shift 8\n\nservice www (nat)"));
    assert!(json(&status).contains(r#","mark_shift":8,"services""#));
}

//! A table that another program made is not taken over unless that is asked for.

use std::fs;

use super::*;
use crate::diagnostic::{Code, Exit};
use crate::diff::{ObservedChain, ObservedRule, ObservedSet, ObservedTable};
use crate::emit::netlink::{RuleBody, Shape};

const FILE: &str = "
    service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 }
    service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server a 10.20.0.11 }";

fn set(name: &str) -> ObservedSet {
    ObservedSet {
        name: name.into(),
        shape: Shape {
            flags: 0,
            key_type: 7,
            key_length: 4,
            data_type: None,
            data_length: 0,
            size: 16,
            fields: Vec::new(),
            statements: Vec::new(),
        },
        elements: Vec::new(),
        counters: Vec::new(),
    }
}

fn chain(name: &str, rules: usize) -> ObservedChain {
    let rule = |handle| ObservedRule {
        handle,
        body: RuleBody {
            expressions: vec![1, 2, 3],
            protocols: None,
        },
    };
    ObservedChain {
        name: name.into(),
        hook: None,
        rules: (0..rules as u64).map(rule).collect(),
    }
}

#[test]
fn what_another_program_made_is_left_to_it() {
    let tables = [
        (vec![set("admins")], vec![chain("input", 1)], "set `admins`"),
        (vec![set("server")], vec![chain("mine", 1)], "chain `mine`"),
        (
            vec![],
            vec![chain("input", 1), chain("forward", 2)],
            "chain `input`",
        ),
        (vec![set("local4"), set("locals")], vec![], "set `locals`"),
    ];
    for (sets, chains, told) in tables {
        for netdev in [false, true] {
            let mut host = Host::new();
            let table = ObservedTable {
                // As the kernel in Linux tells tables without a text apart.
                id: Some("table 7 of 1234".into()),
                sets: sets.clone(),
                chains: chains.clone(),
                ..ObservedTable::default()
            };
            host.by_hand(|has| {
                if netdev {
                    has.netdev = Some(table);
                } else {
                    has.inet = Some(table);
                }
            });
            let before = host.has();
            for commit in [true, false] {
                let refused = host.run(FILE, (commit, false, None)).0.unwrap_err();
                assert_eq!(refused.exit(), Exit::Refused);
                let mut sink = Diagnostics::new();
                assert_eq!(refused.report(&mut sink), None);
                let faults = sink.sorted();
                assert_eq!(faults[0].code, Code::StrangeTable);
                assert!(faults[0].message.contains(told), "{}", faults[0].message);
            }
            let refused = host.tables().unload().unwrap_err();
            assert!(matches!(refused, Failure::Strange { .. }), "{refused}");
            assert_eq!(host.has(), before);
            let mut tables = host.tables();
            tables.force = true;
            tables.unload().unwrap();
            assert!(!host.has_tables());
        }
    }
}

#[test]
fn an_empty_table_is_anybodys_and_one_of_flbcs_is_its_own_whatever_was_added() {
    let mut host = Host::new();
    host.by_hand(|has| has.inet = Some(ObservedTable::default()));
    host.apply(FILE);
    let mut host = Host::new();
    host.apply(FILE);
    host.by_hand(|has| {
        let table = has.inet.as_mut().unwrap();
        table.sets.push(set("admins"));
        table.chains.push(chain("mine", 1));
    });
    let applied = host.try_apply(FILE).unwrap();
    assert_eq!(applied.drift.len(), 2, "{:?}", applied.drift);
    assert!(host.apply(FILE).is_nothing());
    // Nor is the text lost with the note.
    host.by_hand(|has| has.inet.as_mut().unwrap().sets.push(set("admins")));
    host.forget();
    host.try_apply(FILE).unwrap();
    assert!(host.apply(FILE).is_nothing());
}

#[test]
fn whatever_flbc_compiles_is_known_as_its_own() {
    let folders = ["tests/golden", "examples"];
    let files = folders.map(|folder| fs::read_dir(folder).unwrap());
    let files = files
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for path in files.filter(|path| path.extension().is_some_and(|it| it == "flb")) {
        let (mut sources, mut sink) = (Sources::new(), Diagnostics::new());
        let Some(model) = crate::read(Input::Path(path.clone()), &mut sources, &mut sink) else {
            continue;
        };
        let target = ("flbc", Layout::new(3).unwrap());
        let Some(rules) = crate::rules(&model, target, &mut sink) else {
            continue;
        };
        for table in [&rules.inet, &rules.netdev].into_iter().flatten() {
            for name in table.sets.iter().map(|set| &set.name) {
                assert!(
                    crate::ruleset::name::is_own_set(name),
                    "{}: {name}",
                    path.display()
                );
            }
            for name in table.chains.iter().map(|chain| &chain.name) {
                assert!(
                    crate::ruleset::name::is_own_chain(name),
                    "{}: {name}",
                    path.display()
                );
            }
            let signs = table
                .sets
                .iter()
                .filter(|set| crate::ruleset::name::is_sign(&set.name));
            assert!(
                signs.count() > 0 || table.chains.is_empty(),
                "{}",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}

//! Text, JSON and netlink make the same kernel state.

use std::collections::BTreeMap;
use std::sync::Arc;

use flbc::diff::{Observed, diff};
use flbc::emit::{self, netlink};
use flbc::kernel::{Kernel, Linux};
use flbc::ruleset::Ruleset;

use crate::everything;
use crate::namespace::{bytecode, inside, interface, listing, run, traced};

/// Sends a whole ruleset.
fn load(ruleset: &Ruleset) {
    let mut kernel = Linux::open().expect("a socket");
    let interfaces = kernel.interfaces().expect("interfaces");
    let desired = netlink::desired(ruleset.clone(), &interfaces).expect("all interfaces are there");
    let changes = diff(
        &Observed::default(),
        desired.clone(),
        &Arc::from("flbc test"),
    );
    kernel
        .check("flbc", &changes)
        .expect("the kernel would take it");
    let generation = kernel.generation().expect("a generation");
    let committed = kernel.commit("flbc", &changes, generation);
    committed.expect("the kernel takes it");
}

#[test]
fn everything_loads_to_the_same_state() {
    inside(|| {
        interface("eth0");
        interface("eth1");
        let (sources, span) = everything::source();
        let ruleset = everything::ruleset(span, "eth0", "eth1");
        run("nft", &["-f", "-"], &everything::text(&ruleset, &sources));
        let (text, text_code) = (listing(), bytecode());
        run("nft", &["flush", "ruleset"], "");
        run("nft", &["-j", "-f", "-"], &everything::json(&ruleset));
        let (json, json_code) = (listing(), bytecode());
        run("nft", &["flush", "ruleset"], "");
        load(&ruleset);
        let (sent, sent_code) = (listing(), bytecode());
        assert!(text.contains("chain turn"), "{text}");
        assert_eq!(json, text, "JSON against text");
        assert_eq!(json_code, text_code, "JSON against text");
        assert_eq!(sent, text, "netlink against text");
        assert_eq!(sent_code, text_code, "netlink against text");
    });
}

#[test]
fn maps_that_rules_fill_load_to_the_same_state_as_text_and_as_netlink() {
    inside(|| {
        interface("eth0");
        let (sources, span) = everything::source();
        let ruleset = everything::remembering(span, "eth0");
        run("nft", &["-f", "-"], &everything::text(&ruleset, &sources));
        let (text, text_code) = (listing(), bytecode());
        run("nft", &["flush", "ruleset"], "");
        load(&ruleset);
        assert!(text.contains("flags dynamic,timeout"), "{text}");
        assert!(text_code.contains("dynset update"), "{text_code}");
        assert_eq!(listing(), text, "netlink against text");
        for (at, (sent, text)) in bytecode().lines().zip(text_code.lines()).enumerate() {
            assert_eq!(sent, text, "netlink against text, line {at}");
        }
        assert_eq!(bytecode(), text_code, "netlink against text");
        // What nft lists it reads again.
        run("nft", &["flush", "ruleset"], "");
        run("nft", &["-f", "-"], &text);
        assert_eq!(listing(), text);
        assert_eq!(emit::unsayable(&ruleset), Some(span));
    });
}

#[test]
fn what_rules_put_into_a_map_is_never_touched_nor_read_nor_drift() {
    inside(|| {
        interface("eth0");
        let (_, span) = everything::source();
        let ruleset = everything::remembering(span, "eth0");
        load(&ruleset);
        run(
            "nft",
            &["-f", "-"],
            "add element inet flbc persist4 { 192.0.2.1 . 0x80000000 timeout 1h : 0x80000001 }",
        );
        let mut kernel = Linux::open().expect("a socket");
        let interfaces = kernel.interfaces().expect("interfaces");
        let observed = kernel.observe("flbc").expect("it can be read");
        let sets = &observed.inet.as_ref().expect("a table").sets;
        assert_eq!(sets.len(), 4);
        assert!(sets.iter().all(|set| set.elements.is_empty()));
        let desired = netlink::desired(ruleset, &interfaces).expect("all interfaces are there");
        assert!(diff(&observed, desired.clone(), &Arc::from("flbc test")).is_empty());
        // Another size is another map.
        let mut larger = desired;
        let table = larger.inet.as_mut().expect("a table");
        table.sets[0].shape.size *= 2;
        let changes = diff(&observed, larger, &Arc::from("flbc test"));
        assert!(changes.len() > 2, "{changes:?}");
        kernel
            .commit("flbc", &changes, observed.generation)
            .expect("the kernel takes it");
        assert!(!listing().contains("192.0.2.1"));
    });
}

/// What the comparisons above rest on: the same values in other registers are the same, and others are not.
#[test]
fn bytecode_is_compared_by_what_is_in_its_registers() {
    let read = |rule: &[&str]| {
        let mut filled = BTreeMap::new();
        let expressions = rule.iter().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            traced(&words, &mut filled)
        });
        expressions.collect::<Vec<_>>()
    };
    let rule = read(&[
        "[ payload load 4b @ network header + 12 => reg 1 ]",
        "[ hash reg 9 = jhash(reg 1, 4, 0x666c6263) % mod 7 ]",
        "[ meta load mark => reg 2 ]",
        "[ dynset update reg_key 9 set persist4 sreg_data 2 ]",
    ]);
    let others = [
        // Other registers; `reg 8` is the first quarter of `reg 1`.
        (8, 1, 10, 11, 10, 11, true),
        (1, 1, 1, 9, 1, 9, true),
        // Key and value in each other's place, a hash of the wrong value, one that nobody filled.
        (1, 1, 9, 2, 2, 9, false),
        (1, 2, 9, 2, 9, 2, false),
        (1, 1, 9, 2, 9, 3, false),
    ];
    for (client, hashed, hash, mark, key, data, same) in others {
        let other = read(&[
            &format!("[ payload load 4b @ network header + 12 => reg {client} ]"),
            &format!("[ hash reg {hash} = jhash(reg {hashed}, 4, 0x666c6263) % mod 7 ]"),
            &format!("[ meta load mark => reg {mark} ]"),
            &format!("[ dynset update reg_key {key} set persist4 sreg_data {data} ]"),
        ]);
        assert_eq!(other == rule, same, "{other:#?}\n{rule:#?}");
    }
}

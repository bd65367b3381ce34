//! Text, JSON and netlink make the same kernel state.

use std::sync::Arc;

use flbc::diff::{Observed, diff};
use flbc::emit::netlink;
use flbc::kernel::{Kernel, Linux};
use flbc::ruleset::Ruleset;

use crate::everything;
use crate::namespace::{bytecode, inside, interface, listing, run};

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

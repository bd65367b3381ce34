//! Flows that are older than their service.

use rustix::io::Errno;

use super::*;

fn service(ports: &str) -> String {
    format!(
        "service www {{ vip 192.0.2.10, 2001:db8::10 {ports}; server a 10.20.0.11; server a6 2001:db8:1::11 }}"
    )
}

const VIPS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];

#[test]
fn a_udp_flow_older_than_its_service_is_forgotten_whether_it_was_answered_or_not() {
    let mut host = Host::new();
    for vip in VIPS {
        host.follow(Protocol::Udp, vip, false);
        host.follow(Protocol::Udp, vip, true);
    }
    let dry = host.dry(&service("udp 80"));
    assert_eq!((dry.older, host.kernel.flows.len()), (0, 4));
    let applied = host.apply(&service("udp 80"));
    assert_eq!(applied.older, 4);
    assert!(
        applied
            .text(false)
            .contains(", 4 flows forgotten that are older than their service\n")
    );
    assert!(host.kernel.flows.is_empty());
}

#[test]
fn a_flow_that_began_while_the_rules_were_not_in_force_is_forgotten() {
    let file = service("udp 80");
    let mut host = Host::new();
    host.apply(&file);
    // Somebody put the tables to sleep and woke them, or took them away and restored them: another generation is all that
    // shows of it.
    host.kernel.observed.generation += 2;
    host.follow(Protocol::Udp, VIPS[0], false);
    let applied = host.apply(&file);
    assert!(applied.is_nothing());
    assert_eq!((applied.older, host.kernel.flows.len()), (1, 0));
    // Where nobody committed anything, nothing is looked for.
    host.follow(Protocol::Udp, VIPS[0], false);
    assert_eq!(host.apply(&file).older, 0);
}

#[test]
fn a_flow_of_which_only_the_answers_were_seen_is_forgotten() {
    let mut host = Host::new();
    host.follow(Protocol::Udp, VIPS[0], false);
    let flow = &mut host.kernel.flows[0];
    (flow.source, flow.destination) = (flow.destination, flow.source);
    (flow.source_port, flow.destination_port) = (flow.destination_port, flow.source_port);
    assert_eq!(host.apply(&service("tcp, udp 80")).older, 1);
}

#[test]
fn a_connection_of_tcp_that_is_established_goes_on_and_one_that_knocks_is_let_in() {
    let mut host = Host::new();
    for vip in VIPS {
        host.follow(Protocol::Tcp, vip, true);
        host.follow(Protocol::Tcp, vip, false);
    }
    assert_eq!(host.apply(&service("tcp 80")).older, 2);
    assert!(host.kernel.flows.iter().all(|flow| flow.answered));
}

#[test]
fn flows_that_are_none_of_the_new_service_stay() {
    let mut host = Host::new();
    for to in ["10.20.0.11:80", "192.0.2.10:79", "192.0.2.53:80"] {
        host.follow(Protocol::Udp, to, false);
    }
    host.follow(Protocol::Tcp, VIPS[0], false);
    assert_eq!(host.apply(&service("udp 80-81")).older, 0);
    assert_eq!(host.kernel.flows.len(), 4);
    // What was served before is not new, whatever its servers are called or where its maps are.
    host.follow(Protocol::Udp, VIPS[0], false);
    assert_eq!(
        host.apply(&service("udp 80-81").replace("server a ", "server a2 "))
            .older,
        0
    );
    assert_eq!(
        host.apply(&service("udp 80-81").replace("www", "web"))
            .older,
        0
    );
    assert_eq!(
        host.apply(&service("udp 80, 81")).older,
        1,
        "another map has it, which is not known for it"
    );
}

#[test]
fn the_first_apply_after_nft_loaded_the_rules_forgets_flows() {
    let mut host = Host::new();
    host.follow(Protocol::Udp, VIPS[0], false);
    host.load(&service("udp 80"));
    let applied = host.apply(&service("udp 80"));
    assert!(applied.is_nothing());
    assert_eq!(
        applied.older_flows(),
        ", 1 flow forgotten that is older than its service"
    );
    host.follow(Protocol::Udp, VIPS[0], false);
    assert_eq!(
        host.apply(&service("udp 80")).older,
        0,
        "the next has nothing to do with it"
    );
}

#[test]
fn flows_older_than_a_service_of_direct_return_are_none_of_its_business() {
    let mut host = Host::new();
    host.follow(Protocol::Udp, VIPS[0], false);
    let text = "service www { vip 192.0.2.10 udp 80; mode dr on eth0; server a 10.20.0.11 }";
    assert_eq!(host.apply(text).older, 0);
    // But when it comes to be one of nat.
    assert_eq!(host.apply(&text.replace("dr on eth0", "nat")).older, 1);
}

#[test]
fn going_back_forgets_what_is_older_than_the_services_that_come_back() {
    let mut host = Host::new();
    host.apply(&service("udp 80"));
    let before = host.tables().before().unwrap();
    host.unload().unwrap();
    host.follow(Protocol::Udp, VIPS[1], true);
    assert_eq!(host.tables().restore(&before).unwrap().older, 1);
}

#[test]
fn where_flows_cannot_be_looked_at_that_is_told() {
    let mut host = Host::new();
    host.kernel.untracked = Some(Errno::OPNOTSUPP);
    let applied = host.try_apply(&service("udp 80")).unwrap();
    let warnings = applied.warnings();
    assert!(
        warnings[0].starts_with("flows that began before their service may go on unbalanced: cannot talk to connection tracking: "),
        "{warnings:?}"
    );
}

#[test]
fn going_back_forgets_what_began_while_the_same_services_were_not_in_force() {
    let mut host = Host::new();
    host.apply(&service("udp 80"));
    let before = host.tables().before().unwrap();
    host.kernel.observed.inet.as_mut().unwrap().dormant = true;
    host.follow(Protocol::Udp, VIPS[0], false);
    assert_eq!(host.tables().restore(&before).unwrap().older, 1);
}

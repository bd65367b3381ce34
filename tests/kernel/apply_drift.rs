//! Changes by hand: to flbc's own tables, which apply reports and puts right, and to others', which are not its business.

use crate::apply_host::Host;

const FILE: &str = "
service www { vip 192.0.2.10 tcp 80, 443; server a 10.20.0.11; server b 10.20.0.12:8080 weight 2 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 }
";

const FOREIGN: &str = "
table inet foreign {
    set admins { type ipv4_addr; elements = { 198.51.100.10 } }
    chain input { type filter hook input priority 5; policy accept; tcp dport 22 ip saddr @admins accept; }
}
table ip flbc { chain mine { type filter hook forward priority 0; ct mark 0x7 accept; }; }
table netdev watch { chain in { type filter hook ingress device \"eth0\" priority 100; policy accept; ip protocol icmp accept; }; }
";

#[test]
fn what_somebody_changed_by_hand_is_told_and_put_right() {
    let host = Host::alone();
    host.apply(FILE);
    let whole = host.state();
    for (by_hand, told) in [
        ("add rule inet flbc input drop", "`input`"),
        ("insert rule inet flbc dispatch counter", "`dispatch`"),
        ("flush chain inet flbc output", "`output`"),
        ("add chain inet flbc stray", "`stray`"),
        ("add set inet flbc stray { type ipv4_addr; }", "`stray`"),
        ("flush map netdev flbc slot", "`slot`"),
        ("add element inet flbc vip4 { 192.0.2.99 }", "`vip4`"),
        (
            "delete element inet flbc svc4 { 192.0.2.10 . tcp . 443 }",
            "`svc4`",
        ),
        (
            "flush chain inet flbc svc_www_v4; flush map inet flbc svc4; delete chain inet flbc svc_www_v4",
            "`svc_www_v4`",
        ),
        ("delete table netdev flbc", "netdev"),
        // Its rules are all there, and no packet meets them.
        (
            "add table inet flbc { flags dormant; }",
            "dormant table in inet",
        ),
        (
            "add table netdev flbc { flags dormant; }",
            "dormant table in netdev",
        ),
        (
            "delete chain inet flbc input / add table inet flbc { flags dormant; }",
            "dormant table in inet",
        ),
        (
            "delete chain netdev flbc on_eth0 / add table netdev flbc { flags dormant; }",
            "dormant table in netdev",
        ),
        (
            "add chain netdev flbc own { type filter hook ingress device eth1 priority 7; } / add table netdev flbc { flags dormant; }",
            "dormant table in netdev",
        ),
    ] {
        // The kernel does not make a table dormant and change its hooks in one transaction.
        for by_hand in by_hand.split(" / ") {
            host.namespace.nft(&format!("{by_hand}\n"));
        }
        assert_ne!(host.state(), whole, "{by_hand}");
        let ran = host.flbc(&["apply", "-"], FILE);
        assert_eq!(ran.code, Some(0), "{by_hand}: {ran:?}");
        assert!(
            ran.err.contains("changed by somebody else:") && ran.err.contains(told),
            "{by_hand}: {ran:?}"
        );
        assert_eq!(host.state(), whole, "{by_hand}");
        assert_eq!(host.apply(FILE), "no difference\n", "{by_hand}");
    }
}

/// A rule that sets a hash, of a list or a service that turns somebody away, is not the one that sets the service's own
/// number. This service's hash is one that could be such a number.
#[test]
fn a_hash_is_not_taken_for_the_number_of_a_service() {
    const FILE: &str = "service n2913 { vip 192.0.2.10 tcp 80; deny from 10.9.0.0/16; persist 1h; server a 10.20.0.11; server b 10.20.0.12 }";
    let host = Host::alone();
    host.apply(FILE);
    let whole = host.state();
    let away = "ct mark set 0x9f56f000 goto away";
    assert!(host.list().contains(away), "{}", host.list());
    host.namespace.nft("add rule inet flbc input counter\n");
    assert_eq!(host.flbc(&["apply", "-"], FILE).code, Some(0));
    assert_eq!(host.state(), whole);
}

#[test]
fn slots_that_somebody_moved_out_of_their_range_come_back() {
    const FILE: &str =
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";
    let host = Host::alone();
    host.apply(FILE);
    let whole = host.state();
    let rule = "ct mark set numgen inc mod 2 offset";
    let listed = host.namespace.command(
        "nft",
        &["-a", "list", "chain", "inet", "flbc", "svc_www_v4"],
        "",
    );
    let line = listed
        .stdout
        .lines()
        .find(|line| line.contains(rule))
        .unwrap();
    let handle = line.rsplit(' ').next().unwrap();
    host.namespace.nft(&format!(
        "replace rule inet flbc svc_www_v4 handle {handle} {rule} 0xfffffffe
        add element inet flbc slot {{ 0xfffffffe : 0x1, 0xffffffff : 0x2 }}\n"
    ));
    assert_eq!(host.flbc(&["apply", "-"], FILE).code, Some(0));
    assert_eq!(host.state(), whole);
}

#[test]
fn tables_of_others_are_not_touched() {
    let host = Host::alone();
    host.namespace.nft(FOREIGN);
    let foreign = || {
        let tables = [["inet", "foreign"], ["ip", "flbc"], ["netdev", "watch"]];
        tables.map(|[family, name]| {
            let listed = host
                .namespace
                .command("nft", &["-a", "list", "table", family, name], "");
            assert!(listed.success, "{}", listed.stderr);
            listed.stdout
        })
    };
    let before = foreign();
    host.apply(FILE);
    host.namespace
        .nft("add element inet foreign admins { 198.51.100.11 }");
    let changed = foreign();
    assert_ne!(before, changed);
    // What others do to their own is no drift, and no reason to send anything.
    assert_eq!(host.apply(FILE), "no difference\n");
    assert_eq!(foreign(), changed);
    host.apply(&FILE.replace("weight 2", "drain"));
    host.flbc(&["unload"], "");
    assert_eq!(foreign(), changed);
}

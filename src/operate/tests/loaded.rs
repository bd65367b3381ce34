//! Tables that `flbc compile` and nft made: what apply says of them, and that it comes to rest.

use super::*;

/// Ways to use pools of which the tables do not tell all.
const POOLS: &str = "
pool web { server web1 10.20.0.11; server web2 10.20.0.12:8080 weight 3; server six 2001:db8:1::11 }
pool more { server more1 10.20.0.21 drain; server more2 10.20.0.22 }
pool a-name-so-long-that-a-comment-has-no-room-for-it { server long1 10.20.0.41; server long2 10.20.0.42 weight 0 }
pool dr { server dr1 10.20.0.51; server dr2 10.20.0.52 weight 2; server dr3 10.20.0.53 down }
pool macs { server mac1 10.20.0.61 mac 02:00:00:00:00:61; server mac2 10.20.0.62 mac 02:00:00:00:00:62 }
service turns   { vip 192.0.2.10 tcp 80; pool web }
service hashes  { vip 192.0.2.11 tcp 80; pool web; scheduler hash }
service returns { vip 192.0.2.12 tcp 80; pool web; persist 1h }
service both    { vip 192.0.2.13, 2001:db8::13 tcp 80; pool web; pool more }
service own     { vip 192.0.2.14 tcp 80-90; pool web; server own1 10.20.0.31; server own2 10.20.0.32 backup }
service long    { vip 192.0.2.15 udp any; pool a-name-so-long-that-a-comment-has-no-room-for-it }
service longer  { vip 192.0.2.16 tcp 80; pool a-name-so-long-that-a-comment-has-no-room-for-it; pool more; on-empty drop }
service direct  { vip 192.0.2.17 tcp 80; pool dr; mode dr on eth0; scheduler hash }
service natted  { vip 192.0.2.18 tcp 80; pool dr; mode nat masquerade }
service framed  { vip 192.0.2.20 tcp 80; pool macs; mode dr on eth0; scheduler hash }
service tracked { vip 192.0.2.21 tcp 80; pool macs; mode dr on eth0; track 5m }
service a-service-whose-name-is-too-long-for-the-comments { vip 192.0.2.19 tcp 80; pool dr; server own1 10.20.0.31 }
";

fn loaded(text: &str) -> Host {
    let mut host = Host::new();
    host.load(text);
    host
}

#[test]
fn apply_rests_on_what_nft_loaded_however_pools_are_used() {
    let mut host = loaded(POOLS);
    assert!(host.dry(POOLS).is_nothing() && !host.remembers());
    assert!(host.apply(POOLS).is_nothing() && host.remembers());
    assert!(host.dry(POOLS).is_nothing());
    // Each service alone, and beside the next: what is shared and what is not.
    let (pools, services): (Vec<&str>, Vec<&str>) = POOLS
        .lines()
        .filter(|line| !line.is_empty())
        .partition(|line| line.starts_with("pool"));
    let pools = pools.join("\n");
    for (at, one) in services.iter().enumerate() {
        for other in ["", services[(at + 1) % services.len()]] {
            let text = format!("{pools}\n{one}\n{other}\n");
            assert!(loaded(&text).dry(&text).is_nothing(), "{one}\n{other}");
        }
    }
}

#[test]
fn apply_says_what_it_changes_in_what_nft_loaded_and_then_rests() {
    for (from, to, said) in [
        (
            "server web1 10.20.0.11;",
            "server web1 10.20.0.11 weight 2;",
            &[
                "~ pool web: web1 weight 1 -> 2",
                "~ pool web more: web1 weight 1 -> 2",
                "~ own: web1 weight 1 -> 2",
                "~ hashes: moves 15.0 % of the clients of IPv4 (the least possible: 15.0 %)",
            ][..],
        ),
        (
            "server own1 10.20.0.31; server own2",
            "server own1 10.20.0.31 drain; server own2",
            &["~ own: own1 up -> drain"],
        ),
        (
            "vip 192.0.2.15 udp any",
            "vip 192.0.2.15 udp 53",
            &[
                "~ long: - vip 192.0.2.15 udp any",
                "~ long: + vip 192.0.2.15 udp 53",
            ],
        ),
    ] {
        let mut host = loaded(POOLS);
        let text = POOLS.replace(from, to);
        assert_eq!(host.dry(&text).difference.lines, said);
        assert_eq!(host.apply(&text).difference.lines, said);
        assert!(host.remembers() && host.apply(&text).is_nothing());
    }
}

#[test]
fn what_nft_loads_again_is_not_taken_for_what_was_there() {
    const FILE: &str =
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";
    let mut host = loaded(FILE);
    host.apply(FILE);
    host.load(&FILE.replace("10.20.0.12", "10.20.0.13"));
    let applied = host.apply(FILE);
    assert_eq!(
        applied.difference.lines,
        ["~ www: b 10.20.0.13 -> 10.20.0.12"]
    );
    // What somebody changes in loaded tables is told, as in others.
    host.load(FILE);
    host.apply(FILE);
    host.by_hand(|has| has.inet.as_mut().unwrap().dormant = true);
    let warnings = host.try_apply(FILE).unwrap().warnings();
    assert_eq!(
        warnings,
        ["changed by somebody else: dormant table in inet"]
    );
    assert!(host.apply(FILE).is_nothing());
}

/// Nothing is remembered of what another version applied: who moves is read off the kernel.
#[test]
fn the_first_apply_after_an_upgrade_tells_whom_it_moves() {
    let file = |scheduler: &str, last: &str| {
        format!(
            "service nat {{ vip 192.0.2.10, 2001:db8::10 tcp 80; scheduler {scheduler}
                server 10.20.0.[11-15]:8080; server [2001:db8:1::11]:8080; server [2001:db8:1::12]:8080 {last} }}
            service one {{ vip 192.0.2.54 udp 53; scheduler {scheduler}; server 10.20.0.11 }}"
        )
    };
    let (old, new) = (file("maglev table 509", ""), file("maglev table 13", ""));
    let moves = |applied: &Applied| -> Vec<String> {
        let lines = applied.difference.lines.iter();
        lines
            .filter(|line| line.contains(" moves "))
            .cloned()
            .collect()
    };
    // The same as of two files, one of which is remembered.
    let mut remembered = Host::new();
    remembered.apply(&old);
    let wanted = remembered.run(&new, (false, false, None)).0.unwrap();
    let mut host = loaded(&old);
    let dry = host.run(&new, (false, false, None)).0.unwrap();
    assert_eq!(moves(&dry), moves(&wanted));
    assert_eq!(moves(&dry).len(), 2, "{dry:?}");
    assert_eq!(dry.warnings(), wanted.warnings());
    assert!(
        dry.warnings()[0].contains("`scheduler maglev by source-port table 509` in service `nat` would move 0.0 % of the clients of IPv4 instead of "),
        "{:?}",
        dry.warnings()
    );
    // What is advised is true.
    assert!(host.dry(&old).is_nothing());
    let one_down = host.dry(&file("maglev table 509", "down"));
    assert!(
        moves(&one_down).iter().all(|line| line.contains("IPv6")),
        "{one_down:?}"
    );
    assert_eq!(moves(&host.try_apply(&new).unwrap()), moves(&dry));
    assert!(host.apply(&new).is_nothing());
}

//! `flbc compile | nft -f -`, then `flbc apply`: what apply says of tables that it did not make, and that it comes to rest.

use flbc::kernel::{Kernel, Linux};

use crate::apply_host::Host;
use crate::golden::{examples, goldens, interfaces, machine_with};
use crate::operator::flbc;

const REST: &str = "no difference\n";

/// A machine on which the compiled form of a file was loaded, and the file.
fn loaded(file: &str) -> Host {
    let output = flbc(&["compile", "-"], file);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\nabout:\n{file}");
    loaded_text(&String::from_utf8(output.stdout).expect("UTF-8"))
}

fn loaded_text(text: &str) -> Host {
    let host = Host::new(&machine_with(&interfaces(text)));
    host.namespace.nft(text);
    host
}

/// Applies `file` to what was loaded from the same: it was never different, and is remembered from then on.
fn rests(host: &Host, arguments: &[&str], file: &str, what: &str) {
    let generation = host.generation();
    let flbc = |before: &[&str]| {
        let ran = host.flbc(&[before, arguments].concat(), file);
        (ran.code, ran.out)
    };
    let rest = (Some(0), REST.to_owned());
    assert_eq!(flbc(&["apply", "--dry-run"]), rest, "{what}: at first");
    assert!(!host.remembers(), "{what}: nothing was applied");
    assert_eq!(flbc(&["apply"]), rest, "{what}");
    assert!(host.remembers(), "{what}: it is known what is there");
    assert_eq!(flbc(&["apply"]), rest, "{what}: again");
    assert_eq!(flbc(&["apply", "--dry-run"]), rest, "{what}: afterwards");
    assert_eq!(host.generation(), generation, "{what}: a transaction");
}

#[test]
fn apply_rests_on_what_nft_loaded_from_every_example_and_golden() {
    for case in examples().into_iter().chain(goldens()) {
        let path = case.file.to_str().expect("UTF-8");
        rests(&loaded_text(&case.text), &[path], "", path);
    }
}

/// A restart of the service `nftables`, of rules that came out of `nft list ruleset`: what that writes must be read as the
/// rules that flbc would send.
#[test]
fn apply_rests_on_what_nft_saved_and_restored_of_every_example_and_golden() {
    let mut moved = Vec::new();
    for case in examples().into_iter().chain(goldens()) {
        let path = case.file.to_str().expect("UTF-8");
        let host = loaded_text(&case.text);
        let saved = host.list();
        host.namespace.nft(&format!("flush ruleset\n{saved}"));
        let ran = host.flbc(&["apply", "--dry-run", path], "");
        if (ran.code, &*ran.out) != (Some(0), REST) {
            moved.push((path.to_owned(), ran));
        }
    }
    assert!(moved.is_empty(), "{moved:#?}");
}

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

#[test]
fn apply_rests_on_what_nft_loaded_however_pools_are_used() {
    rests(&loaded(POOLS), &["-"], POOLS, "all");
    // Each service alone, and every two: what is shared and what is not.
    let (pools, services): (Vec<&str>, Vec<&str>) = POOLS
        .lines()
        .filter(|line| !line.is_empty())
        .partition(|line| line.starts_with("pool"));
    for (at, one) in services.iter().enumerate() {
        for other in services.iter().skip(at) {
            let pair = if one == other { "" } else { other };
            let file = format!("{}\n{one}\n{pair}\n", pools.join("\n"));
            let host = loaded(&file);
            let arguments = ["apply", "--dry-run", "-"];
            let ran = host.flbc(&arguments, &file);
            assert_eq!((ran.code, &*ran.out), (Some(0), REST), "{one}\n{pair}");
        }
    }
}

#[test]
fn apply_says_what_it_changes_in_what_nft_loaded_and_then_rests() {
    for (from, to, said) in [
        (
            "server web1 10.20.0.11;",
            "server web1 10.20.0.11 weight 2;",
            "~ pool web: web1 weight 1 -> 2\n~ pool web more: web1 weight 1 -> 2\n~ own: web1 weight 1 -> 2\n~ hashes: moves 15.0 % of the clients of IPv4 (the least possible: 15.0 %)\n",
        ),
        (
            "server own1 10.20.0.31; server own2",
            "server own1 10.20.0.31 drain; server own2",
            "~ own: own1 up -> drain\n",
        ),
        (
            "server dr1 10.20.0.51;",
            "server dr1 10.20.0.61;",
            "~ pool dr: dr1 10.20.0.51 -> 10.20.0.61\n~ a-service-whose-name-is-too-long-for-the-comments: dr1 10.20.0.51 -> 10.20.0.61\n~ direct: moves 66.7 % of the clients of IPv4 (the least possible: 33.3 %)\n",
        ),
        (
            "vip 192.0.2.15 udp any",
            "vip 192.0.2.15 udp 53",
            "~ long: - vip 192.0.2.15 udp any\n~ long: + vip 192.0.2.15 udp 53\n",
        ),
    ] {
        let host = loaded(POOLS);
        let file = POOLS.replace(from, to);
        assert_ne!(file, POOLS, "{from}");
        let lines = |all: &str| -> Vec<String> {
            let lines = all.lines().filter(|line| line.starts_with(['~', '+', '-']));
            lines.map(str::to_owned).collect()
        };
        let dry = host.flbc(&["apply", "--dry-run", "-"], &file);
        assert_eq!((dry.code, lines(&dry.out)), (Some(1), lines(said)), "{to}");
        assert_eq!(lines(&host.apply(&file)), lines(said), "{to}");
        assert!(host.remembers(), "{to}");
        assert_eq!(host.apply(&file), REST, "{to}");
        let dry = host.flbc(&["apply", "--dry-run", "-"], &file);
        assert_eq!((dry.code, &*dry.out), (Some(0), REST), "{to}");
    }
}

#[test]
fn what_nft_loads_again_is_not_taken_for_what_was_there() {
    const FILE: &str =
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";
    let host = loaded(FILE);
    assert_eq!(host.apply(FILE), REST);
    let other = FILE.replace("10.20.0.12", "10.20.0.13");
    host.namespace.nft(&crate::operator::compile(&other));
    let said = host.apply(FILE);
    assert!(
        said.starts_with("~ www: b 10.20.0.13 -> 10.20.0.12\n"),
        "{said}"
    );
    // What somebody changes in loaded tables is told, as in others.
    host.namespace.nft("add rule inet flbc input counter\n");
    let ran = host.flbc(&["apply", "-"], FILE);
    assert!(ran.err.contains("changed by somebody else:"), "{ran:?}");
    assert_eq!(host.apply(FILE), REST);
}

/// The first tables of two namespaces have the same number, and a namespace can have the inode of one that is gone.
#[test]
fn loaded_tables_of_two_namespaces_are_not_taken_for_each_other() {
    let known = || {
        let host = loaded(
            "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }",
        );
        host.namespace.run(|| {
            let mut kernel = Linux::open().expect("a socket");
            let all = kernel.identities("flbc").expect("they can be read");
            assert_eq!(all, kernel.identities("flbc").expect("they can be read"));
            let [Some(inet), None] = all else {
                panic!("the tables are known by {all:?}");
            };
            inet
        })
    };
    assert_ne!(known(), known());
}

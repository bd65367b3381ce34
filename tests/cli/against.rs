//! `flbc apply --dry-run --against RULES`: what would change, without a kernel and without privilege.

use std::fs;

use crate::{flbc, flbc_fed, folder};

const OLD: &str = "pool web { server web1 10.20.0.11:8080 weight 3; server web2 [2001:db8::7]:80; server web3 10.20.0.13 drain }
service www { vip 192.0.2.10 tcp 80, 1000-2000; vip 2001:db8::10 tcp 80; scheduler maglev table 7; pool web; deny from 198.51.100.66 }
service snat { vip 192.0.2.11 udp any; server x 10.20.0.9; server y 10.20.0.8 weight 2; mode nat snat 10.1.1.1; scheduler random }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; server a 10.20.0.21; server b 10.20.0.22 }
";

/// What is said of a file that came to be from [`OLD`] by these replacements.
fn compared(replaced: &[(&str, &str)]) -> (i32, String) {
    let folder = folder(&[("old.flb", OLD)]);
    let rules = folder.path().join("old.nft");
    let compiled = flbc_fed(&["compile", "-"], OLD.as_bytes());
    fs::write(&rules, compiled.stdout).unwrap();
    let mut new = OLD.to_owned();
    for (old, by) in replaced {
        assert!(new.contains(old), "{old}");
        new = new.replace(old, by);
    }
    let rules = rules.to_str().unwrap();
    let run = flbc_fed(
        &["apply", "--dry-run", "--against", rules, "-"],
        new.as_bytes(),
    );
    assert_eq!(run.stderr, "", "{}", run.stdout);
    (run.status, run.stdout)
}

#[test]
fn the_same_file_has_no_difference_however_it_is_written() {
    assert_eq!(compared(&[]), (0, "no difference\n".to_owned()));
    let moved = [(
        "pool web {",
        "# comments and lines do not count\n\npool web {",
    )];
    assert_eq!(compared(&moved), (0, "no difference\n".to_owned()));
}

#[test]
fn every_kind_of_change_is_told_in_words() {
    for (old, new, line) in [
        ("weight 3", "weight 5", "~ pool web: web1 weight 3 -> 5"),
        (
            "web3 10.20.0.13 drain",
            "web3 10.20.0.13 down",
            "~ pool web: web3 drain -> down",
        ),
        (
            "10.20.0.11:8080",
            "10.20.0.11:81",
            "~ pool web: web1 10.20.0.11:8080 -> 10.20.0.11:81",
        ),
        (
            "[2001:db8::7]:80",
            "[2001:db8::7]:81",
            "~ pool web: web2 [2001:db8::7]:80 -> [2001:db8::7]:81",
        ),
        (
            "udp any",
            "udp any; vip 192.0.2.12 tcp 5-9",
            "~ snat: + vip 192.0.2.12 tcp 5-9",
        ),
        (
            "scheduler random",
            "scheduler rr",
            "~ snat: IPv4 scheduler random -> round-robin",
        ),
        (
            "snat 10.1.1.1",
            "snat 10.1.1.2",
            "~ snat: x snat 10.1.1.1 -> 10.1.1.2",
        ),
        (
            "server b 10.20.0.22",
            "server b 10.20.0.22; server c 10.20.0.23",
            "+ server c 10.20.0.23",
        ),
        ("via eth1", "via eth2", "~ dns: a via"),
        (
            "server x 10.20.0.9; server y 10.20.0.8 weight 2;",
            "server x 10.20.0.9 down; server y 10.20.0.8 down; on-empty drop;",
            "~ snat: + IPv4 on-empty drop",
        ),
        ("service dns {", "service ns {", "+ service ns"),
        (
            "198.51.100.66",
            "198.51.100.67",
            "~ www: IPv4 allow and deny list 0x",
        ),
    ] {
        let (status, said) = compared(&[(old, new)]);
        assert_eq!(status, 1, "{said}");
        assert!(
            said.lines().any(|l| l.contains(line)),
            "{line} is not in:\n{said}"
        );
        assert!(
            said.ends_with("(compared with the rules, not with a kernel)\n"),
            "{said}"
        );
    }
    let (status, said) = compared(&[("table 7", "table 11")]);
    assert_eq!(status, 1);
    assert!(
        said.starts_with("the rules differ, but in no service"),
        "{said}"
    );
}

/// The slots of the text are compared with those of the file, as diff compares two files.
#[test]
fn whom_it_moves_is_told_as_diff_tells_it() {
    let old = "service www { vip 192.0.2.10 tcp 80; vip 2001:db8::10 tcp 80; scheduler maglev; server 10.20.0.[1-5]:81; server 2001:db8:1::1 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; scheduler hash by source; server 10.20.0.[1-3] }
service old { vip 192.0.2.54 udp 53; scheduler maglev table 509; server 10.20.0.[1-5] }
service turn { vip 192.0.2.55 udp 53; server 10.20.0.[1-5] }
";
    let new = old
        .replace("[1-5]:81;", "[1-6]:81; server 2001:db8:1::2;")
        .replace("[1-3]", "[1-4]")
        .replace(" table 509", "");
    let folder = folder(&[("old.flb", old), ("new.flb", &new)]);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let compiled = flbc(["compile", &at("old.flb")]);
    fs::write(folder.path().join("old.nft"), compiled.stdout).unwrap();
    let texts = flbc([
        "apply",
        "--dry-run",
        "--against",
        &at("old.nft"),
        &at("new.flb"),
    ]);
    let files = flbc(["diff", &at("old.flb"), &at("new.flb")]);
    let moves = |said: &str| -> Vec<String> {
        let lines = said.lines().filter(|line| line.contains(" moves "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        moves(&texts.stdout),
        moves(&files.stdout),
        "{}",
        texts.stdout
    );
    assert_eq!(moves(&texts.stdout).len(), 4, "{}", texts.stdout);
    assert_eq!(texts.stderr, files.stderr);
    assert!(
        texts
            .stderr
            .contains("`scheduler maglev by source-port table 509` in service `old`"),
        "{}",
        texts.stderr
    );
}

#[test]
fn what_is_no_output_of_compile_is_refused_with_its_line() {
    let folder = folder(&[
        ("a.flb", OLD),
        ("cut.nft", "add table inet flbc\ntable inet flbc {\n"),
        ("other.nft", "add table inet flbc\nflush ruleset\n"),
        ("rules.json", "{\"nftables\": []}"),
    ]);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (rules, words) in [
        (
            "a.flb",
            "line 1 is none that `flbc compile` of this version writes",
        ),
        ("other.nft", "line 2 is none that"),
        ("cut.nft", "it ends in the middle"),
        ("rules.json", "it is JSON"),
        ("none.nft", "No such file"),
    ] {
        let run = flbc(["apply", "--dry-run", "--against", &at(rules), &at("a.flb")]);
        run.assert_bad(words);
    }
    flbc(["apply", "--against", &at("cut.nft"), &at("a.flb")]).assert_bad("--dry-run");
}

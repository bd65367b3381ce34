//! `--mark-shift`

use std::fmt::Write as _;
use std::fs;

use crate::{GOOD, flbc, flbc_fed, folder};

/// Compiles with a shift; there is no fault.
#[track_caller]
fn compiled(shift: &str, file: &str) -> String {
    let run = flbc_fed(&["compile", "--mark-shift", shift, "-"], file.as_bytes());
    assert_eq!((run.status, &*run.stderr), (0, ""), "{file}");
    run.stdout
}

#[test]
fn without_bits_for_others_nothing_is_another() {
    let plain = flbc_fed(&["compile", "-"], GOOD.as_bytes());
    assert_eq!(compiled("0", GOOD), plain.stdout);
    assert!(compiled("1", GOOD).contains("chain mark_shift_1 {"));
}

/// All numbers of a text that may be in a mark when others look at it: those that are written to a mark, and those that maps
/// and sets know, but for slots.
fn marks(rules: &str) -> Vec<u32> {
    let mut marks = Vec::new();
    let mut set = "";
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("add element ") {
            set = name.split(' ').nth(2).unwrap_or_default();
        }
        let words: Vec<&str> = line.split([' ', ',']).collect();
        for (place, word) in words.iter().enumerate() {
            let number = word.strip_prefix("0x");
            let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let before = |back| place.checked_sub(back).and_then(|at| words.get(at));
            let is_written = before(1) == Some(&"set") && before(2) == Some(&"mark");
            let is_asked = before(1) == Some(&"mark");
            let slot = set == "slot" && before(1) != Some(&":");
            // Of an error of ICMP: a hash, in the mark while one rule looks it up.
            let is_known = !set.is_empty() && !slot && !set.starts_with("errors");
            let is_mark = is_written || is_asked || is_known;
            marks.extend(number.filter(|_| is_mark));
        }
        if line.ends_with('}') {
            set = "";
        }
    }
    marks
}

#[test]
fn no_number_that_others_see_has_a_low_bit() {
    let mut seen = 0;
    for entry in fs::read_dir("tests/golden").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "flb") {
            continue;
        }
        let file = fs::read_to_string(&path).unwrap();
        for (shift, low) in [("8", 0xff), ("3", 7), ("1", 1)] {
            let marks = marks(&compiled(shift, &file));
            assert!(
                marks.iter().all(|mark| mark & low == 0),
                "{}: {marks:x?}",
                path.display()
            );
            seen += marks.len();
        }
        let tables = compiled("0", &file).matches("\ntable ").count();
        let told = compiled("8", &file)
            .matches("    chain mark_shift_8 {\n    }\n")
            .count();
        assert_eq!(told, tables, "{}", path.display());
    }
    assert!(seen > 500, "{seen}");
    assert!(
        marks(&compiled("0", GOOD))
            .iter()
            .any(|mark| mark & 0xff != 0)
    );
}

#[test]
fn nine_bits_are_too_many() {
    for command in ["compile", "apply", "try"] {
        for shift in ["9", "-1", "256", "x", ""] {
            let option = format!("--mark-shift={shift}");
            let run = flbc([command, &option, "/nowhere/lb.flb"]);
            run.assert_bad("--mark-shift");
        }
    }
    flbc(["compile", "--mark-shift", "9", "-"]).assert_bad("write a number from 0 to 8");
}

#[test]
fn what_is_left_is_told() {
    for command in ["compile", "apply", "try"] {
        let help = flbc([command, "--help"]).stdout;
        assert!(help.contains("--mark-shift <N>"), "{help}");
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for number in ["1,073,741,824", "262,144", "4,194,304", "1,024"] {
            assert!(words.contains(number), "{number}: {help}");
        }
    }
    let mut file = String::new();
    for i in 0..=1024 {
        let _ = writeln!(
            file,
            "service s{i} {{ vip 192.0.2.1 tcp {}; persist 1m; server a 10.20.0.1 }}",
            i + 1
        );
    }
    compiled("7", &file);
    let run = flbc_fed(&["compile", "--mark-shift", "8", "-"], file.as_bytes());
    run.assert_bad("[too-many]");
    let words: Vec<&str> = run
        .stderr
        .split([' ', '\n', '|'])
        .filter(|w| !w.is_empty())
        .collect();
    let words = words.join(" ");
    assert!(
        words.contains("than marks can number whose 8 low bits are 0")
            && words.contains("`--mark-shift 8` has numbers for 4194304 servers")
            && words.contains("for 1027 services that remember their clients, 3 of them with more than 4095 servers"),
        "{}",
        run.stderr
    );
}

#[test]
fn rules_are_compared_in_the_shift_that_they_have() {
    let file = GOOD.replace('}', "allow from 198.51.100.0/24\npersist 5m }");
    let folder = folder(&[("old.nft", &compiled("8", &file))]);
    let rules = folder.path().join("old.nft");
    let rules = rules.to_str().unwrap();
    let against = |options: &[&str], file: &str| {
        let arguments = [&["apply", "--dry-run", "--against", rules], options, &["-"]].concat();
        let run = flbc_fed(&arguments, file.as_bytes());
        assert_eq!(run.stderr, "");
        (run.status, run.stdout)
    };
    let same = (0, "no difference\n".to_owned());
    assert_eq!(against(&[], &file), same);
    assert_eq!(against(&["--mark-shift", "8"], &file), same);
    let (status, told) = against(&["--mark-shift", "2"], &file);
    assert_eq!(status, 1);
    assert_eq!(
        told.lines().next(),
        Some("~ marks: mark-shift 8 -> 2"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");
    let (_, told) = against(
        &["--mark-shift", "2"],
        &file.replace("weight 3", "weight 4"),
    );
    assert!(told.contains("\n~ www: web1 weight 3 -> 4\n"), "{told}");
    assert_eq!(told.lines().count(), 3, "{told}");
}

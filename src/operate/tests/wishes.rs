//! What was set outlives the tables, the notes on them and the run that set it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;

use super::*;
use crate::model::State;

const FILE: &str = "
    pool web { server a 10.20.0.21; server b 10.20.0.22 }
    service own { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12:8080 weight 3 }
    service www { vip 192.0.2.11 tcp 80; pool web }";

const DRAIN: Demand = Demand::State(State::Drain);

/// A machine on which `b` of `own` is drained and has another weight, and `a` of the pool is down.
fn set_up() -> Host {
    let mut host = Host::new();
    host.apply(FILE);
    host.set("own b", DRAIN);
    host.set("own b", Demand::Weight(7));
    host.set("www a", Demand::State(State::Down));
    host
}

fn file_of(host: &Host) -> PathBuf {
    let [file] = &*host.notes(".wishes.json") else {
        panic!("one file of wishes")
    };
    file.clone()
}

fn forget_the_note(host: &mut Host) {
    for note in host.notes(".state") {
        fs::remove_file(note).unwrap();
    }
}

/// What holds of servers beside the file.
fn told(host: &mut Host) -> Vec<String> {
    let known = host.tables().recall().unwrap();
    let marks = known.effective.marks().iter();
    marks
        .map(|(key, mark)| format!("{key}: {}", mark.now))
        .collect()
}

const HOLDS: [&str; 2] = ["a of pool web: weight 1 down", "b of own: weight 7 drain"];

#[test]
fn what_was_set_outlives_the_tables_and_the_notes() {
    let destroyers: [fn(&mut Host); 5] = [
        |host| host.by_hand(|has| (has.inet, has.netdev) = (None, None)),
        forget_the_note,
        |host| host.load(FILE),
        |host| {
            for note in host.notes(".state") {
                fs::write(note, "damaged").unwrap();
            }
        },
        |host| {
            for note in host.notes(".state") {
                let bytes = fs::read(&note).unwrap();
                fs::write(note, &bytes[..bytes.len() / 2]).unwrap();
            }
        },
    ];
    for (number, destroy) in destroyers.into_iter().enumerate() {
        let mut host = set_up();
        destroy(&mut host);
        let kept = host.run(FILE, (true, true, None)).0.unwrap();
        assert!(
            kept.warnings().is_empty(),
            "{number}: {:?}",
            kept.warnings()
        );
        assert_eq!(told(&mut host), HOLDS, "{number}");
        let applied = host.apply(FILE);
        assert_eq!(
            applied.difference.lines.len(),
            3,
            "{number}: it ends, and is told"
        );
        assert!(host.wishes().is_empty());
        assert!(host.notes(".wishes.json").is_empty());
    }
}

#[test]
fn since_when_it_is_so_is_the_first_time_that_it_was_asked_for() {
    let mut host = Host::new();
    host.apply(FILE);
    let first = host.kernel.clock();
    host.set("own b", DRAIN);
    host.kernel.now += Duration::from_secs(100);
    host.set("own b", Demand::Weight(7));
    host.kernel.now += Duration::from_secs(100);
    host.set("own b", DRAIN);
    let wish = host.wishes().into_values().next().unwrap();
    assert_eq!(wish.state.unwrap().since, first);
    assert_eq!(wish.weight.unwrap().since, first + 100);
}

#[test]
fn the_note_says_what_a_damaged_file_does_not_and_without_it_nothing_is_lost_in_silence() {
    let text = fs::read_to_string(file_of(&set_up())).unwrap();
    let damages = [
        String::new(),
        text.replace("drain", "down"),
        text.replace("\"own\"", "\"web\""),
        text[..text.len() / 2].to_owned(),
        text.replace("\"flbc-wishes\": 1", "\"flbc-wishes\": 2"),
        text.replace("checksum", "sum"),
        "[]".to_owned(),
        "\0".repeat(4096),
    ];
    for damaged in damages {
        let mut host = set_up();
        let file = file_of(&host);
        fs::write(&file, &damaged).unwrap();
        // The note says it.
        let kept = host.run(FILE, (true, true, None)).0.unwrap();
        assert!(kept.is_nothing(), "{damaged}");
        let [warning] = &*kept.warnings() else {
            panic!("{:?}", kept.warnings())
        };
        assert!(warning.contains(&*file.to_string_lossy()), "{warning}");
        // And the file is whole again.
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        // Where neither is readable, what was set is not dropped without a word.
        fs::write(&file, &damaged).unwrap();
        forget_the_note(&mut host);
        let has = host.has();
        for refused in [
            host.run(FILE, (true, true, None)).0.unwrap_err(),
            host.try_set(Some(FILE), "own a", DRAIN).unwrap_err(),
        ] {
            assert!(matches!(refused, Refused::WishesUnknown(_)), "{refused}");
            same(&host.has(), &has);
        }
        let ended = host.run(FILE, (true, false, None)).0.unwrap();
        assert!(ended.warnings().is_empty(), "{:?}", ended.warnings());
        assert!(host.keep(FILE).is_nothing());
    }
}

#[test]
fn links_and_pipes_are_no_notes() {
    let place: [fn(&PathBuf); 3] = [
        |path| symlink("/etc/passwd", path).unwrap(),
        |path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
        |path| fs::create_dir(path).unwrap(),
    ];
    for place in place {
        let mut host = set_up();
        let files = [host.notes(".state"), host.notes(".wishes.json")].concat();
        assert_eq!(files.len(), 2);
        for file in files {
            fs::remove_file(&file).unwrap();
            place(&file);
        }
        let refused = host.run(FILE, (true, true, None)).0.unwrap_err();
        assert!(matches!(refused, Refused::WishesUnknown(_)), "{refused}");
        let passwd = fs::read("/etc/passwd").unwrap();
        let _ = host.run(FILE, (true, false, None)).0.unwrap();
        assert_eq!(fs::read("/etc/passwd").unwrap(), passwd);
    }
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let mut host = set_up();
    let folder = host.folder.path().join("run");
    let (has, file) = (host.has(), file_of(&host));
    let text = fs::read(&file).unwrap();
    // As on a full disk: nothing new can be made there.
    fs::rename(&folder, host.folder.path().join("away")).unwrap();
    fs::write(&folder, "").unwrap();
    let refused = host.try_set(Some(FILE), "own a", DRAIN).unwrap_err();
    let known = matches!(
        refused,
        Refused::WishesUnwritten { .. } | Refused::WishesUnknown(_)
    );
    assert!(known, "{refused}");
    same(&host.has(), &has);
    fs::remove_file(&folder).unwrap();
    fs::rename(host.folder.path().join("away"), &folder).unwrap();
    assert_eq!(fs::read(&file).unwrap(), text);
}

#[test]
fn what_the_kernel_refuses_was_never_set() {
    let mut host = set_up();
    let (has, text) = (host.has(), fs::read(file_of(&host)).unwrap());
    host.kernel.refuse = Some((host.kernel.asked, Errno::NOMEM));
    host.try_set(None, "own a", DRAIN).unwrap_err();
    same(&host.has(), &has);
    assert_eq!(fs::read(file_of(&host)).unwrap(), text);
    assert!(host.keep(FILE).is_nothing());
}

#[test]
fn who_is_killed_before_the_transaction_leaves_a_wish_that_is_fulfilled() {
    let mut host = Host::new();
    host.apply(FILE);
    let before = host.has();
    host.set("own b", DRAIN);
    let wishes = fs::read(file_of(&host)).unwrap();
    let path = file_of(&host);
    host.apply(FILE);
    // As it is between the writing and the transaction.
    fs::write(&path, wishes).unwrap();
    same(&host.has(), &before);
    let kept = host.run(FILE, (true, true, None)).0.unwrap();
    assert_eq!(kept.difference.lines, ["~ own: b up -> drain (set)"]);
}

#[test]
fn a_wish_goes_with_a_server_that_is_renamed() {
    let mut host = set_up();
    let renamed = FILE.replace("b 10.20.0.12:8080", "c 10.20.0.12:8080");
    let kept = host.run(&renamed, (true, true, None)).0.unwrap();
    assert_eq!(
        kept.warnings(),
        ["what was set on b of own goes on for `c`, which has its address"]
    );
    assert_eq!(
        told(&mut host),
        ["a of pool web: weight 1 down", "c of own: weight 7 drain"]
    );
    // A server with its name is that server, wherever it is.
    let moved = renamed.replace("10.20.0.12:8080", "10.20.0.99");
    let kept = host.run(&moved, (true, true, None)).0.unwrap();
    assert!(kept.warnings().is_empty(), "{:?}", kept.warnings());
    // Neither the name nor the address: it has ended, and that is said.
    let other = moved.replace("c 10.20.0.99", "d 10.20.0.98");
    let kept = host.run(&other, (true, true, None)).0.unwrap();
    assert_eq!(
        kept.warnings(),
        ["what was set on c of own has ended: the file has no such server"]
    );
    assert_eq!(told(&mut host), HOLDS[..1]);
}

#[test]
fn a_service_that_has_no_server_left_is_told() {
    let mut host = Host::new();
    let file = "
        pool web { server a 10.20.0.11; server six 2001:db8:1::11 }
        service www { vip 192.0.2.10, 2001:db8::10 tcp 80; pool web }
        service four { vip 192.0.2.11 tcp 80; on-empty drop; pool web; server spare 10.20.0.12 backup }
        service alone { vip 192.0.2.12 tcp 80; server s 10.20.0.13 }";
    host.apply(file);
    let mut warnings = |server: &str, demand| {
        let set = host.try_set(None, server, demand).unwrap();
        set.applied.warnings()
    };
    assert_eq!(
        warnings("www a", DRAIN),
        ["no IPv4 server of `www` takes new clients now: `on-empty reject` answers them"]
    );
    assert_eq!(
        warnings("four spare", Demand::State(State::Down)),
        ["no server of `four` takes new clients now: `on-empty drop` answers them"]
    );
    assert_eq!(
        warnings("alone s", Demand::Weight(0)),
        ["no server of `alone` takes new clients now: `on-empty reject` answers them"]
    );
    assert!(warnings("four spare", Demand::State(State::Up)).is_empty());
}

#[test]
fn unload_ends_what_was_set() {
    let mut host = set_up();
    host.unload().unwrap();
    assert!(host.notes(".wishes.json").is_empty());
    assert!(
        host.keep(FILE)
            .difference
            .lines
            .iter()
            .all(|line| line.starts_with("+ "))
    );
    assert!(told(&mut host).is_empty());
}

#[test]
fn wishes_of_another_boot_or_namespace_or_table_are_none() {
    let others: [(&str, serde_json::Value); 3] = [
        ("boot", "another".into()),
        ("namespace", serde_json::json!([4, 4_026_531_840_u64, 1])),
        ("table", "other".into()),
    ];
    for (what, other) in others {
        let mut host = set_up();
        let file = file_of(&host);
        let text = fs::read_to_string(&file).unwrap();
        let mut written: serde_json::Value = serde_json::from_str(&text).unwrap();
        written[what] = other;
        fs::write(&file, written.to_string()).unwrap();
        forget_the_note(&mut host);
        let refused = host.run(FILE, (true, true, None)).0.unwrap_err();
        assert!(
            matches!(refused, Refused::WishesUnknown(_)),
            "its sum is of another text"
        );
        // Its checksum is that of all else, without spaces between.
        let fields: Vec<String> = serde_json::from_str::<Fields>(&written.to_string())
            .unwrap()
            .in_order();
        let sum = super::notes::sum_of(format!("[{}]", fields.join(",")).as_bytes());
        written["checksum"] = format!("{sum:016x}").into();
        fs::write(&file, written.to_string()).unwrap();
        assert!(host.wishes().is_empty(), "{what}");
        assert_eq!(host.keep(FILE).difference.lines.len(), 3, "{what}");
    }
}

/// The file, each field as it is written.
#[derive(serde::Deserialize)]
struct Fields {
    #[serde(rename = "flbc-wishes")]
    format: u32,
    boot: String,
    namespace: [u64; 3],
    table: String,
    wishes: Vec<One>,
}

#[derive(serde::Deserialize, serde::Serialize)]
struct One {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    server: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Since>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<Since>,
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Since {
    value: serde_json::Value,
    since: u64,
}

impl Fields {
    fn in_order(&self) -> Vec<String> {
        let Self {
            format,
            boot,
            namespace,
            table,
            wishes,
        } = self;
        vec![
            format.to_string(),
            serde_json::to_string(boot).unwrap(),
            serde_json::to_string(namespace).unwrap(),
            serde_json::to_string(table).unwrap(),
            serde_json::to_string(wishes).unwrap(),
        ]
    }
}

#[test]
fn an_apply_that_cannot_see_what_it_ends_says_so() {
    let ends = [
        "what was set on a of pool web ends; `flbc apply --keep` keeps it",
        "what was set on b of own ends; `flbc apply --keep` keeps it",
    ];
    let destroyers: [fn(&mut Host); 2] = [
        |host| host.by_hand(|has| (has.inet, has.netdev) = (None, None)),
        |host| host.load(FILE),
    ];
    for destroy in destroyers {
        let mut host = set_up();
        destroy(&mut host);
        for commit in [false, true] {
            let applied = host.run(FILE, (commit, false, None)).0.unwrap();
            assert_eq!(applied.warnings(), ends, "{commit}");
        }
        assert!(host.apply(FILE).is_nothing());
    }
}

#[test]
fn the_note_stands_in_for_wishes_that_were_deleted_also_where_the_tables_are_gone() {
    let mut host = set_up();
    fs::remove_file(file_of(&host)).unwrap();
    host.by_hand(|has| (has.inet, has.netdev) = (None, None));
    host.run(FILE, (true, true, None)).0.unwrap();
    assert_eq!(told(&mut host), HOLDS);
}

#[test]
fn what_a_killed_run_was_about_to_set_is_told() {
    let mut host = Host::new();
    host.apply(FILE);
    host.set("own b", DRAIN);
    let (path, wishes) = (file_of(&host), fs::read(file_of(&host)).unwrap());
    host.apply(FILE);
    fs::write(&path, wishes).unwrap();
    let look = host.tables().look().unwrap();
    assert_eq!(look.in_force(), Some(false));
    assert_eq!(
        look.gaps[0].to_string(),
        "a run of flbc was killed before what it set was in force, on `b of own`: `flbc apply --keep` fulfils it"
    );
}

#[test]
fn tables_without_a_note_are_told_as_such_and_dormant_ones_are_not_in_force() {
    let mut host = Host::new();
    host.apply(FILE);
    forget_the_note(&mut host);
    let look = host.tables().look().unwrap();
    assert_eq!(
        (look.in_force(), look.gaps.len()),
        (None, 1),
        "{:?}",
        look.gaps
    );
    host.by_hand(|has| has.inet.as_mut().unwrap().dormant = true);
    let look = host.tables().look().unwrap();
    assert_eq!(
        (look.in_force(), look.gaps.len()),
        (Some(false), 2),
        "{:?}",
        look.gaps
    );
}

//! `flbc set`: one server, and what becomes of it at the next apply.

use super::*;
use crate::kernel::fake::Other;
use crate::model::State;

const FILE: &str = "
pool web { server a 10.20.0.11; server b 10.20.0.12 }
service www { vip 192.0.2.10 tcp, udp 80; pool web }
service own { vip 192.0.2.53 tcp, udp 80; server a 10.20.0.11 weight 3; server b 10.20.0.12; server c 10.20.0.13 weight 0; server d 10.20.0.14 backup }
service api { vip 192.0.2.11 tcp 80; pool web }
";

const DRAIN: Demand = Demand::State(State::Drain);
const UP: Demand = Demand::State(State::Up);
const DOWN: Demand = Demand::State(State::Down);

fn applied() -> Host {
    let mut host = Host::new();
    host.apply(FILE);
    host
}

/// What setting says, in words.
fn words(set: &Set) -> String {
    set.applied.text(false)
}

#[test]
fn what_is_set_holds_until_it_is_ended() {
    let mut host = applied();
    let before = host.stands();
    host.connect(Protocol::Tcp, "192.0.2.10:80", "a of pool web");
    host.connect(Protocol::Tcp, "192.0.2.53:80", "a of own");
    let set = host.set("www a", DRAIN);
    assert!(words(&set).starts_with("~ pool web: a up -> drain (set)\n"));
    assert_eq!(
        (set.place.to_string().as_str(), &*set.users.join(", ")),
        ("pool web", "www, api")
    );
    assert_eq!(host.stand("www"), ["a drain 0/2", "b up 2/2"]);
    assert_eq!(host.stand("api"), ["a drain 0/2", "b up 2/2"]);
    assert_eq!(host.stand("own")[0], "a up 3/4", "a server of its own");
    assert_eq!(host.connected().len(), 2, "drain keeps");
    let set = host.set("own a", DOWN);
    assert!(words(&set).ends_with(", 1 connection forgotten\n"));
    assert_eq!(set.users, ["own"]);
    assert_eq!(host.connected(), ["a of pool web"]);
    assert!(words(&host.set("own a", UP)).starts_with("~ own: a down (set) -> up\n"));
    host.set("www a", UP);
    assert_eq!(host.stands(), before);
    assert!(
        host.apply(FILE).is_nothing(),
        "what the file says is no override"
    );
}

#[test]
fn what_is_set_twice_is_no_difference() {
    let mut host = applied();
    for wish in [DRAIN, Demand::Weight(7), Demand::State(State::Backup)] {
        assert!(!host.set("own a", wish).applied.is_nothing(), "{wish:?}");
        let asked = host.kernel.asked;
        assert!(host.set("own a", wish).applied.is_nothing(), "{wish:?}");
        assert_eq!(host.kernel.asked, asked, "{wish:?}");
    }
}

#[test]
fn a_weight_and_a_state_are_set_beside_each_other() {
    let mut host = applied();
    assert!(
        words(&host.set("own a", Demand::Weight(7))).starts_with("~ own: a weight 3 -> 7 (set)\n")
    );
    assert!(words(&host.set("own a", DRAIN)).starts_with("~ own: a up -> drain (set)\n"));
    assert!(words(&host.set("own c", Demand::Weight(2))).contains("~ own: c drain -> up (set)\n"));
    assert!(words(&host.set("own d", UP)).starts_with("~ own: d backup -> up (set)\n"));
    assert_eq!(
        host.stand("own"),
        ["a drain 0/4", "b up 1/4", "c up 2/4", "d up 1/4"]
    );
    assert!(
        words(&host.set("own d", Demand::Weight(0))).contains("~ own: d up (set) -> drain (set)\n")
    );
}

#[test]
fn apply_says_what_it_ends_and_keeps_what_it_is_told_to_keep() {
    let mut host = applied();
    let before = host.stands();
    for (server, wish) in [
        ("own a", Demand::Weight(7)),
        ("own a", DRAIN),
        ("own c", Demand::Weight(2)),
        ("own d", UP),
    ] {
        host.set(server, wish);
    }
    let whole = host.has();
    let ends = [
        "~ own: a drain (set) -> up",
        "~ own: a weight 7 (set) -> 3",
        "~ own: c up (set) -> drain",
        "~ own: c weight 2 (set) -> 0",
        "~ own: d up (set) -> backup",
    ];
    assert_eq!(host.dry(FILE).difference.lines, ends);
    same(&host.has(), &whole);
    assert!(host.keep(FILE).is_nothing());
    // What else the file changes is applied beside it, and what is no longer there cannot be kept.
    let edited = FILE
        .replace("server d 10.20.0.14 backup", "server e 10.20.0.15")
        .replace("weight 3", "weight 4");
    let kept = host.run(&edited, (true, true, None)).0.unwrap();
    assert_eq!(
        kept.warnings(),
        ["what was set on d of own has ended: the file has no such server"]
    );
    let kept = kept.text(false);
    assert!(
        kept.contains("~ own: + server e 10.20.0.15\n") && kept.contains("~ own: - server d\n"),
        "{kept}"
    );
    assert!(!kept.contains("~ own: a "), "{kept}");
    let ended = host.apply(&edited).text(false);
    assert!(ended.contains("~ own: a drain (set) -> up\n"), "{ended}");
    assert!(ended.contains("~ own: a weight 7 (set) -> 4\n"), "{ended}");
    host.apply(FILE);
    assert_eq!(host.stands(), before);
}

#[test]
fn a_file_that_says_what_was_set_ends_it() {
    let mut host = applied();
    host.set("own b", DRAIN);
    let says = FILE.replace("10.20.0.12; server c", "10.20.0.12 drain; server c");
    assert_eq!(
        host.apply(&says).difference.lines,
        ["~ own: b drain (set) -> drain"]
    );
    assert!(host.wishes().is_empty());
    // With `--keep` too: the file says so itself from then on.
    host.apply(FILE);
    host.set("own b", DRAIN);
    host.keep(&says);
    assert!(host.wishes().is_empty());
    assert!(host.apply(&says).is_nothing());
}

#[test]
fn what_was_set_is_read_back_with_what_the_file_says() {
    let mut host = applied();
    host.set("own a", DRAIN);
    host.set("www b", Demand::Weight(5));
    let known = host.tables().recall().unwrap();
    let marks = known.effective.marks().iter();
    let told: Vec<String> = marks
        .map(|(key, mark)| format!("{key}: {}, not {}", mark.now, mark.file))
        .collect();
    assert_eq!(
        told,
        [
            "b of pool web: weight 5, not weight 1",
            "a of own: weight 3 drain, not weight 3"
        ]
    );
}

#[test]
fn who_is_unknown_is_told_and_who_may_be_meant() {
    let mut host = applied();
    let before = host.has();
    for (server, why) in [
        ("wwv a", "there is no service `wwv`; did you mean `www`?"),
        (
            "nobody a",
            "there is no service `nobody`; there are: www, own, api",
        ),
        (
            "own aa",
            "service `own` has no server `aa`; did you mean `a`?",
        ),
        ("www c", "service `www` has no server `c`; there are: a, b"),
        (
            "own elsewhere",
            "service `own` has no server `elsewhere`; there are: a, b, c, d",
        ),
        (
            "own c\u{1b}[2J",
            "service `own` has no server `c\\u{1b}[2J`; there are: a, b, c, d",
        ),
    ] {
        let refused = host.try_set(None, server, DRAIN).unwrap_err();
        assert_eq!(refused.to_string(), why);
        assert_eq!(refused.exit() as u8, 2, "{server}");
    }
    assert_eq!(host.has(), before);
}

#[test]
fn a_server_without_a_share_cannot_be_up() {
    let mut host = applied();
    for wish in [UP, Demand::State(State::Backup)] {
        let refused = host.try_set(None, "own c", wish).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`c` has weight 0, so that it is drained; give it a share: `flbc set own c weight 1`"
        );
        assert_eq!(refused.exit() as u8, 2);
    }
    host.set("own c", DOWN);
    host.set("own c", DRAIN);
    assert!(host.apply(FILE).is_nothing(), "as the file says");
}

#[test]
fn without_a_file_something_must_be_remembered() {
    let mut host = Host::new();
    for before in [false, true] {
        if before {
            host.apply(FILE);
            host.forget();
        }
        let refused = host.try_set(None, "own a", DRAIN).unwrap_err();
        let told = refused.to_string();
        assert!(told.starts_with("nothing is remembered of the file that these tables were made from, since none was applied, `"), "{told}");
        assert!(
            told.contains(host.cache().directory().to_str().unwrap()),
            "{told}"
        );
        assert!(
            told.ends_with("name it here: `flbc set --file FILE ...`"),
            "{told}"
        );
        assert_eq!(refused.exit() as u8, 2);
    }
    let set = host.try_set(Some(FILE), "own a", DRAIN).unwrap();
    assert!(words(&set).starts_with("~ own: a up -> drain"));
    host.set("own b", Demand::Weight(9));
    let ended = host.apply(FILE).difference.lines;
    assert_eq!(
        ended,
        ["~ own: a drain (set) -> up", "~ own: b weight 9 (set) -> 1"]
    );
}

#[test]
fn a_file_that_is_named_is_applied_with_what_was_set_before() {
    let mut host = applied();
    host.set("own b", DRAIN);
    let edited = FILE.replace("weight 3", "weight 4");
    let set = host
        .try_set(Some(&edited), "own a", Demand::Weight(8))
        .unwrap();
    assert_eq!(
        set.applied.difference.lines,
        ["~ own: a weight 3 -> 8 (set)"]
    );
    assert_eq!(
        host.stand("own"),
        ["a up 5/5", "b drain 0/5", "c drain 0/5", "d backup 0/5"]
    );
    let ended = host.apply(FILE).difference.lines;
    assert_eq!(
        ended,
        ["~ own: a weight 8 (set) -> 3", "~ own: b drain (set) -> up"]
    );
}

#[test]
fn what_is_set_outlives_a_run_that_is_killed() {
    let mut host = applied();
    host.set("own b", DRAIN);
    host.kill_after_transaction();
    // Without the file it is not known what a killed run may have been about to apply.
    let refused = host.try_set(None, "own a", DRAIN).unwrap_err();
    assert!(
        matches!(refused, Refused::NothingRemembered { .. }),
        "{refused}"
    );
    let set = host.try_set(Some(FILE), "own a", DRAIN).unwrap();
    assert!(words(&set).starts_with("~ own: a up -> drain") && !words(&set).contains("b drain"));
    host.kill_after_transaction();
    assert!(host.keep(FILE).difference.is_empty());
    let ended = host.apply(FILE).text(false);
    assert!(
        ended.contains("~ own: a drain (set) -> up\n~ own: b drain (set) -> up\n"),
        "{ended}"
    );
}

#[test]
fn what_is_set_outlives_what_somebody_does_by_hand() {
    let mut host = applied();
    host.set("own b", DRAIN);
    host.by_hand(|has| {
        has.inet
            .as_mut()
            .unwrap()
            .sets
            .retain(|set| &*set.name != "svc4");
    });
    let set = host.try_set(None, "own a", Demand::Weight(9)).unwrap();
    assert!(!set.applied.drift.is_empty());
    assert_eq!(host.wishes().len(), 2);
    assert!(host.keep(FILE).is_nothing());
}

#[test]
fn what_is_set_after_a_flush_brings_all_that_should_be_there() {
    let mut host = applied();
    host.set("own a", DRAIN);
    let whole = host.stands();
    host.by_hand(|has| (has.inet, has.netdev) = (None, None));
    let set = host.try_set(None, "own b", DRAIN).unwrap();
    assert!(
        set.applied.warnings().is_empty(),
        "{:?}",
        set.applied.warnings()
    );
    assert_eq!(host.wishes().len(), 2);
    host.set("own b", UP);
    assert_eq!(host.stands(), whole);
    // Others in their place are not what a file said.
    host.load(FILE);
    let refused = host.try_set(None, "own b", DRAIN).unwrap_err();
    assert!(
        matches!(refused, Refused::NothingRemembered { .. }),
        "{refused}"
    );
}

#[test]
fn a_server_that_is_set_keeps_its_number() {
    let mut host = applied();
    let numbers = host.servers();
    for wish in [DRAIN, DOWN, Demand::Weight(9), UP] {
        host.set("own a", wish);
        assert_eq!(host.servers(), numbers, "{wish:?}");
    }
}

#[test]
fn what_is_set_is_known_whoever_commits_right_behind() {
    for (server, wish) in [
        ("own a", DRAIN),
        ("www b", DOWN),
        ("own b", Demand::Weight(5)),
    ] {
        let mut host = applied();
        // Its own tables are not concerned, or are.
        let others: [Other; 2] = [
            |_| {},
            |has| {
                let sets = &mut has.inet.as_mut().unwrap().sets;
                sets.retain(|set| &*set.name != "svc4");
            },
        ];
        for other in others {
            host.kernel.behind = vec![other];
            host.set(server, wish);
            assert_eq!(host.wishes().len(), 1, "{server}");
            let kept = host.run(FILE, (true, true, None)).0.unwrap();
            assert!(kept.difference.is_empty(), "{server}");
            host.try_set(None, server, UP).map(drop).unwrap();
            host.apply(FILE);
        }
    }
}

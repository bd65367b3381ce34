//! Whatever stands in the tables of words changes something, and everybody who ought to know knows: what a file means, what
//! `diff` tells, the rules, and what `explain` says. Here no statement is named; one that is added is tried as it is.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

use flbc::diagnostic::Diagnostics;
use flbc::emit::{listing, text};
use flbc::explain::{Explanation, Question, lines};
use flbc::lower::layout::Layout;
use flbc::model::{MacAddress, Model, Protocol};
use flbc::outline::Outline;
use flbc::schedule::schedule;
use flbc::source::Sources;
use flbc::syntax::{Home, Input, OptionWord};
use flbc::view::against;

/// What a file says, as each room that tells it sees it.
#[derive(Debug, PartialEq)]
struct Told {
    /// In the words of `diff` and `apply`.
    outline: Outline,
    /// What the kernel gets.
    rules: String,
    /// What `apply --against` reads off the rules.
    compiled: Outline,
    /// What `explain` says of a few flows.
    explained: Vec<(&'static str, String)>,
}

fn read(file: &str) -> Option<(Model, Sources)> {
    let (mut sources, mut sink) = (Sources::new(), Diagnostics::new());
    let model = flbc::read(Input::Stdin(file.into()), &mut sources, &mut sink)?;
    Some((model, sources))
}

/// What is told of a file; `None` if there is a fault in it.
fn told(file: &str) -> Option<Told> {
    let (mut model, sources) = read(file)?;
    model.fill_source_macs(|_| Some(MacAddress([2, 0, 0, 0, 0, 1])));
    let mut sink = Diagnostics::new();
    let ruleset = flbc::rules(&model, ("flbc", Layout::default()), &mut sink)?;
    let mut rules = Vec::new();
    text(&ruleset, &sources, &mut rules).unwrap();
    let rules = String::from_utf8(rules).unwrap();
    let plan = schedule(&model, &mut sink);
    let mut explained = Vec::new();
    for client in ["198.51.100.7", "203.0.113.7", "192.0.2.200"] {
        for vip in ["192.0.2.1", "192.0.2.10"] {
            let question = Question {
                from: format!("{client}:4000").parse().unwrap(),
                to: format!("{vip}:80").parse().unwrap(),
                protocol: Protocol::Tcp,
            };
            let explanation = Explanation::of(&model, &plan, question);
            explained.extend(lines(&explanation, question, &sources));
        }
    }
    Some(Told {
        outline: Outline::of(&model),
        compiled: against::outline(&listing::read(&rules).expect("flbc reads what it writes")),
        rules,
        explained,
    })
}

/// Services in which a statement may make a difference: what is for one mode only, and what counts only where no server
/// is left. Each is on one line, so that no place in it is another line by what is added.
fn services() -> Vec<String> {
    let mut all = Vec::new();
    for mode in [
        "",
        "mode nat",
        "mode dr on eth1",
        "mode dr on eth1 via eth2",
    ] {
        for state in ["", "down"] {
            all.push(format!(
                "vip 192.0.2.1 tcp 80; {mode}; server one 10.0.0.1 {state}; server two 10.0.0.2 {state};"
            ));
        }
    }
    all
}

/// A file of one service, beside another that uses the pool of the examples.
fn file(defaults: &str, service: &str) -> String {
    format!(
        "pool web {{ server p1 10.0.1.1; server p2 10.0.1.2 }}
        service beside {{ vip 192.0.2.99 tcp 1; pool web }}
        defaults {{ {defaults} }}
        service s {{ {service} }}"
    )
}

/// The chain of the service.
fn chain(rules: &str) -> &str {
    let (_, behind) = rules.split_once("chain svc_s_v4 {").expect("it has one");
    behind.split('}').next().unwrap_or_default()
}

/// The rules of a chain but for their numbers, and for where they are from, which is told in comments.
fn shape(chain: &str) -> Vec<String> {
    let lines = chain
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .map(|line| {
            let words = line
                .split(' ')
                .filter(|word| !word.starts_with(char::is_numeric));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Asks for two texts, the second of which says something more, whether everybody tells them apart.
#[track_caller]
fn told_apart(what: &str, pairs: impl IntoIterator<Item = (String, String)>) {
    let pairs: Vec<(Told, Told)> = pairs
        .into_iter()
        .filter_map(|(without, with)| Some((told(&without)?, told(&with)?)))
        .collect();
    assert!(!pairs.is_empty(), "`{what}` is right in no service");
    for (who, is_told) in [
        (
            "in an outline: neither `diff` nor `apply` tells it",
            pairs.iter().any(|(a, b)| a.outline != b.outline),
        ),
        (
            "in the rules: the kernel does not do it",
            pairs.iter().any(|(a, b)| a.rules != b.rules),
        ),
        (
            "in what `apply --against` reads off the rules",
            pairs.iter().any(|(a, b)| a.compiled != b.compiled),
        ),
        (
            "in what `explain` says",
            pairs.iter().any(|(a, b)| a.explained != b.explained),
        ),
    ] {
        assert!(is_told, "`{what}` makes no difference {who}");
    }
    for (a, b) in &pairs {
        assert!(
            a.rules == b.rules || a.outline != b.outline,
            "`{what}` changes rules, and an outline does not tell it\n{}",
            b.rules
        );
        assert!(
            shape(chain(&a.rules)) == shape(chain(&b.rules)) || a.compiled != b.compiled,
            "`{what}` changes the chain of its service, and `--against` does not tell it\n{}",
            b.rules
        );
        assert!(
            chain(&a.rules) == chain(&b.rules) || a.explained != b.explained,
            "`{what}` changes the chain of its service, and `explain` does not tell it\n{:?}\n{}",
            b.explained,
            b.rules
        );
    }
}

#[test]
fn what_a_service_says_is_told_done_and_explained() {
    for keyword in Home::Service.statements() {
        let example = keyword.example();
        let services = services().into_iter();
        told_apart(
            example,
            services.map(|one| (file("", &one), file("", &format!("{one} {example}")))),
        );
    }
}

#[test]
fn what_a_server_says_is_told_done_and_explained() {
    for option in OptionWord::ALL {
        let example = option.example();
        let services = services().into_iter();
        told_apart(
            &format!("server ... {example}"),
            services.map(|one| {
                let with = one.replace("10.0.0.2", &format!("10.0.0.2 {example}"));
                (file("", &one), file("", &with))
            }),
        );
    }
}

/// What `defaults` say holds for a service as if it said so itself, and no more where it says something else.
#[test]
fn what_defaults_say_holds() {
    for keyword in Home::Defaults.statements() {
        let example = keyword.example();
        let mut compared = 0;
        for one in services() {
            let own = told(&file("", &format!("{one} {example}")));
            let nothing = told(&file("", &one));
            if let (Some(own), Some(nothing)) = (own, nothing) {
                let by_default = told(&file(example, &one)).expect("fine as the service's own");
                assert_eq!(by_default.outline.services["s"], own.outline.services["s"]);
                compared += usize::from(own.outline != nothing.outline);
            }
        }
        assert!(compared > 0, "`{example}` is never seen to hold");
    }
}

/// Every statement looks at each word that it is given.
#[test]
fn what_a_statement_cannot_mean_is_a_fault() {
    for keyword in Home::Service.statements() {
        let words: Vec<&str> = keyword.example().split(' ').collect();
        for at in 1..words.len() {
            let mut words = words.clone();
            words[at] = "?";
            let statement = words.join(" ");
            for one in services() {
                let text = file("", &format!("{one} {statement}"));
                assert!(read(&text).is_none(), "`{statement}` is taken for right");
            }
        }
    }
}

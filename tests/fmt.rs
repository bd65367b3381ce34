//! The canonical form of a file.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests too"
)]

use flbc::diagnostic::Diagnostics;
use flbc::source::Sources;
use flbc::syntax::{format, parse};
use proptest::prelude::*;

mod generate;
mod shape;

fn formatted(text: &str) -> Option<String> {
    let mut sources = Sources::new();
    let file = sources.add("test.flb", "".into(), text.into());
    format(file, &sources, &mut Diagnostics::new())
}

/// What a text that has no fault says.
fn meaning(text: &str) -> String {
    let mut sources = Sources::new();
    let file = sources.add("test.flb", "".into(), text.into());
    let mut sink = Diagnostics::new();
    let tree = parse(file, &sources, &mut sink);
    assert_eq!(
        sink.sorted(),
        Vec::<&flbc::diagnostic::Diagnostic>::new(),
        "{text}"
    );
    shape::shape(&tree, &sources)
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let once = formatted(text).expect("a file without a fault");
    assert_eq!(once, expected);
    assert_eq!(
        formatted(&once).as_deref(),
        Some(expected),
        "not idempotent"
    );
    assert_eq!(meaning(text), meaning(expected));
}

#[test]
fn one_statement_a_line_indented_by_four() {
    check(
        "service\tdns\n{ vip   192.0.2.53 udp 53 ;vip 192.0.2.53 tcp\t53,853\n  mode dr on eth0 via eth1 }",
        "service dns {
    vip 192.0.2.53 udp 53
    vip 192.0.2.53 tcp 53, 853
    mode dr on eth0 via eth1
}
",
    );
}

#[test]
fn at_most_one_blank_line_and_one_between_blocks() {
    check(
        "\n\n# top\n\n\n\ndefine a=1\npool p {\n\n    server 10.0.0.1\n\n\n    server 10.0.0.2\n\n}\npool q {\n}\n\n\n\n\npool r {}\n\n\n",
        "# top

define a = 1

pool p {
    server 10.0.0.1

    server 10.0.0.2
}

pool q {
}

pool r {
}
",
    );
}

#[test]
fn comments_stay_where_they_are() {
    check(
        "service a #1\n # 2\n{ # 3\n    # 4\n  vip 192.0.2.1 tcp 80; mode nat #5\n} # 6\n# 7\nservice b { # 8\n}\n# 9",
        "service a { #1
    # 2
    # 3
    # 4
    vip 192.0.2.1 tcp 80
    mode nat #5
} # 6

# 7
service b { # 8
}

# 9
",
    );
}

#[test]
fn comments_above_a_block_stay_with_it() {
    check(
        "pool a {\n}\n# one\n# two\npool b {\n}\n",
        "pool a {\n}\n\n# one\n# two\npool b {\n}\n",
    );
}

#[test]
fn a_list_with_a_comment_is_broken_after_every_comma() {
    check(
        "define office = 198.51.100.0/24, # Berlin\n\n  203.0.113.0/24,\n  # Paris\n  2001:db8::/32, 10.0.0.0/8\n",
        "define office = 198.51.100.0/24, # Berlin
    203.0.113.0/24,
    # Paris
    2001:db8::/32,
    10.0.0.0/8
",
    );
}

#[test]
fn a_list_is_broken_only_beyond_a_hundred_columns() {
    let prefixes: Vec<_> = (10..14).map(|n| format!("198.51.1{n}.0/24")).collect();
    let fits = format!("{}, 192.168.100.64/26", prefixes.join(", "));
    let line = format!("    allow from {fits}");
    assert_eq!(line.len(), 100);
    check(
        &format!(
            "service a {{\n    allow from {}\n}}",
            fits.replace(", ", ",\n")
        ),
        &format!("service a {{\n{line}\n}}\n"),
    );
    check(
        &format!("service a {{\n    allow from {fits}0\n}}"),
        &format!(
            "service a {{\n    allow from {}\n}}\n",
            format!("{fits}0").replace(", ", ",\n        ")
        ),
    );
}

#[test]
fn aliases_of_schedulers_are_spelled_out_where_the_meaning_stays() {
    check(
        "service a { scheduler rr; scheduler wrr; scheduler sh; scheduler mh; scheduler mh table 251; scheduler mh by source }",
        "service a {
    scheduler round-robin
    scheduler round-robin
    scheduler hash by source
    scheduler maglev by source
    scheduler maglev by source table 251
    scheduler maglev by source
}
",
    );
    // A key that is written counts more than the alias's own.
    check(
        "service a { scheduler sh by source-port }",
        "service a {\n    scheduler hash by source-port\n}\n",
    );
    check(
        "service a { scheduler mh by source-port table 251 }",
        "service a {\n    scheduler maglev by source-port table 251\n}\n",
    );
}

#[test]
fn addresses_stay_as_written() {
    let text = "pool p {\n    server 2001:DB8:0::1\n    server [2001:db8:0::1]:80\n}\n";
    check(text, text);
}

#[test]
fn line_ends_and_byte_order_mark_become_plain() {
    check(
        "\u{FEFF}# a\r\ndefine a = 1,\r\n 2 # b\r\n",
        "# a\ndefine a = 1, 2 # b\n",
    );
    check("", "");
    check("\r\n\r\n", "");
}

#[test]
fn a_file_with_a_fault_is_not_formatted() {
    for text in [
        "service a {",
        "vipp 1",
        "define a = 1,",
        "define a = 1\u{7}",
    ] {
        assert_eq!(formatted(text), None, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_file_keeps_meaning_and_comments(choices in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = generate::generate(&choices);
        let once = formatted(&file.text).expect("the generator makes no faults");
        prop_assert_eq!(meaning(&once), meaning(&file.text));

        let twice = formatted(&once);
        prop_assert_eq!(twice.as_deref(), Some(once.as_str()));

        let comments: Vec<_> = once.lines().filter_map(|line| {
            line.find('#').map(|at| line[at..].to_owned())
        }).collect();
        prop_assert_eq!(comments, file.comments);

        for ugly in ["\n\n\n", "{\n\n", "\n\n}", "\r", " \n", "\t\n"] {
            prop_assert!(!once.contains(ugly), "{:?}", ugly);
        }
        prop_assert!(!once.starts_with('\n'));
        prop_assert!(once.is_empty() || (once.ends_with('\n') && !once.ends_with("\n\n")));
    }
}

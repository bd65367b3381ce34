//! From text to tree: what is read, and which faults are found where.

#![allow(clippy::expect_used, reason = "helpers of tests are tests too")]

use flbc::diagnostic::Diagnostics;
use flbc::source::Sources;
use flbc::syntax::{Home, Keyword, OptionWord, parse};

mod shape;

/// The shape of a text, and its faults as `LINE:COLUMN CODE MESSAGE [HELP]`.
fn read(text: &str) -> (String, Vec<String>) {
    let mut sources = Sources::new();
    let file = sources.add("test.flb", "".into(), text.into());
    let mut sink = Diagnostics::new();
    let tree = parse(file, &sources, &mut sink);
    for fault in sink.sorted() {
        let places = fault.related.iter().map(|(span, _)| *span);
        for span in places.chain(fault.span) {
            let place = span.start as usize..span.end as usize;
            assert!(text.get(place).is_some(), "{span:?} of {text:?}");
        }
    }
    let faults = sink.sorted().into_iter().map(|fault| {
        let place = sources.place(fault.span.expect("a place in the text"));
        let help = fault.help.as_deref().unwrap_or("-");
        format!(
            "{}:{} {} {} [{help}]",
            place.line, place.column, fault.code, fault.message
        )
    });
    let faults = faults.collect();
    (shape::shape(&tree, &sources), faults)
}

/// Expects exactly these faults, each given as the start of its line.
#[track_caller]
fn faults(text: &str, expected: &[&str]) {
    let (_, found) = read(text);
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found.starts_with(expected));
    assert!(same, "expected {expected:#?}\nfound {found:#?}");
}

/// Expects one fault of a statement in a service, which is the second line.
#[track_caller]
fn fault(statement: &str, expected: &str) {
    faults(
        &format!("service a {{\n{statement}\n}}\n"),
        &[&format!("2:{expected}")],
    );
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    let (tree, faults) = read(text);
    assert_eq!(faults, [""; 0]);
    let tree = tree.replace("Bare:", "");
    assert_eq!(tree.trim_end(), expected.trim_end());
}

/// Expects what one statement in a service is read as.
#[track_caller]
fn statement(statement: &str, expected: &str) {
    reads(
        &format!("service a {{\n{statement}\n}}\n"),
        &format!("service a {{\n    {expected}\n}}\n"),
    );
}

/// A file in which a statement stands where it may: `{}` is its place.
fn around(keyword: Keyword) -> &'static str {
    match keyword.homes().first() {
        Some(Home::Top) | None => "{}\n",
        Some(Home::Service) => "service a {\n{}\n}\n",
        Some(Home::Pool) => "pool a {\n{}\n}\n",
        Some(Home::Defaults) => "defaults {\n{}\n}\n",
    }
}

/// A statement's example with what it needs behind it to be whole: a pool is declared by its block.
fn whole(keyword: Keyword) -> String {
    let example = keyword.example();
    match (example.ends_with('{'), keyword) {
        (true, _) => format!("{example} }}"),
        (false, Keyword::Pool) => format!("{example} {{ }}"),
        (false, _) => example.to_owned(),
    }
}

/// What the table of words says of a statement, the grammar does.
#[test]
fn the_grammar_reads_what_the_table_of_words_has() {
    for &keyword in Keyword::ALL {
        let statement = whole(keyword);
        assert!(
            statement.starts_with(keyword.text()) && keyword.usage().starts_with(keyword.text())
        );
        assert_eq!(Keyword::of(keyword.text()), Some(keyword));
        let (shape, found) = read(&around(keyword).replace("{}", &statement));
        assert_eq!(found, [""; 0], "`{statement}`");
        assert!(
            shape.contains(keyword.text()),
            "`{statement}` is read as {shape}"
        );
    }
    for &option in OptionWord::ALL {
        assert!(option.usage().starts_with(option.text()));
        assert_eq!(OptionWord::of(option.text()), Some(option));
        let (shape, found) = read(&format!(
            "pool a {{\nserver 10.0.0.1 {}\n}}\n",
            option.example()
        ));
        assert_eq!(found, [""; 0]);
        assert!(shape.contains(option.text()), "{shape}");
        // A word that starts an option is no address, so that the word before it is no name.
        let (shape, _) = read(&format!("pool a {{\nserver web {}\n}}\n", option.example()));
        assert!(
            !shape.contains("name=Bare:web"),
            "`{}` is taken for an address: {shape}",
            option.text()
        );
    }
}

/// A comma too many before a statement costs the one fault: the grammar knows that a statement starts there.
#[test]
fn every_statement_stops_what_is_damaged_before_it() {
    for &keyword in Keyword::ALL {
        let text = around(keyword).replace("{}", &format!("oops a,\n{}", whole(keyword)));
        let (shape, found) = read(&text);
        assert_eq!(found.len(), 1, "before `{}`: {found:?}", keyword.text());
        assert!(
            shape.contains(keyword.text()),
            "`{}` is lost: {shape}",
            keyword.text()
        );
    }
}

/// A statement that ends too early is told what it lacks: what each of its arguments is called is known.
#[test]
fn what_every_statement_lacks_is_named() {
    for &keyword in Keyword::ALL {
        let words: Vec<&str> = keyword.example().split(' ').collect();
        for end in 1..words.len() {
            let text = around(keyword).replace("{}", &words[..end].join(" "));
            let (_, found) = read(&text);
            for fault in found {
                let names_it = ["needs", "ends with a comma", "`{`"]
                    .iter()
                    .any(|words| fault.contains(words));
                assert!(names_it, "{text:?}: {fault}");
            }
        }
    }
}

/// Out of its place a statement is refused, with the place where it belongs.
#[test]
fn a_statement_stands_where_the_table_of_words_says() {
    let blocks = [
        (Home::Service, "service a", "in a service"),
        (Home::Pool, "pool a", "in a pool"),
        (Home::Defaults, "defaults", "in `defaults`"),
    ];
    for &keyword in Keyword::ALL {
        let homes = keyword.homes();
        if !homes.contains(&Home::Top) {
            let (_, found) = read(&format!("{}\n", keyword.example()));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("misplaced-statement"), "{found:?}");
            for (home, _, words) in blocks {
                assert_eq!(found[0].contains(words), homes.contains(&home), "{found:?}");
            }
        }
    }
}

#[test]
fn every_statement_of_the_language_is_read() {
    statement(
        "vip 192.0.2.1, ::1 tcp, udp 80, 443,5000-5999",
        "vip [192.0.2.1 + ::1] [tcp + udp] [80 + 443 + 5000-5999]",
    );
    statement("vip $a $b any", "vip [Constant:$a] [Constant:$b] [any]");
    statement("mode nat", "mode nat");
    statement("mode nat masquerade", "mode masquerade");
    statement("mode nat snat 10.0.0.1, ::1", "mode snat [10.0.0.1 + ::1]");
    statement(
        "mode dr on eth0, \"br 0\"",
        "mode dr [eth0 + Quoted:\"br 0\"]",
    );
    statement(
        "mode dr on eth0 via eth1 from 02:00:00:00:00:01",
        "mode dr [eth0] via=eth1 from=02:00:00:00:00:01",
    );
    statement(
        "scheduler maglev by source table 251",
        "scheduler maglev by=source table=251",
    );
    statement("scheduler hash table 3", "scheduler hash table=3");
    statement("persist 5m by source/24/64", "persist 5m by=source/24/64");
    statement("persist off", "persist off");
    statement("track 90s", "track 90s");
    statement("on-empty drop", "on-empty drop");
    statement(
        "allow from 10.0.0.0/8, $office",
        "allow [10.0.0.0/8 + Constant:$office]",
    );
    statement("deny from ::/0", "deny [::/0]");
    statement("pool web", "pool web");
    statement(
        "server web[1-3] 10.0.0.[1-3]:80 drain via eth1 from 02:00:00:00:00:01 mac 02:00:00:00:00:02 weight 3 down backup",
        "server name=web[1-3] 10.0.0.[1-3]:80 drain via=eth1 from=02:00:00:00:00:01 mac=02:00:00:00:00:02 weight=3 down backup",
    );
    reads(
        "include \"a;b#{.flb\"; define x=1,2\ndefaults{}pool p{server 10.0.0.1}service s{}",
        "include Quoted:\"a;b#{.flb\"\ndefine x = 1 + 2\ndefaults {\n}\npool p {\n    server 10.0.0.1\n}\nservice s {\n}\n",
    );
}

#[test]
fn any_statement_parses_in_any_block() {
    reads(
        "pool p { vip 1.1.1.1 tcp 80 }",
        "pool p {\n    vip [1.1.1.1] [tcp] [80]\n}",
    );
    reads(
        "defaults { server 10.0.0.1 }",
        "defaults {\n    server 10.0.0.1\n}",
    );
}

#[test]
fn keywords_are_reserved_only_where_they_are_expected() {
    statement(
        "server weight 10.0.0.1 weight 3",
        "server name=weight 10.0.0.1 weight=3",
    );
    statement("server 10.0.0.1 weight 3", "server 10.0.0.1 weight=3");
    statement(
        "server drain 10.0.0.1 drain",
        "server name=drain 10.0.0.1 drain",
    );
    statement("server weights 10.0.0.1", "server name=weights 10.0.0.1");
    statement("server web drainage", "server name=web drainage");
    statement("pool pool", "pool pool");
    statement(
        "mode dr on on via via from from",
        "mode dr [on] via=via from=from",
    );
    reads(
        "service service {\n}\npool\tdefaults {\n}",
        "service service {\n}\npool defaults {\n}",
    );
}

#[test]
fn a_list_goes_on_after_a_comma() {
    statement(
        "vip 192.0.2.1, # one\n\n  # two\r\n 192.0.2.2 tcp 80,\n443",
        "vip [192.0.2.1 + 192.0.2.2] [tcp] [80 + 443]",
    );
}

#[test]
fn a_brace_may_stand_on_a_later_line() {
    reads("service a # b\n\n# c {\n{ # d\n}", "service a {\n}");
    reads("pool a\r\n{\r\n}\r\n", "pool a {\n}");
}

#[test]
fn line_ends_and_byte_order_mark() {
    reads(
        "\u{FEFF}define a = 1\r\n# b\r\ndefine c = 1",
        "define a = 1\ndefine c = 1",
    );
    faults(
        "define a = 1\rdefine b = 1\n",
        &["1:13 bad-character A carriage return without a line feed (U+000D)"],
    );
}

#[test]
fn what_is_missing_is_named() {
    fault(
        "vip 192.0.2.10 80",
        "16 bad-statement `vip` needs a protocol between the address and the ports [write `vip 192.0.2.10 tcp 80`]",
    );
    fault(
        "vip 192.0.2.10",
        "5 bad-statement `vip` needs a protocol and ports after the address",
    );
    fault(
        "vip 192.0.2.10 tcp",
        "16 bad-statement `vip` needs a port after `tcp`",
    );
    fault("vip", "1 bad-statement `vip` needs an address [");
    fault("server", "1 bad-statement `server` needs an address [");
    fault(
        "server web 10.0.0.1 weight",
        "21 bad-statement `server` needs a number after `weight`",
    );
    fault(
        "server 10.0.0.1 via",
        "17 bad-statement `server` needs an interface after `via`",
    );
    fault("mode", "1 bad-statement `mode` needs `nat` or `dr`");
    fault("mode dr", "6 bad-statement `mode` needs `on` after `dr`");
    fault(
        "mode dr eth0",
        "9 bad-statement `mode` needs `on` before `eth0`",
    );
    fault(
        "mode dr on eth0 via eth1 02:00:00:00:00:01",
        "26 bad-statement `mode` needs `from` before `02:00:00:00:00:01`",
    );
    fault(
        "scheduler",
        "1 bad-statement `scheduler` needs the name of a scheduler [",
    );
    fault(
        "persist 5m by",
        "12 bad-statement `persist` needs what to go by, such as `source`, after `by`",
    );
    fault(
        "allow 10.0.0.0/8",
        "7 bad-statement `allow` needs `from` before `10.0.0.0/8`",
    );
    fault(
        "on-empty",
        "1 bad-statement `on-empty` needs `reject` or `drop` [",
    );
    faults(
        "define a 1",
        &["1:10 bad-statement `define` needs `=` before `1`"],
    );
    faults(
        "define a =",
        &["1:10 bad-statement `define` needs a value after `=`"],
    );
    faults(
        "include",
        &["1:1 bad-statement `include` needs a path in double quotes [it is"],
    );
    faults(
        "include a.flb",
        &[
            "1:9 bad-statement The path of `include` stands in double quotes [write `include \"a.flb\"`]",
        ],
    );
    faults(
        "include $a",
        &["1:9 bad-statement A constant cannot stand for the path of `include` ["],
    );
}

#[test]
fn what_is_too_much_is_named() {
    fault(
        "vip 192.0.2.10 tcp 80 443",
        "23 bad-statement A comma is missing before `443` [write `vip 192.0.2.10 tcp 80, 443`]",
    );
    fault(
        "vip 192.0.2.10 tcp 80 udp 53",
        "1 bad-statement A `vip` has its protocols before all of its ports: others need a statement of their own [write `vip 192.0.2.10 tcp 80; vip 192.0.2.10 udp 53`]",
    );
    fault("mode natt", "6 bad-statement `natt` is no mode [");
    fault(
        "mode nat masq",
        "10 bad-statement `masq` is too much in `mode` [",
    );
    fault(
        "mode dr on eth0 vai eth1",
        "17 bad-statement `vai` is too much in `mode` [did you mean `via`?]",
    );
    fault(
        "scheduler maglev table 251 by source",
        "28 bad-statement `by` stands before `table` [write",
    );
    for (twice, place) in [
        (
            "scheduler mh by source by source-port",
            "24 bad-statement `by`",
        ),
        (
            "scheduler maglev table 251 table 13",
            "28 bad-statement `table`",
        ),
        ("persist 5m by source by source/24", "22 bad-statement `by`"),
        (
            "mode dr on eth0 via eth1 via eth2",
            "26 bad-statement `via`",
        ),
    ] {
        fault(twice, &format!("{place} is given a second time [remove"));
    }
    fault(
        "track 5m 6m",
        "10 bad-statement `6m` is too much in `track` [it is written `track DURATION`",
    );
    fault("track 5m, 6m", "9 bad-statement `track` takes no list here");
    fault("pool a b", "8 bad-statement `b` is too much in `pool`");
    fault(
        "server 10.0.0.1 wieght 3",
        "17 bad-statement `wieght` is no option of `server` [did you mean `weight`?]",
    );
    fault(
        "server 10.0.0.1 dran",
        "17 bad-statement `dran` is no option of `server` [did you mean `drain`?]",
    );
    fault(
        "server web 10.0.0.1 max 3",
        "21 bad-statement `max` is no option of `server` [did you mean `mac`?]",
    );
    fault(
        "server web 10.0.0.1 port 80",
        "1 bad-statement The port of a server stands behind its address, with a `:` [write `server web 10.0.0.1:80`]",
    );
    fault(
        "server 10.0.0.1 10.0.0.2",
        "17 bad-statement `10.0.0.2` is no option of `server` [one server has one address",
    );
    fault(
        "server web 10.0.0.1 weight=3",
        "1 bad-statement `server` takes no `=` [write `server web 10.0.0.1 weight 3`]",
    );
    fault(
        "vip 1.1.1.1,, 2.2.2.2 tcp 80",
        "13 bad-statement An address is missing before the comma",
    );
    fault(
        "vip 1.1.1.1 tcp 80, # c",
        "19 bad-statement `vip` ends with a comma [write a port after the comma, or take the comma away]",
    );
    fault("mode dr on=eth0", "11 bad-statement `mode` takes no `=`");
    fault(
        "mode dr on \"eth0",
        "12 bad-statement The quote is not closed on its line",
    );
    fault(
        "mode dr on \"eth0\"via eth1",
        "18 bad-statement A blank is missing after the quote",
    );
    fault(
        "vip\"x\"",
        "4 bad-statement A blank is missing before the quote",
    );
    fault("vip,", "1 bad-statement A blank is missing after `vip`");
    faults(
        "defaults x {\n}",
        &["1:10 bad-statement `defaults` has no name, and `x` cannot follow it"],
    );
}

#[test]
fn unknown_words_get_the_nearest_one() {
    fault(
        "sever 10.0.0.1",
        "1 unknown-statement `sever` is no statement [did you mean `server`?]",
    );
    fault(
        "VIP 1.1.1.1 tcp 80",
        "1 unknown-statement `VIP` is no statement [did you mean `vip`?]",
    );
    fault(
        "on_empty drop",
        "1 unknown-statement `on_empty` is no statement [did you mean `on-empty`?]",
    );
    fault(
        "vip192.0.2.1 tcp 80",
        "1 unknown-statement `vip192` is no statement [did you mean `vip`?]",
    );
    fault(
        "xyzzy",
        "1 unknown-statement `xyzzy` is no statement [in a service, flb has `vip`, `mode`,",
    );
    fault(
        "$a",
        "1 bad-statement A constant stands where a value stands, not as a statement",
    );
    fault(
        "\"a\"",
        "1 bad-statement A statement starts with a word, not with a quote",
    );
    fault(
        ", a",
        "1 bad-statement A statement starts with a word, not with `,`",
    );
    faults(
        "includ \"a\"",
        &["1:1 unknown-statement `includ` is no statement [did you mean `include`?]"],
    );
}

#[test]
fn words_of_other_tools_are_translated() {
    for (word, help) in [
        ("virtual_server 10.0.0.1 80", "`service www {`"),
        ("real_server 10.0.0.1 80", "`server 10.0.0.1:80`"),
        ("lb_algo rr", "`scheduler rr`"),
        ("lb_kind DR", "`mode dr on eth0`"),
        ("persistence_timeout 50", "`persist 50s`"),
        ("upstream web", "`pool web {`"),
        ("listen 80", "`vip 192.0.2.10 tcp 80`"),
        ("proxy_pass http", "`pool web`"),
        ("frontend web", "`service www {`"),
        ("backend web", "`pool web {`"),
        ("bind *:80", "`vip 192.0.2.10 tcp 80`"),
        ("balance roundrobin", "`scheduler round-robin`"),
        ("leastconn", "cannot count live connections"),
        ("dnat to 10.0.0.1", "`mode nat`"),
        ("weight 3", "at the end of a server's line"),
    ] {
        let (_, faults) = read(&format!("service a {{\n{word}\n}}\n"));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].starts_with("2:1 unknown-statement "),
            "{faults:?}"
        );
        assert!(faults[0].contains(help), "{faults:?}");
    }
}

#[test]
fn a_block_of_another_tool_is_one_fault() {
    faults(
        "virtual_server 10.0.0.1 80 {\n  lb_algo rr\n  real_server 10.0.0.2 80 {\n    weight 1\n    TCP_CHECK {\n    }\n  }\n}\nservice a {\n}\nhttp {\n  server {\n  }\n}\n",
        &[
            "1:1 unknown-statement `virtual_server` starts",
            "11:1 unknown-statement `http` starts",
        ],
    );
}

#[test]
fn faults_in_a_block_with_a_misspelt_keyword_are_found() {
    faults(
        "sevrice a {\n    vip 1.1.1.1 80\n}\npool {\n    sever x\n}\n",
        &[
            "1:1 unknown-statement `sevrice` is no statement [did you mean `service`?]",
            "2:17 bad-statement",
            "4:1 bad-statement `pool` needs a name",
            "5:5 unknown-statement",
        ],
    );
}

#[test]
fn a_missing_closing_brace_costs_one_fault() {
    let text = "service a {\n    track 1s\nservice b {\n    track 2s\n}\npool p {\n    server 10.0.0.1\ndefine x = 1\n";
    faults(
        text,
        &[
            "1:1 unclosed-block This block is never closed [write `}` before",
            "6:1 unclosed-block",
        ],
    );
    let (tree, _) = read(text);
    assert_eq!(
        tree.replace("Bare:", ""),
        "service a {\n    track 1s\n}\nservice b {\n    track 2s\n}\npool p {\n    server 10.0.0.1\n}\ndefine x = 1\n"
    );
    faults(
        "service a {",
        &["1:1 unclosed-block This block is never closed [write `}` at its end]"],
    );
}

#[test]
fn a_missing_opening_brace_costs_one_fault() {
    let text = "service a\n    track 1s\n}\npool p\n    server 10.0.0.1\n";
    faults(
        text,
        &[
            "1:1 bad-statement `service a` needs a `{` after it",
            "4:1 bad-statement `pool p` needs a `{`",
        ],
    );
    let (tree, _) = read(text);
    assert_eq!(
        tree.replace("Bare:", ""),
        "service a {\n    track 1s\n}\npool p {\n    server 10.0.0.1\n}\n"
    );
    faults(
        "service a; {\n}",
        &["1:1 bad-statement `service a` needs", "1:12 stray-brace"],
    );
}

#[test]
fn a_brace_too_many_costs_one_fault_and_what_it_cut_off_another() {
    faults(
        "service a {\n}\n}\nservice b {\n}\n",
        &["3:1 stray-brace This `}` closes no block"],
    );
    faults(
        "service a {\n    track 1s\n    }\n    track 2s\n    track 3s\n}\nservice b {\n}\n",
        &["4:5 misplaced-statement `track` stands outside of any block"],
    );
    faults("{\n}\n", &["1:1 stray-brace This `{` opens no block"]);
    fault(
        "vip 1.1.1.1 tcp 80 {\n}",
        "20 stray-brace `vip` takes no block",
    );
}

#[test]
fn blocks_in_blocks_are_pointed_to_the_top_level() {
    let text = "service a {\n    pool p {\n        server 10.0.0.1\n    }\n    pool p\n}\n";
    faults(
        text,
        &[
            "2:5 nested-pool A pool is declared at the top level, not in a block [move it out of the block, and write `pool p` here to use it]",
        ],
    );
    let (tree, _) = read(text);
    assert_eq!(
        tree.replace("Bare:", ""),
        "pool p {\n    server 10.0.0.1\n}\nservice a {\n    pool p\n}\n"
    );
    faults(
        "service a { service b { } }",
        &["1:13 misplaced-statement `service` stands at the top level"],
    );
    fault(
        "    define x = 1",
        "5 misplaced-statement `define` stands at the top level",
    );
}

#[test]
fn a_comma_too_many_costs_its_own_statement_alone() {
    faults(
        "service a {\n    vip 1.1.1.1 tcp 80,\n    mode nat\n    sever x\n}\n",
        &[
            "2:23 bad-statement `vip` ends with a comma",
            "4:5 unknown-statement",
        ],
    );
}

#[test]
fn characters_that_cannot_stand_in_a_file_are_one_fault_a_line() {
    faults(
        "define a\u{7}\u{7} = 1\u{1}\nx\0\0y z\ndefine b\u{A0}= 1\n# \u{202E}evil\ndefine c = \u{200B}1\n",
        &[
            "1:9 bad-character A control character (U+0007) cannot stand in a flb file, nor can 2 more on this line",
            "2:2 bad-character A NUL byte (U+0000)",
            "3:9 bad-character A blank that is not a space (U+00A0)",
            "4:3 bad-character A character that changes the direction of writing (U+202E)",
            "5:12 bad-character An invisible character (U+200B)",
        ],
    );
    reads("# ä \u{200D} \u{A0}\ndefine é = 1", "define é = 1");
}

#[test]
fn endless_braces_are_no_harm() {
    let many = 20_000;
    faults(&"{".repeat(many), &["1:1 stray-brace"]);
    faults(&"}".repeat(many), &["1:1 stray-brace"]);
    let (_, nested) = read(&"service a {".repeat(many));
    assert_eq!(nested.len(), Diagnostics::LIMIT);
    let deep = nested
        .iter()
        .filter(|fault| fault.contains("More than 100 blocks"));
    assert_eq!(deep.count(), 1);
    let (_, unknown) = read(&"http {\n".repeat(many));
    assert_eq!(unknown.len(), 2, "{unknown:?}");
}

/// Found by fuzzing: the place was one byte long.
#[test]
fn a_letter_of_several_bytes_after_a_quote_is_pointed_to_whole() {
    faults(
        "include \"a.flb\"\u{e9}\n",
        &["1:16 bad-statement A blank is missing after the quote"],
    );
    faults(
        "service a {\nmode dr on \"eth0\"\u{65e5} eth1\n}\n",
        &["2:18 bad-statement A blank is missing after the quote"],
    );
}

/// A line of a hundred megabytes came back whole in the message about it.
#[test]
fn no_word_is_too_long_for_its_message() {
    let long = "x".repeat(5000);
    for text in [
        format!("{long}\n"),
        format!("{long} {{\n}}\n"),
        format!("service {long}\n"),
        format!("service {long} {long} {{\n}}\n"),
        format!("include {long}\n"),
        format!("define {long}\n"),
        format!("define a = {long} {long}\n"),
        format!("define a {long}\n"),
        format!("defaults {long} {{\n}}\n"),
        format!("service a {{\n{long}\n}}\n"),
        format!("service a {{\npool {long} {{\n}}\n}}\n"),
        format!("service a {{\nmode {long}\n}}\n"),
        format!("service a {{\nmode nat {long}\n}}\n"),
        format!("service a {{\nmode dr {long}\n}}\n"),
        format!("service a {{\nvip {long}\n}}\n"),
        format!("service a {{\nvip {long} tcp {long} {long}\n}}\n"),
        format!("service a {{\nscheduler {long} {long}\n}}\n"),
        format!("service a {{\nscheduler {long} by\n}}\n"),
        format!("service a {{\nserver {long} 10.0.0.1 {long}\n}}\n"),
        format!("service a {{\nserver a 10.0.0.1 weight {long} {long}\n}}\n"),
        format!("service a {{\npersist {long} {long}\n}}\n"),
        format!("service a {{\nallow {long}\n}}\n"),
        format!("service a {{\nallow from {long} {long}\n}}\n"),
        format!("vip{long} {{\n}}\n"),
        format!("wlc{long}\n"),
    ] {
        let (_, faults) = read(&text);
        for fault in faults {
            assert!(fault.len() < 1000, "{} bytes about {text:.40}", fault.len());
        }
    }
}

//! From text to tree: what is read, and which faults are found where.

#![allow(clippy::expect_used, reason = "helpers of tests are tests too")]

use flbc::diagnostic::Diagnostics;
use flbc::source::Sources;
use flbc::syntax::parse;

mod shape;

/// The shape of a text, and its faults as `LINE:COLUMN CODE MESSAGE [HELP]`.
fn read(text: &str) -> (String, Vec<String>) {
    let mut sources = Sources::new();
    let file = sources.add("test.flb", "".into(), text.into());
    let mut sink = Diagnostics::new();
    let tree = parse(file, &sources, &mut sink);
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

#[test]
fn the_example_of_the_language_is_read_whole() {
    let (tree, faults) = read(
        "service dns {\n    vip 192.0.2.53 udp 53; vip 192.0.2.53 tcp 53\n    mode dr on eth0 via eth1\n    server 10.20.0.22 weight 2 mac 02:00:00:00:00:22\n}\n",
    );
    assert_eq!(faults, [""; 0]);
    assert_eq!(
        tree,
        "service Bare:dns {
    vip [Bare:192.0.2.53] [Bare:udp] [Bare:53]
    vip [Bare:192.0.2.53] [Bare:tcp] [Bare:53]
    mode dr [Bare:eth0] via=Bare:eth1
    server Bare:10.20.0.22 weight=Bare:2 mac=Bare:02:00:00:00:00:22
}
"
    );
}

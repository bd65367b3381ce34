//! The canonical form means the same, keeps every comment, and is its own canonical form.
//!
//! Runs on the stable toolchain: `RUSTC_BOOTSTRAP=1 cargo fuzz run fmt_round_trip`.

#![no_main]

use flbc::diagnostic::Diagnostics;
use flbc::source::Sources;
use flbc::syntax::{format, parse};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/shape/mod.rs"]
mod shape;

fuzz_target!(|text: &str| {
    let Some(once) = formatted(text) else {
        return;
    };
    assert_eq!(meaning(&once), meaning(text));
    assert_eq!(comments(&once), comments(text));
    assert_eq!(formatted(&once).as_deref(), Some(once.as_str()));
});

fn formatted(text: &str) -> Option<String> {
    let mut sources = Sources::new();
    let file = sources.add("fuzz.flb", "".into(), text.into());
    format(file, &sources, &mut Diagnostics::new())
}

fn meaning(text: &str) -> String {
    let mut sources = Sources::new();
    let file = sources.add("fuzz.flb", "".into(), text.into());
    let mut sink = Diagnostics::new();
    let tree = parse(file, &sources, &mut sink);
    assert_eq!(sink.errors(), 0);
    shape::shape(&tree, &sources)
}

/// The comments of a text; quotes do not go beyond their line.
fn comments(text: &str) -> Vec<&str> {
    let of_line = |line: &'_ str| {
        let mut quoted = false;
        line.find(|c| {
            quoted ^= c == '"';
            c == '#' && !quoted
        })
    };
    text.lines()
        .filter_map(|line| line.get(of_line(line)?..))
        .map(str::trim_end)
        .collect()
}

//! No bytes may make the parser panic, and every place it speaks of lies in the text.
//!
//! Runs on the stable toolchain: `RUSTC_BOOTSTRAP=1 cargo fuzz run parse`.

#![no_main]

use flbc::diagnostic::Diagnostics;
use flbc::source::Sources;
use flbc::syntax::parse;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/shape/mod.rs"]
mod shape;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut sources = Sources::new();
    let file = sources.add("fuzz.flb", "".into(), text.into_owned());
    let mut sink = Diagnostics::new();
    let tree = parse(file, &sources, &mut sink);
    shape::shape(&tree, &sources);
    let text = &sources.file(file).text;
    for fault in sink.sorted() {
        let places = fault.related.iter().map(|(span, _)| *span);
        for span in places.chain(fault.span) {
            assert!(text.get(span.start as usize..span.end as usize).is_some());
        }
        assert!(!fault.message.is_empty());
        assert!(!fault.message.contains(char::is_control));
        assert!(!fault.help.as_ref().is_some_and(|help| help.contains(char::is_control)));
    }
});

//! No bytes may make any stage panic, every place that a fault speaks of lies in the text, and what comes out holds
//! nothing that the text could have smuggled in.
//!
//! Runs on the stable toolchain: `RUSTC_BOOTSTRAP=1 cargo fuzz run parse -- -dict=fuzz/flb.dict`.

#![no_main]

use flbc::diagnostic::{Diagnostics, render};
use flbc::model::{Model, Scheduler};
use flbc::source::Sources;
use flbc::{check, emit, lower, schedule, syntax};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/shape/mod.rs"]
mod shape;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut sources = Sources::new();
    let file = sources.add("fuzz.flb", "".into(), text.into_owned());
    let mut sink = Diagnostics::new();
    let tree = syntax::parse(file, &sources, &mut sink);
    shape::shape(&tree, &sources);
    let model = check::check(&tree, &sources, &mut sink);
    if sink.errors() == 0 && is_small(&model) {
        compile(&model, &sources, &mut sink);
    }
    faults_are_sound(&sink, &sources);
});

/// A large table says nothing that a small one does not, and takes a thousand times as long.
fn is_small(model: &Model) -> bool {
    model.services.len() <= 8
        && model.services.iter().all(|service| {
            let table = match service.scheduler {
                Scheduler::Maglev { table, .. } => table.unwrap_or(0),
                _ => 0,
            };
            table <= 251 && service.vips.len() <= 64 && model.real_servers(service).count() <= 20
        })
}

fn compile(model: &Model, sources: &Sources, sink: &mut Diagnostics) {
    let plan = schedule::schedule(model, sink);
    let slots = plan.blocks.iter().map(|block| match &block.choice {
        schedule::Choice::Slots { owners, .. } => owners.len(),
        _ => 0,
    });
    if slots.sum::<usize>() > 300 {
        return;
    }
    let numbers = lower::number::fresh(model, &plan, sink);
    let ruleset = lower::lower(model, &plan, &numbers, "flbc");
    let mut text = Vec::new();
    emit::text(&ruleset, sources, &mut text).expect("memory takes all");
    let text = String::from_utf8(text).expect("rules are text");
    // What flbc writes is ASCII; the only other text is the file's name.
    assert!(text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)));
    assert!(text.lines().all(|line| line.split('"').count() % 2 == 1));
    let opened = text.matches('{').count();
    assert_eq!(opened, text.matches('}').count());
    let mut json = Vec::new();
    emit::json(&ruleset, &mut json).expect("memory takes all");
    let json = String::from_utf8(json).expect("JSON is text");
    assert!(!json.trim_end().contains(|c: char| c.is_control() && c != '\n'));
}

fn faults_are_sound(sink: &Diagnostics, sources: &Sources) {
    for fault in sink.sorted() {
        let places = fault.related.iter().map(|(span, _)| *span);
        for span in places.chain(fault.span) {
            let text = &sources.file(span.file).text;
            assert!(text.get(span.start as usize..span.end as usize).is_some());
        }
        let labels = fault.related.iter().map(|(_, label)| label);
        let words = labels
            .chain([&fault.message])
            .chain(&fault.label)
            .chain(&fault.help);
        for words in words {
            assert!(!words.is_empty());
            assert!(!words.contains(char::is_control));
        }
    }
    let mut shown = String::new();
    let options = render::Options {
        color: false,
        unicode: false,
        width: Some(80),
    };
    render::human(sink, sources, options, &mut shown).expect("memory takes all");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
    let mut array = Vec::new();
    render::json([(sink, sources)].into_iter(), &mut array).expect("memory takes all");
}

//! `flbc apply --dry-run --against RULES`: what would change, without a kernel.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use super::Exit;
use super::output::say;
use super::report::Report;
use crate::apply::tell_layouts;
use crate::diagnostic::{Diagnostics, escape, reason};
use crate::emit;
use crate::emit::listing::{self, Listing};
use crate::lower::layout::Layout;
use crate::model::Model;
use crate::outline::Difference;
use crate::schedule;
use crate::source::Sources;
use crate::view::against;

/// Compares what a file compiles to with what was compiled earlier.
///
/// Both are compared in the layout that the rules have, as an apply would keep it: what another asks for is told, and changes
/// nothing else.
pub(super) fn run(
    report: &Report,
    (table, asked): (&str, Option<Layout>),
    rules: &Path,
    file: &Path,
    allow_empty: bool,
) -> Exit {
    if rules == Path::new("-") && file == Path::new("-") {
        return Report::failure("standard input cannot be both the file and the rules");
    }
    let old = match earlier(rules) {
        Ok(old) => old,
        Err(why) => {
            let place = escape(&rules.to_string_lossy()).into_owned();
            return Report::failure(&format!("cannot compare with {place}: {}", escape(&why)));
        }
    };
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let input = match Report::input(file) {
        Ok(input) => input,
        Err(error) => return Report::unread(&error),
    };
    let model = crate::read(input, &mut sources, &mut sink);
    if let Some(model) = &model
        && let Some(exit) = report.refuse_empty(model, allow_empty, (&sink, &sources), file)
    {
        return exit;
    }
    let layout = against::layout(&old);
    let asked = asked.unwrap_or(layout);
    let rules = |layout, sink: &mut Diagnostics| {
        let model = model.as_ref()?;
        crate::rules(model, (table, layout), sink)
    };
    let ruleset = rules(asked, &mut sink).and_then(|ruleset| {
        if asked == layout {
            return Some(ruleset);
        }
        rules(layout, &mut Diagnostics::new())
    });
    report.human(&sink, &sources);
    let (Some(model), Some(ruleset)) = (model, ruleset) else {
        return Exit::Bad;
    };
    let mut text = Vec::new();
    let written = emit::text(&ruleset, &sources, &mut text);
    let new = written.map_err(|error| error.to_string()).and_then(|()| {
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        listing::read(&text).map_err(|error| error.to_string())
    });
    match new {
        Ok(new) => compare(&old, &new, &model, [layout, asked]),
        Err(why) => Report::failure(&escape(&why)),
    }
}

fn earlier(rules: &Path) -> Result<Listing, String> {
    let told = |error: std::io::Error| reason(&error);
    let mut bytes = Vec::new();
    if rules == Path::new("-") {
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(told)?;
    } else {
        bytes = std::fs::read(rules).map_err(told)?;
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    listing::read(&text).map_err(|error| error.to_string())
}

fn compare(old: &Listing, new: &Listing, model: &Model, layouts: [Layout; 2]) -> Exit {
    if old == new && layouts[0] == layouts[1] {
        return say("no difference\n", Exit::Fine);
    }
    let plan = schedule::schedule(model, &mut Diagnostics::new());
    let moves = against::moves(old, model, &plan);
    let mut difference = Difference::between(
        &against::outline(old),
        &against::outline(new).in_order_of(model),
        &moves,
    );
    tell_layouts(layouts, &mut difference);
    Report::warnings(&difference.warnings);
    let mut text = difference.text();
    if difference.is_empty() {
        text.push_str("the rules differ, but in no service, server, weight or state\n");
    }
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{difference} (compared with the rules, not with a kernel)"
    );
    say(&text, Exit::Differs)
}

//! A plain rendering, until the real one is here.
#![allow(missing_docs)]
use super::*;
use crate::source::Sources;
#[derive(Clone, Copy)]
pub struct Style {
    pub color: bool,
    pub unicode: bool,
}
#[derive(serde::Serialize)]
pub struct Record {
    code: &'static str,
    message: String,
}
pub fn records(sink: &Diagnostics, _sources: &Sources) -> Vec<Record> {
    sink.sorted()
        .iter()
        .map(|d| Record {
            code: d.code.name(),
            message: d.message.clone(),
        })
        .collect()
}
pub fn human(sink: &Diagnostics, sources: &Sources, _style: Style) -> String {
    let mut out = String::new();
    for d in sink.sorted() {
        let place = d.span.map_or(String::new(), |s| {
            let p = sources.place(s);
            format!("{}:{}:{}: ", sources.file(s.file).name, p.line, p.column)
        });
        out += &format!(
            "{place}{}[{}]: {}\n",
            d.code.severity().name(),
            d.code,
            d.message
        );
        for (s, l) in &d.related {
            let p = sources.place(*s);
            out += &format!("  {}:{}: {l}\n", p.line, p.column);
        }
        if let Some(h) = &d.help {
            out += &format!("  help: {h}\n");
        }
    }
    out
}

//! `allow from PREFIX, ...` and `deny from PREFIX, ...`

use std::sync::Arc;

use super::Setting;
use crate::check::reader::Reader;
use crate::check::values::prefix;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{AccessEntry, AccessList};
use crate::syntax::tree::Word;

/// Adds the prefixes of one statement to those before it.
pub(super) fn read(words: &[Word], list: &mut Setting<AccessList>, reader: &mut Reader<'_>) {
    let entries = read_prefixes(words, reader);
    let mut all = list.said().cloned().unwrap_or_default();
    // The list that is replaced holds on to the entries: without it they are not copied.
    *list = Setting::Unsaid;
    Arc::make_mut(&mut all).extend(entries);
    *list = Setting::Said(all);
}

fn read_prefixes(words: &[Word], reader: &mut Reader<'_>) -> Vec<AccessEntry> {
    let read = reader.read_all(words, prefix);
    let mut entries = Vec::with_capacity(read.values.len());
    for ((prefix, host_bits), value) in read.values {
        entries.push(AccessEntry {
            prefix,
            span: value.place(),
        });
        if host_bits {
            let message = format!(
                "{} has bits set beyond its length, which count for nothing",
                quote(value.text)
            );
            let mut fault = Diagnostic::new(Code::HostBits, value.written, message)
                .help(format!("write {prefix}"));
            if let Some(used) = value.used {
                fault = fault.related(used, "used here");
            }
            reader.report_once(fault);
        }
    }
    entries
}

//! What the language has and this version does not compile. A version that does deletes this file.

use super::reader::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::Model;
use crate::source::Span;

/// Refuses `persist` together with `track`, which only direct return has.
pub(super) fn refuse(model: &Model, reader: &mut Reader<'_>) {
    for service in &model.services {
        if let (Some(persistence), Some(_)) = (service.persistence, service.track) {
            refuse_both(persistence.span, reader);
        }
    }
}

fn refuse_both(span: Span, reader: &mut Reader<'_>) {
    let message = "This version of flbc cannot compile `persist` together with `track` yet, which `round-robin` and `random` in `dr` imply";
    let fault = Diagnostic::new(Code::NotCompiledYet, span, message);
    reader.report_once(fault.help("take one of them out, and use `maglev` or `hash`"));
}

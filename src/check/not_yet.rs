//! What the language has and this version does not compile. A version that does deletes this file.

use super::reader::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::Model;
use crate::source::Span;

/// Refuses `persist`.
pub(super) fn refuse(model: &Model, reader: &mut Reader<'_>) {
    for service in &model.services {
        if let Some(persistence) = service.persistence {
            refuse_statement("persist", persistence.span, reader);
        }
    }
}

fn refuse_statement(keyword: &str, span: Span, reader: &mut Reader<'_>) {
    let message = format!("This version of flbc cannot compile `{keyword}` yet");
    let fault = Diagnostic::new(Code::NotCompiledYet, span, message);
    reader.report_once(fault.help("take it out to compile the rest"));
}

//! What the language has and this version does not compile. A version that does deletes this file.

use super::reader::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{Mode, Model, Scheduler};
use crate::source::Span;

/// Refuses `track`, and what implies it.
pub(super) fn refuse(model: &Model, reader: &mut Reader<'_>) {
    for service in &model.services {
        if let Some(track) = service.track {
            let implied_by = match (&service.mode, service.scheduler) {
                (Mode::Dr(_), Scheduler::RoundRobin) => Some("round-robin"),
                (Mode::Dr(_), Scheduler::Random) => Some("random"),
                _ => None,
            };
            match implied_by {
                Some(scheduler) => refuse_scheduler(scheduler, track.span, reader),
                None => refuse_statement("track", track.span, reader),
            }
        }
    }
}

fn refuse_statement(keyword: &str, span: Span, reader: &mut Reader<'_>) {
    let message = format!("This version of flbc cannot compile `{keyword}` yet");
    let fault = Diagnostic::new(Code::NotCompiledYet, span, message);
    reader.report_once(fault.help("take it out to compile the rest"));
}

fn refuse_scheduler(scheduler: &str, span: Span, reader: &mut Reader<'_>) {
    let message = format!(
        "This version of flbc cannot compile `track` yet, which `{scheduler}` in `dr` needs to keep the packets of one connection together"
    );
    let fault = Diagnostic::new(Code::NotCompiledYet, span, message);
    reader.report_once(fault.help("write `maglev` or `hash`, without `track`"));
}

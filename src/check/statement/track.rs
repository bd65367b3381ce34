//! `track DURATION`

use std::time::Duration;

use super::{Setting, Settings, duration_or_off};
use crate::check::reader::Reader;
use crate::check::service::Draft;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{Mode, Scheduler, Tracking};
use crate::source::Span;
use crate::syntax::tree::Word;

/// How long `track` lasts where it is implied.
const IMPLIED: Duration = Duration::from_secs(300);

/// Reads it.
pub(super) fn read(duration: Word, span: Span, reader: &mut Reader<'_>) -> Setting<Tracking> {
    duration_or_off(duration, reader).map(|timeout| Tracking { timeout, span })
}

/// What holds for a service: what is said where its mode has tracking, and what its scheduler cannot do without.
pub(in crate::check) fn of(
    draft: &Draft<'_, '_>,
    mode: &Mode,
    scheduler: Scheduler,
    reader: &mut Reader<'_>,
) -> Option<Tracking> {
    match mode {
        Mode::Nat(_) => {
            // A default that does not fit is not applied.
            if let Some(track) = draft.own.track.said() {
                refuse_in_nat(*track, draft, reader);
            }
            None
        }
        Mode::Dr(_) => {
            let said = draft.settings.track.said().copied();
            said.or_else(|| implied(&draft.settings, scheduler))
        }
    }
}

/// `off` undoes a default; what a scheduler cannot do without stays.
fn implied(settings: &Settings, scheduler: Scheduler) -> Option<Tracking> {
    let setting = settings.scheduler.said()?;
    scheduler.needs_tracking().then_some(Tracking {
        timeout: IMPLIED,
        span: setting.span,
    })
}

fn refuse_in_nat(track: Tracking, draft: &Draft<'_, '_>, reader: &mut Reader<'_>) {
    if draft.own.mode.is_unsaid() && draft.damage.statement {
        return;
    }
    let message = "`track` is for `mode dr`: in `nat` the kernel itself remembers connections";
    let fault = Diagnostic::new(Code::DrOnly, track.span, message);
    let fault = match draft.settings.mode.said() {
        Some(mode) => fault.related(mode.span, "the mode is set here"),
        None => fault,
    };
    reader.report(fault.help("remove it"));
}

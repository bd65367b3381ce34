//! `track DURATION`

use std::time::Duration;

use super::{Setting, Settings, duration_or_off};
use crate::check::reader::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{Mode, Scheduler, Tracking};
use crate::source::Span;
use crate::syntax::tree::Word;

/// How long `track` lasts where it is implied.
const IMPLIED: Duration = Duration::from_secs(300);

/// Reads a `track` statement.
pub(super) fn read(duration: Word, span: Span, reader: &mut Reader<'_>) -> Setting<Tracking> {
    duration_or_off(duration, reader).map(|timeout| Tracking { timeout, span })
}

/// Of which service it is asked how long flows are remembered.
#[derive(Clone, Copy)]
pub(in crate::check) struct Asked<'a> {
    /// What the service itself says.
    pub(in crate::check) own: &'a Settings,
    /// What holds with the defaults.
    pub(in crate::check) holding: &'a Settings,
    /// Whether a statement of it could not be read, which may have been its mode.
    pub(in crate::check) is_damaged: bool,
    pub(in crate::check) mode: &'a Mode,
    pub(in crate::check) scheduler: Scheduler,
}

/// What holds for a service: what is said where its mode has tracking, and what its scheduler cannot do without.
///
pub(in crate::check) fn of(asked: &Asked<'_>, reader: &mut Reader<'_>) -> Option<Tracking> {
    let Asked {
        own,
        holding,
        is_damaged,
        mode,
        scheduler,
    } = *asked;
    match mode {
        Mode::Nat(_) => {
            // A default that does not fit is not applied.
            let is_known = !own.mode.is_unsaid() || !is_damaged;
            if let Some(track) = own.track.said().filter(|_| is_known) {
                refuse_in_nat(*track, holding, reader);
            }
            None
        }
        Mode::Dr(_) => {
            let said = holding.track.said().copied();
            said.or_else(|| implied(holding, scheduler))
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

fn refuse_in_nat(track: Tracking, holding: &Settings, reader: &mut Reader<'_>) {
    let message = "`track` is for `mode dr`: in `nat` the kernel itself remembers connections";
    let fault = Diagnostic::new(Code::DrOnly, track.span, message);
    let fault = match holding.mode.said() {
        Some(mode) => fault.related(mode.span, "the mode is set here"),
        None => fault,
    };
    reader.report(fault.help("remove it"));
}

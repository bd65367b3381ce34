//! The statements that may stand in a service and in `defaults`: a file for each.
//!
//! Each file reads its statement, says what holds where nothing is said, and refuses what does not fit the service's
//! mode. Here is what they share: what a block said, and that it says each once.

use std::time::Duration;

use super::reader::Reader;
use super::values::duration;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{AccessList, OnEmpty, Persistence, Tracking};
use crate::source::Span;
use crate::syntax::tree::{SettingDecl, Word};
use crate::syntax::{Keyword, Often};

use mode::ModeSetting;
use scheduler::SchedulerSetting;

pub(super) mod access;
pub(super) mod mode;
pub(super) mod on_empty;
pub(super) mod persist;
pub(super) mod scheduler;
pub(super) mod track;

/// What a block says by one kind of statement.
#[derive(Debug, Clone, Default)]
pub(super) enum Setting<T> {
    /// The block has no such statement.
    #[default]
    Unsaid,
    /// Something that could not be read. It has had its fault; nothing more is said about it.
    Damaged,
    /// `off`: what a default said does not hold.
    Off,
    /// The block has the statement, with this value.
    Said(T),
}

impl<T> Setting<T> {
    /// What was read, or the damage.
    fn of(read: Option<T>) -> Self {
        read.map_or(Self::Damaged, Self::Said)
    }

    /// What was said and could be read.
    pub(super) fn said(&self) -> Option<&T> {
        match self {
            Self::Said(value) => Some(value),
            Self::Unsaid | Self::Damaged | Self::Off => None,
        }
    }

    /// Whether there is no such statement, not even one that could not be read.
    pub(super) fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }

    /// The same of something else.
    fn map<U>(self, make: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Self::Unsaid => Setting::Unsaid,
            Self::Damaged => Setting::Damaged,
            Self::Off => Setting::Off,
            Self::Said(value) => Setting::Said(make(value)),
        }
    }

    /// What holds: what the block says, and `default` where it says nothing.
    fn or(&self, default: &Self) -> Self
    where
        T: Clone,
    {
        if self.is_unsaid() { default } else { self }.clone()
    }
}

/// What a block says, statement by statement.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) mode: Setting<ModeSetting>,
    pub(super) scheduler: Setting<SchedulerSetting>,
    pub(super) persist: Setting<Persistence>,
    pub(super) track: Setting<Tracking>,
    pub(super) allow: Setting<AccessList>,
    pub(super) deny: Setting<AccessList>,
    pub(super) on_empty: Setting<OnEmpty>,
}

impl Settings {
    /// What holds in a block with these settings: where they say nothing, `defaults`.
    pub(super) fn over(&self, defaults: &Self) -> Self {
        let Self {
            mode,
            scheduler,
            persist,
            track,
            allow,
            deny,
            on_empty,
        } = self;
        Self {
            mode: mode.or(&defaults.mode),
            scheduler: scheduler.or(&defaults.scheduler),
            persist: persist.or(&defaults.persist),
            track: track.or(&defaults.track),
            allow: allow.or(&defaults.allow),
            deny: deny.or(&defaults.deny),
            on_empty: on_empty.or(&defaults.on_empty),
        }
    }
}

/// Reads the settings of one block.
#[derive(Debug, Default)]
pub(super) struct SettingsReader {
    pub(super) settings: Settings,
    /// The statements that may stand once, where they stand.
    seen: Vec<(Keyword, Span)>,
}

impl SettingsReader {
    /// Takes a setting, unless it is one too many.
    pub(super) fn take(&mut self, decl: &SettingDecl, span: Span, reader: &mut Reader<'_>) {
        if !self.is_welcome(decl.keyword(), span, reader) {
            return;
        }
        let settings = &mut self.settings;
        match decl {
            SettingDecl::Mode(decl) => {
                settings.mode = Setting::Said(mode::read(decl, span, reader));
            }
            SettingDecl::Scheduler { name, by, table } => {
                let setting = scheduler::read(*name, *by, *table, span, reader);
                settings.scheduler = Setting::Said(setting);
            }
            SettingDecl::Persist { duration, by } => {
                settings.persist = persist::read(*duration, *by, span, reader);
            }
            SettingDecl::Track { duration } => {
                settings.track = track::read(*duration, span, reader);
            }
            SettingDecl::Allow { prefixes } => access::read(prefixes, &mut settings.allow, reader),
            SettingDecl::Deny { prefixes } => access::read(prefixes, &mut settings.deny, reader),
            SettingDecl::OnEmpty { action } => {
                settings.on_empty = Setting::of(on_empty::read(*action, reader));
            }
        }
    }

    /// Whether a statement may stand after those before it.
    fn is_welcome(&mut self, keyword: Keyword, span: Span, reader: &mut Reader<'_>) -> bool {
        if keyword.often() == Often::Many {
            return true;
        }
        let Some((_, first)) = self.seen.iter().find(|(seen, _)| *seen == keyword) else {
            self.seen.push((keyword, span));
            return true;
        };
        let message = format!("`{}` is given a second time", keyword.text());
        let fault = Diagnostic::new(Code::RepeatedStatement, span, message)
            .related(*first, "first given here")
            .help("remove one of them");
        reader.report(fault);
        false
    }
}

/// A duration, or `off`.
fn duration_or_off(word: Word, reader: &mut Reader<'_>) -> Setting<Duration> {
    let read = reader.read(word, |text| match text {
        "off" => Ok(Setting::Off),
        _ => duration(text).map(Setting::Said),
    });
    read.unwrap_or(Setting::Damaged)
}

//! The statements that may stand in a service and in `defaults`.

use std::sync::Arc;
use std::time::Duration;

use super::mode::{ModeSetting, read_mode};
use super::reader::Reader;
use super::scheduler::{SchedulerSetting, read_scheduler};
use super::values::{choice, client_prefixes, duration, prefix};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{AccessEntry, AccessList, OnEmpty, Persistence, Tracking};
use crate::source::Span;
use crate::syntax::tree::{Statement, StatementDecl, Word};

/// What may be given, or undone with `off`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Switch<T> {
    On(T),
    Off,
}

/// What was said; `None` where nothing was.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) mode: Option<ModeSetting>,
    pub(super) scheduler: Option<SchedulerSetting>,
    pub(super) persist: Option<Switch<Persistence>>,
    pub(super) track: Option<Switch<Tracking>>,
    pub(super) on_empty: Option<OnEmpty>,
    pub(super) allow: Option<AccessList>,
    pub(super) deny: Option<AccessList>,
}

impl Settings {
    /// These, and where they say nothing, those.
    pub(super) fn over(self, defaults: &Self) -> Self {
        Self {
            mode: self.mode.or_else(|| defaults.mode.clone()),
            scheduler: self.scheduler.or(defaults.scheduler),
            persist: self.persist.or(defaults.persist),
            track: self.track.or(defaults.track),
            on_empty: self.on_empty.or(defaults.on_empty),
            allow: self.allow.or_else(|| defaults.allow.clone()),
            deny: self.deny.or_else(|| defaults.deny.clone()),
        }
    }
}

/// Reads the settings of one block.
#[derive(Debug, Default)]
pub(super) struct SettingsReader {
    pub(super) settings: Settings,
    /// The statements that may stand once, where they stand.
    seen: Vec<(&'static str, Span)>,
    /// A setting could not be read.
    pub(super) on_empty_damaged: bool,
}

impl SettingsReader {
    /// Takes a statement if it is a setting.
    pub(super) fn take(&mut self, decl: &StatementDecl, reader: &mut Reader<'_>) -> bool {
        match &decl.statement {
            Statement::Mode(mode) => {
                if self.is_first("mode", decl, reader) {
                    self.settings.mode = Some(read_mode(mode, decl.span, reader));
                }
            }
            Statement::Scheduler { name, by, table } => {
                if self.is_first("scheduler", decl, reader) {
                    let setting = read_scheduler(*name, *by, *table, decl.span, reader);
                    self.settings.scheduler = Some(setting);
                }
            }
            Statement::Persist { duration, by } => {
                if self.is_first("persist", decl, reader) {
                    let switch = read_persist(*duration, *by, decl.span, reader);
                    self.settings.persist = Some(switch.unwrap_or(Switch::Off));
                }
            }
            Statement::Track { duration } => {
                if self.is_first("track", decl, reader) {
                    let switch = read_switch(*duration, reader).map(|switch| match switch {
                        Switch::On(timeout) => Switch::On(Tracking {
                            timeout,
                            span: decl.span,
                        }),
                        Switch::Off => Switch::Off,
                    });
                    self.settings.track = Some(switch.unwrap_or(Switch::Off));
                }
            }
            Statement::OnEmpty { action } => {
                if self.is_first("on-empty", decl, reader) {
                    let actions = [("reject", OnEmpty::Reject), ("drop", OnEmpty::Drop)];
                    let action = reader.read(*action, |text| choice(text, "an action", &actions));
                    self.on_empty_damaged = action.is_none();
                    self.settings.on_empty = action;
                }
            }
            Statement::Allow { prefixes } => {
                let entries = read_prefixes(prefixes, reader);
                extend(&mut self.settings.allow, entries);
            }
            Statement::Deny { prefixes } => {
                let entries = read_prefixes(prefixes, reader);
                extend(&mut self.settings.deny, entries);
            }
            Statement::Vip { .. } | Statement::Pool { .. } | Statement::Server(_) => return false,
        }
        true
    }

    fn is_first(
        &mut self,
        keyword: &'static str,
        decl: &StatementDecl,
        reader: &mut Reader<'_>,
    ) -> bool {
        let Some((_, first)) = self.seen.iter().find(|(seen, _)| *seen == keyword) else {
            self.seen.push((keyword, decl.span));
            return true;
        };
        let message = format!("`{keyword}` is given a second time");
        let fault = Diagnostic::new(Code::RepeatedStatement, decl.span, message)
            .related(*first, "first given here")
            .help("remove one of them");
        reader.report(fault);
        false
    }
}

fn read_switch(word: Word, reader: &mut Reader<'_>) -> Option<Switch<Duration>> {
    reader.read(word, |text| match text {
        "off" => Ok(Switch::Off),
        _ => duration(text).map(Switch::On),
    })
}

fn read_persist(
    word: Word,
    by: Option<Word>,
    span: Span,
    reader: &mut Reader<'_>,
) -> Option<Switch<Persistence>> {
    let switch = read_switch(word, reader);
    let prefixes = match by {
        None => Some((32, 128)),
        Some(by) => reader.read(by, client_prefixes),
    };
    match (switch?, by) {
        (Switch::On(timeout), _) => {
            let (ipv4_prefix, ipv6_prefix) = prefixes?;
            Some(Switch::On(Persistence {
                timeout,
                ipv4_prefix,
                ipv6_prefix,
                span,
            }))
        }
        (Switch::Off, None) => Some(Switch::Off),
        (Switch::Off, Some(by)) => {
            let message = "`persist off` goes by nothing";
            let fault = Diagnostic::new(Code::BadStatement, by.span, message);
            reader.report(fault.help("write `persist off` alone"));
            None
        }
    }
}

/// `allow` and `deny` may be given several times.
fn extend(list: &mut Option<AccessList>, entries: Vec<AccessEntry>) {
    Arc::make_mut(list.get_or_insert_default()).extend(entries);
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

//! `service NAME { ... }`, as far as it can be read before all pools are known.

use super::claims::Claims;
use super::pool::declared_name;
use super::reader::{Reader, Value};
use super::server::read_server;
use super::statement::{Settings, SettingsReader};
use super::values::name;
use super::vip::{VipWords, read_vip};
use crate::model::{RealServer, Vip};
use crate::source::Span;
use crate::syntax::tree::{ServiceDecl, Statement, StatementDecl};

/// A service whose pools are not known yet.
#[derive(Debug)]
pub(super) struct Draft<'t, 'a> {
    pub(super) name: &'a str,
    /// The place of the service's name.
    pub(super) span: Span,
    pub(super) statements: &'t [StatementDecl],
    pub(super) vips: Vec<Vip>,
    pub(super) members: Vec<DraftMember<'a>>,
    /// What the service itself says.
    pub(super) own: Settings,
    /// What the service says, and what defaults say where it says nothing.
    pub(super) settings: Settings,
    pub(super) damage: Damage,
}

#[derive(Debug)]
pub(super) enum DraftMember<'a> {
    Pool(Value<'a>),
    Server(RealServer),
}

/// What could not be read, so that nothing can be said about what seems missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Damage {
    /// Whether any statement could not be read.
    pub(super) statement: bool,
    pub(super) vips: bool,
    pub(super) members: bool,
}

impl<'t, 'a> Draft<'t, 'a> {
    /// Reads a service, the `number`th of the file set.
    pub(super) fn read(
        decl: &'t ServiceDecl,
        number: usize,
        defaults: &Settings,
        claims: &mut Claims,
        reader: &mut Reader<'a>,
    ) -> Self {
        let mut settings = SettingsReader::default();
        let (mut vips, mut members) = (Vec::new(), Vec::new());
        let mut damage = Damage {
            statement: decl.damaged,
            vips: decl.damaged,
            members: decl.damaged,
        };
        for statement in &decl.statements {
            let span = statement.span;
            match &statement.statement {
                Statement::Vip {
                    addresses,
                    protocols,
                    ports,
                } => {
                    let words = VipWords {
                        addresses,
                        protocols,
                        ports,
                    };
                    damage.vips |= !read_vip(&words, span, number, &mut vips, claims, reader);
                }
                Statement::Pool { name: word } => match reader.read_value(*word, name) {
                    Some((_, value)) => members.push(DraftMember::Pool(value)),
                    None => damage.members = true,
                },
                Statement::Server(server) => {
                    damage.members |= !read_server(server, span, reader, |server| {
                        members.push(DraftMember::Server(server));
                    });
                }
                Statement::Setting(setting) => settings.take(setting, span, reader),
            }
        }
        Self {
            name: declared_name(decl.name, "service", reader).unwrap_or_default(),
            span: decl.name.span,
            statements: &decl.statements,
            vips,
            members,
            settings: settings.settings.over(defaults),
            own: settings.settings,
            damage,
        }
    }
}

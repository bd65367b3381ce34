//! TREE to MODEL: what the words mean, and whether it can be.
//!
//! ```text
//!  tree ──┬─ define ───▶ constants ─┐
//!         ├─ defaults ─▶ settings ──┤
//!         ├─ pool ─────▶ pools ─────┼─ assembly ─▶ model
//!         └─ service ──▶ drafts ────┘
//! ```
//!
//! Constants and defaults count from where they stand, so that one walk in file order reads all words. Pools
//! may stand after their use: services are put together when all of them are known. Every fault is reported,
//! each once; what could not be read is remembered as damage, and nothing is said about what seems missing
//! because of it.

pub use advice::advise;
pub use source_mac::require_source_macs;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, listed, quote};
use crate::model::{Access, AccessEntry, AccessList, Model, Prefix, Service};
use crate::source::Sources;
use crate::syntax::tree::{DefaultsDecl, IncludeDecl, Item, ServiceDecl, Statement, Tree};
use crate::syntax::{Home, Keyword};

use claims::Claims;
use pool::{Pools, refuse_statement};
use reader::Reader;
use server_set::ServerSet;
use service::Draft;
use statement::{Settings, SettingsReader};

mod advice;
mod assembly;
mod claims;
mod constants;
mod families;
mod forwarding;
mod habits;
mod pool;
mod reader;
mod server;
mod server_set;
mod service;
mod source_mac;
mod statement;
mod values;
mod vip;

/// A duration as a file writes it: `90s`, `1h30m`.
///
/// # Errors
///
/// What is wrong with it, in a sentence.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    values::duration(text).map_err(|wrong| match wrong.help {
        Some(help) => format!("{}; {help}", wrong.message),
        None => wrong.message,
    })
}

/// Checks a file and all that it includes, and reports every fault.
///
/// The model may be compiled only if the sink has no errors; otherwise it holds what could be read.
pub fn check(tree: &Tree, sources: &Sources, sink: &mut Diagnostics) -> Model {
    let mut walk = Walk {
        reader: Reader::new(tree, sources, sink),
        pools: Pools::default(),
        drafts: Vec::new(),
        claims: Claims::default(),
    };
    walk.items(tree, &Settings::default());
    let model = walk.finish();
    if model.services.is_empty() && sink.errors() == 0 {
        report_no_service(tree, sink);
    }
    model
}

struct Walk<'t, 'a> {
    reader: Reader<'a>,
    pools: Pools<'t>,
    drafts: Vec<Draft<'t, 'a>>,
    claims: Claims,
}

impl<'t> Walk<'t, '_> {
    /// Reads the statements of a file. Defaults go down into included files, never up.
    fn items(&mut self, tree: &'t Tree, inherited: &Settings) {
        let mut defaults = inherited.clone();
        for item in &tree.items {
            match item {
                Item::Include(decl) => {
                    if decl.matches_nothing {
                        self.report_empty_pattern(decl);
                    }
                    for tree in &decl.trees {
                        self.items(tree, &defaults);
                    }
                }
                Item::Define(decl) => self.reader.define(decl),
                Item::Defaults(decl) => defaults = self.defaults(decl).over(&defaults),
                Item::Pool(decl) => self.pools.declare(decl, &mut self.reader),
                Item::Service(decl) => self.service(decl, &defaults),
            }
        }
    }

    /// A pattern may match nothing, as before the first file is there; it may as well be a slip.
    fn report_empty_pattern(&mut self, decl: &IncludeDecl) {
        let message = format!("No file matches {}", quote(self.reader.text(decl.path)));
        let fault = Diagnostic::new(Code::EmptyPattern, decl.path.span, message);
        self.reader.report(fault.help(
            "correct the path, or take the `include` out; a relative one starts at the folder of this file",
        ));
    }

    fn defaults(&mut self, decl: &DefaultsDecl) -> Settings {
        let mut settings = SettingsReader::default();
        for statement in &decl.statements {
            match &statement.statement {
                Statement::Setting(setting) => {
                    settings.take(setting, statement.span, &mut self.reader);
                }
                Statement::Vip { .. } | Statement::Pool { .. } | Statement::Server(_) => {
                    let words = Home::Defaults.statements().map(Keyword::text);
                    let help = format!("defaults are for {}", listed(words, "and"));
                    refuse_statement(statement, "`defaults`", &help, &mut self.reader);
                }
            }
        }
        settings.settings
    }

    fn service(&mut self, decl: &'t ServiceDecl, defaults: &Settings) {
        let number = self.drafts.len();
        let draft = Draft::read(decl, number, defaults, &mut self.claims, &mut self.reader);
        self.drafts.push(draft);
    }

    fn finish(self) -> Model {
        let Self {
            mut reader,
            mut pools,
            drafts,
            claims,
        } = self;
        report_duplicates(&drafts, &mut reader);
        let is_damaged = drafts.iter().any(|draft| draft.damage.statement);
        let mut services = Vec::with_capacity(drafts.len());
        let mut set = ServerSet::default();
        for draft in drafts {
            services.push(assembly::assemble(draft, &mut pools, &mut set, &mut reader));
        }
        let names: Vec<Arc<str>> = services.iter().map(|s| Arc::clone(&s.name)).collect();
        claims.report_conflicts(&names, &mut reader);
        habits::check(&services, &pools, &mut reader);
        // What could not be read may use what seems unused.
        if !reader.gaps && !is_damaged {
            pools.report_unused(&mut reader);
            reader.report_unused_constants();
        }
        share_access_lists(&mut services);
        Model {
            pools: pools.read,
            services,
        }
    }
}

/// A file without a service removes all that is there when it is applied.
fn report_no_service(tree: &Tree, sink: &mut Diagnostics) {
    let place = tree.place();
    let message = "Nothing here is a service, so that these files make no rules";
    sink.report(Diagnostic::new(Code::NoService, place, message).help(
        "write `service www { vip 192.0.2.10 tcp 80; server 10.20.0.11:8080; }`; `flbc unload` removes what was applied",
    ));
}

/// Lists of the same prefixes are kept once, however often they are written or used.
fn share_access_lists(services: &mut [Service]) {
    let mut known: HashMap<Vec<Prefix>, AccessList> = HashMap::new();
    let mut shared: HashMap<*const Vec<AccessEntry>, AccessList> = HashMap::new();
    for service in services {
        let Access { allow, deny } = &mut service.access;
        for list in [allow, deny] {
            let one = shared.entry(Arc::as_ptr(list)).or_insert_with(|| {
                let prefixes = list.iter().map(|entry| entry.prefix).collect();
                known
                    .entry(prefixes)
                    .or_insert_with(|| list.clone())
                    .clone()
            });
            *list = one.clone();
        }
    }
}

fn report_duplicates(drafts: &[Draft<'_, '_>], reader: &mut Reader<'_>) {
    let mut first = HashMap::with_capacity(drafts.len());
    for draft in drafts.iter().filter(|draft| !draft.name.is_empty()) {
        let first = *first.entry(draft.name).or_insert(draft.span);
        if first != draft.span {
            let message = format!("There is a second service {}", quote(draft.name));
            let fault = Diagnostic::new(Code::DuplicateService, draft.span, message)
                .related(first, "the first");
            reader.report(fault.help("give it another name, or put its VIPs into the first"));
        }
    }
}

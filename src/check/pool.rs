//! `pool NAME { server ... }`.

use std::collections::HashMap;
use std::sync::Arc;

use super::reader::Reader;
use super::server::read_server;
use super::server_set::ServerSet;
use super::values::name;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{Member, Pool, PoolId, RealServer, Service};
use crate::syntax::tree::{PoolDecl, Statement, StatementDecl, Word, WordKind};

/// The pools read so far.
#[derive(Debug, Default)]
pub(super) struct Pools<'t> {
    pub(super) read: Vec<Pool>,
    facts: Vec<PoolFacts<'t>>,
    by_name: HashMap<Arc<str>, PoolId>,
}

/// What a service that uses a pool has to know of it.
#[derive(Debug)]
pub(super) struct PoolFacts<'t> {
    pub(super) statements: &'t [StatementDecl],
    /// A server could not be read, so what seems missing may stand there.
    pub(super) damaged: bool,
    used: bool,
}

impl<'t> Pools<'t> {
    /// Reads a pool.
    pub(super) fn declare(&mut self, decl: &'t PoolDecl, reader: &mut Reader<'_>) {
        let mut damaged = decl.damaged;
        let mut real_servers = Vec::new();
        for statement in &decl.statements {
            if let Statement::Server(server) = &statement.statement {
                let span = statement.span;
                damaged |= !read_server(server, span, reader, |server| real_servers.push(server));
            } else {
                refuse_statement(
                    statement,
                    "a pool",
                    "a pool holds `server` statements",
                    reader,
                );
                damaged = true;
            }
        }
        let mut set = ServerSet::default();
        for server in &real_servers {
            set.add(server, reader);
        }
        let Some(name) = declared_name(decl.name, "pool", reader) else {
            reader.gaps = true;
            return;
        };
        if real_servers.is_empty() && !damaged {
            let message = format!("The pool {} has no server", quote(name));
            let fault = Diagnostic::new(Code::NoServer, decl.name.span, message);
            reader.report(fault.help("write `server ADDR` in it, for each server"));
            damaged = true;
        }
        let name: Arc<str> = name.into();
        if let Some(first) = self.find(&name) {
            let message = format!("There is a second pool {}", quote(&name));
            let mut fault = Diagnostic::new(Code::DuplicatePool, decl.name.span, message);
            if let Some(first) = self.read.get(first.0) {
                fault = fault.related(first.span, "the first");
            }
            reader.report(fault.help("give it another name, or put its servers into the first"));
        } else {
            let id = PoolId(self.read.len());
            self.by_name.insert(Arc::clone(&name), id);
            self.read.push(Pool {
                name,
                span: decl.name.span,
                real_servers,
            });
            self.facts.push(PoolFacts {
                statements: &decl.statements,
                damaged,
                used: false,
            });
        }
    }

    /// The pool of a name.
    pub(super) fn find(&self, name: &str) -> Option<PoolId> {
        self.by_name.get(name).copied()
    }

    /// The pool of a name, which is used from now on.
    pub(super) fn find_used(&mut self, name: &str) -> Option<PoolId> {
        let id = self.find(name)?;
        if let Some(facts) = self.facts.get_mut(id.0) {
            facts.used = true;
        }
        Some(id)
    }

    /// What is known of a pool.
    pub(super) fn facts(&self, id: PoolId) -> Option<&PoolFacts<'t>> {
        self.facts.get(id.0)
    }

    /// The servers of a service that is not in a model yet.
    pub(super) fn servers_of<'s>(
        &'s self,
        service: &'s Service,
    ) -> impl Iterator<Item = &'s RealServer> {
        service.members.iter().flat_map(|member| match member {
            Member::Pool(id) => self
                .read
                .get(id.0)
                .map_or(&[][..], |pool| &pool.real_servers),
            Member::Server(server) => std::slice::from_ref(server),
        })
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.read.iter().map(|pool| &*pool.name)
    }

    /// Warns of the pools that no service uses.
    pub(super) fn report_unused(&self, reader: &mut Reader<'_>) {
        for (pool, facts) in self.read.iter().zip(&self.facts) {
            if !facts.used {
                let message = format!("No service uses the pool {}", quote(&pool.name));
                let fault = Diagnostic::new(Code::UnusedPool, pool.span, message);
                reader.report(fault.help(format!("write `pool {}` in a service", pool.name)));
            }
        }
    }
}

/// The name of a pool or a service.
pub(super) fn declared_name<'a>(
    word: Word,
    what: &str,
    reader: &mut Reader<'a>,
) -> Option<&'a str> {
    let text = reader.text(word);
    if word.kind == WordKind::Constant {
        let message = format!("The name of a {what} cannot be a constant");
        reader.report(
            Diagnostic::new(Code::BadName, word.span, message).help("write the name itself"),
        );
        return None;
    }
    match name(text) {
        Ok(name) => Some(name),
        Err(wrong) => {
            let mut fault = Diagnostic::new(wrong.code, word.span, wrong.message);
            fault.help = wrong.help;
            reader.report(fault);
            None
        }
    }
}

/// Refuses a statement that cannot stand in a block.
pub(super) fn refuse_statement(
    decl: &StatementDecl,
    block: &str,
    help: &str,
    reader: &mut Reader<'_>,
) {
    let keyword = decl.statement.keyword().text();
    let message = format!("`{keyword}` cannot stand in {block}");
    let fault = Diagnostic::new(Code::MisplacedStatement, decl.keyword, message);
    reader.report(fault.help(help));
}

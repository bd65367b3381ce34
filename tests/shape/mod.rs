//! What a tree says, without where it says so: two files mean the same if their shapes are equal.

use std::fmt::Write as _;

use flbc::source::{Sources, Span};
use flbc::syntax::SCHEDULER_ALIASES;
use flbc::syntax::tree::{
    Item, ModeDecl, ServerOption, SettingDecl, Statement, StatementDecl, Tree, ViaDecl, Word,
};

/// One line for each statement, aliases spelled out.
pub(crate) fn shape(tree: &Tree, sources: &Sources) -> String {
    let mut out = String::new();
    let words = Words(sources);
    for item in &tree.items {
        let (header, statements): (String, &[StatementDecl]) = match item {
            Item::Include(include) => {
                let _ = writeln!(out, "include {}", words.one(include.path));
                for tree in &include.trees {
                    out += "(\n";
                    out += &shape(tree, sources);
                    out += ")\n";
                }
                continue;
            }
            Item::Define(define) => {
                let (name, values) = (words.one(define.name), words.list(&define.values));
                let _ = writeln!(out, "define {name} = {values}");
                continue;
            }
            Item::Defaults(block) => ("defaults".into(), &block.statements),
            Item::Pool(block) => (format!("pool {}", words.one(block.name)), &block.statements),
            Item::Service(block) => (
                format!("service {}", words.one(block.name)),
                &block.statements,
            ),
        };
        let _ = writeln!(out, "{header} {{");
        for statement in statements {
            let _ = writeln!(out, "    {}", words.statement(&statement.statement));
        }
        out += "}\n";
    }
    out
}

struct Words<'s>(&'s Sources);

impl Words<'_> {
    fn one(&self, word: Word) -> String {
        format!("{:?}:{}", word.kind, self.0.text(word.span))
    }

    fn list(&self, list: &[Word]) -> String {
        let words: Vec<_> = list.iter().map(|word| self.one(*word)).collect();
        words.join(" + ")
    }

    fn optional(&self, what: &str, word: Option<Word>) -> String {
        word.map_or(String::new(), |word| format!(" {what}={}", self.one(word)))
    }

    fn keyword(&self, span: Span, keyword: &str) -> String {
        assert_eq!(self.0.text(span), keyword);
        format!(" {keyword}")
    }

    fn via(&self, via: ViaDecl) -> String {
        format!(
            " via={}{}",
            self.one(via.interface),
            self.optional("from", via.from)
        )
    }

    fn statement(&self, statement: &Statement) -> String {
        match statement {
            Statement::Vip {
                addresses,
                protocols,
                ports,
            } => format!(
                "vip [{}] [{}] [{}]",
                self.list(addresses),
                self.list(protocols),
                self.list(ports)
            ),
            Statement::Setting(setting) => self.setting(setting),
            Statement::Pool { name } => format!("pool {}", self.one(*name)),
            Statement::Server(server) => {
                let mut out = format!(
                    "server{} {}",
                    self.optional("name", server.name),
                    self.one(server.address)
                );
                for option in &server.options {
                    out += &match option {
                        ServerOption::Weight(number) => self.optional("weight", Some(*number)),
                        ServerOption::Mac(mac) => self.optional("mac", Some(*mac)),
                        ServerOption::Via(via) => self.via(*via),
                        ServerOption::Drain(span) => self.keyword(*span, "drain"),
                        ServerOption::Down(span) => self.keyword(*span, "down"),
                        ServerOption::Backup(span) => self.keyword(*span, "backup"),
                    };
                }
                out
            }
        }
    }

    fn setting(&self, setting: &SettingDecl) -> String {
        match setting {
            SettingDecl::Mode(ModeDecl::Nat) => "mode nat".into(),
            SettingDecl::Mode(ModeDecl::Masquerade) => "mode masquerade".into(),
            SettingDecl::Mode(ModeDecl::Snat { addresses }) => {
                format!("mode snat [{}]", self.list(addresses))
            }
            SettingDecl::Mode(ModeDecl::Dr { on, via }) => format!(
                "mode dr [{}]{}",
                self.list(on),
                via.map_or(String::new(), |via| self.via(via))
            ),
            SettingDecl::Scheduler { name, by, table } => {
                let mut aliases = SCHEDULER_ALIASES.iter();
                let alias = aliases.find(|(alias, ..)| *alias == self.0.text(name.span));
                let (alias, key) = match alias {
                    Some((_, meant, key)) => (format!("Bare:{meant}"), *key),
                    None => (self.one(*name), None),
                };
                let key = match (by, key) {
                    (None, Some(key)) => format!(" by=Bare:{key}"),
                    _ => self.optional("by", *by),
                };
                format!("scheduler {alias}{key}{}", self.optional("table", *table))
            }
            SettingDecl::Persist { duration, by } => format!(
                "persist {}{}",
                self.one(*duration),
                self.optional("by", *by)
            ),
            SettingDecl::Track { duration } => format!("track {}", self.one(*duration)),
            SettingDecl::OnEmpty { action } => format!("on-empty {}", self.one(*action)),
            SettingDecl::Allow { prefixes } => format!("allow [{}]", self.list(prefixes)),
            SettingDecl::Deny { prefixes } => format!("deny [{}]", self.list(prefixes)),
        }
    }
}

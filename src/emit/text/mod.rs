//! nft's own language, for `nft -f`.
//!
//! Rules come before elements: each rule that is added later to a map checks all that is already in it.
//! `# FILE:LINE` leads to the source; it stays out of the kernel, where it would grow stale.

use std::fmt::{self, Write as _};
use std::io;

use crate::diagnostic::is_treacherous;
use crate::ruleset::{Chain, Data, Element, Key, Rule, Ruleset, Table};
use crate::source::{Sources, Span};

mod parts;

use parts::{Declaration, ElementText, HookText, StatementText};

/// How many ranges one command may add: beyond some 800, nft 1.0.6 says `File exists` of elements that do not.
const RANGES_A_COMMAND: usize = 500;

/// How many elements of one origin stand on a line.
const ELEMENTS_A_LINE: usize = 4;

/// Writes the ruleset as a file for `nft -f`, which replaces both tables as one transaction and touches no
/// other.
///
/// # Errors
///
/// Those of `to`.
pub fn text(ruleset: &Ruleset, sources: &Sources, to: &mut dyn io::Write) -> io::Result<()> {
    let files = sources.files().map(|file| one_line(&file.name)).collect();
    let emitter = Emitter {
        sources,
        files,
        table: &ruleset.table,
    };
    let mut out = Page {
        text: String::with_capacity(2 * PAGE),
        to,
    };
    emitter.ruleset(ruleset, &mut out)?;
    out.to.write_all(out.text.as_bytes())
}

/// How much text is gathered before it is written.
const PAGE: usize = 64 << 10;

/// Text on its way: rules of ten thousand services need not lie in memory twice.
struct Page<'w> {
    text: String,
    to: &'w mut dyn io::Write,
}

impl Page<'_> {
    /// Adds to the text. Writing to a String cannot fail.
    fn add(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(text);
    }

    /// Hands on what has gathered.
    fn turn(&mut self) -> io::Result<()> {
        if self.text.len() >= PAGE {
            self.to.write_all(self.text.as_bytes())?;
            self.text.clear();
        }
        Ok(())
    }
}

/// A path may hold anything: a line end in it must not end the comment that it stands in, nor may a terminal obey it.
fn one_line(name: &str) -> String {
    name.replace(is_treacherous, "?")
}

struct Emitter<'a> {
    sources: &'a Sources,
    /// The names of the files, fit for a comment, in their order.
    files: Vec<String>,
    table: &'a str,
}

impl Emitter<'_> {
    fn ruleset(&self, ruleset: &Ruleset, out: &mut Page<'_>) -> io::Result<()> {
        out.add(format_args!(
            "# Made by flbc {}. Replaces its own two tables, whole and at once.\n",
            env!("CARGO_PKG_VERSION")
        ));
        let tables = [("inet", &ruleset.inet), ("netdev", &ruleset.netdev)];
        for (family, _) in tables {
            // `add` first, as `delete` fails where there is nothing to delete.
            let table = self.table;
            out.add(format_args!(
                "add table {family} {table}\ndelete table {family} {table}\n"
            ));
        }
        for (family, table) in tables {
            if let Some(table) = table {
                self.table(family, table, out)?;
            }
        }
        Ok(())
    }

    fn table(&self, family: &str, table: &Table, out: &mut Page<'_>) -> io::Result<()> {
        out.add(format_args!("\ntable {family} {} {{\n", self.table));
        let mut purpose = "";
        for set in &table.sets {
            // Neighbours that differ in family alone share a line of comment.
            if set.purpose != purpose {
                purpose = set.purpose;
                out.add(format_args!("    # {purpose}\n"));
            }
            out.add(format_args!("    {}\n", Declaration(set)));
        }
        for chain in &table.chains {
            out.add(format_args!("\n"));
            self.chain(chain, out);
            out.turn()?;
        }
        out.add(format_args!("}}\n"));
        for set in &table.sets {
            let most = if set.interval {
                RANGES_A_COMMAND
            } else {
                usize::MAX
            };
            for elements in set.elements.chunks(most) {
                let (table, name) = (self.table, &set.name);
                out.add(format_args!("\nadd element {family} {table} {name} {{\n"));
                self.elements(elements, out)?;
                out.add(format_args!("}}\n"));
            }
        }
        Ok(())
    }

    fn chain(&self, chain: &Chain, out: &mut Page<'_>) {
        if !chain.purpose.is_empty() {
            out.add(format_args!("    # {}\n", chain.purpose));
        }
        out.add(format_args!("    chain {} {{\n", chain.name));
        if let Some(hook) = &chain.hook {
            out.add(format_args!("        {}\n", HookText(hook)));
        }
        for rule in &chain.rules {
            self.rule(rule, out);
        }
        out.add(format_args!("    }}\n"));
    }

    fn rule(&self, rule: &Rule, out: &mut Page<'_>) {
        out.add(format_args!("       "));
        for statement in &rule.statements {
            out.add(format_args!(" {}", StatementText(statement)));
        }
        if let Some(origin) = rule.origin {
            self.origin(origin, out);
        }
        out.add(format_args!("\n"));
    }

    /// Elements that stand for a line of the source end in its place; those that only hold what belongs to a
    /// server's number do not, as the set of servers tells whose number it is.
    fn elements(&self, elements: &[Element], out: &mut Page<'_>) -> io::Result<()> {
        let together =
            |a: &Element, b: &Element| !traced(b) || (a.origin == b.origin && b.comment.is_none());
        for group in elements.chunk_by(together) {
            for (at, line) in group.chunks(ELEMENTS_A_LINE).enumerate() {
                out.add(format_args!("   "));
                for element in line {
                    out.add(format_args!(" {},", ElementText(element)));
                }
                if at == 0
                    && let Some(first) = line.first()
                    && traced(first)
                {
                    self.origin(first.origin, out);
                }
                out.add(format_args!("\n"));
                out.turn()?;
            }
        }
        Ok(())
    }

    fn origin(&self, origin: Span, out: &mut Page<'_>) {
        let line = self.sources.file(origin.file).line_index(origin.start) + 1;
        let name = self.files.get(origin.file.index());
        out.add(format_args!(
            " # {}:{line}",
            name.map_or("", String::as_str)
        ));
    }
}

/// Whether an element's place in the source is worth a comment: it names a server, a VIP, or a block of slots.
fn traced(element: &Element) -> bool {
    element.comment.is_some()
        || matches!(
            element.key,
            Key::Vip(..) | Key::AddressPorts(..) | Key::AddressMark(..)
        )
        || matches!(element.data, Some(Data::Mark(_)))
}

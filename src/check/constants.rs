//! `define` and `$NAME`.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::values::name;
use crate::diagnostic::{Code, Diagnostic, nearest, quote};
use crate::source::{Sources, Span};
use crate::syntax::tree::{DefineDecl, Item, Tree, WordKind};

/// The values of a constant, lists in lists flattened, each with the place where it was written.
pub(super) type List<'a> = Rc<[(&'a str, Span)]>;

/// How many values all constants together may hold: lists of lists grow fast.
const MOST_VALUES: usize = 1_000_000;

#[derive(Debug)]
struct Constant<'a> {
    name: Span,
    /// The constant's values; `None` where a fault in them has been reported.
    values: Option<List<'a>>,
    used: bool,
}

/// The constants defined so far.
#[derive(Debug, Default)]
pub(super) struct Constants<'a> {
    defined: HashMap<&'a str, Constant<'a>>,
    /// Where each name is defined anywhere, first: to tell "too late" from "never".
    anywhere: HashMap<&'a str, Span>,
    /// Constants that were used before their `define`.
    early: HashSet<&'a str>,
    held: usize,
}

impl<'a> Constants<'a> {
    /// Notes which names are defined anywhere, and returns whether a file has parts that could not be read.
    pub(super) fn look_ahead(&mut self, tree: &Tree, sources: &'a Sources) -> bool {
        let mut damaged = tree.damaged;
        for item in &tree.items {
            match item {
                Item::Define(decl) => {
                    let text = sources.text(decl.name.span);
                    self.anywhere.entry(text).or_insert(decl.name.span);
                }
                Item::Include(decl) => {
                    for tree in &decl.trees {
                        damaged |= self.look_ahead(tree, sources);
                    }
                }
                Item::Defaults(_) | Item::Pool(_) | Item::Service(_) => {}
            }
        }
        damaged
    }

    /// Adds a constant. Its values are `None` if some could not be read.
    pub(super) fn define(
        &mut self,
        text: &'a str,
        decl: &DefineDecl,
        values: Option<List<'a>>,
    ) -> Result<(), Box<Diagnostic>> {
        let span = decl.name.span;
        let fault = |code, message: String| Diagnostic::new(code, span, message);
        if decl.name.kind == WordKind::Constant {
            let fault = fault(
                Code::BadName,
                format!("{} is defined without the `$`", quote(text)),
            );
            // It is plain what was meant: nothing is to be said about its uses.
            self.defined.entry(text).or_insert(Constant {
                name: span,
                values: None,
                used: true,
            });
            return Err(Box::new(fault.help(format!(
                "write {text}; the `$` stands only where the constant is used"
            ))));
        }
        if let Err(wrong) = name(text) {
            let mut fault = fault(wrong.code, wrong.message);
            fault.help = wrong.help;
            return Err(Box::new(fault));
        }
        if let Some(first) = self.defined.get(text) {
            let fault = fault(
                Code::RedefinedConstant,
                format!("{} is defined a second time", quote(&format!("${text}"))),
            );
            return Err(Box::new(
                fault
                    .related(first.name, "first defined here")
                    .help("a constant has one value in all files: give this one another name"),
            ));
        }
        let count = values.as_ref().map_or(0, |list| list.len());
        let fits = self.held + count <= MOST_VALUES;
        self.held += if fits { count } else { 0 };
        let constant = Constant {
            name: span,
            values: values.filter(|_| fits),
            used: self.early.contains(text),
        };
        self.defined.insert(text, constant);
        if fits {
            return Ok(());
        }
        let message = format!("All constants together hold more than {MOST_VALUES} values");
        Err(Box::new(fault(Code::ListTooLong, message)))
    }

    /// The values of a constant, and where it was defined; `None` if a fault has been reported about it, or if
    /// it may be defined in what could not be read.
    pub(super) fn look_up(
        &mut self,
        text: &'a str,
        span: Span,
        gaps: bool,
    ) -> Result<Option<(Span, List<'a>)>, Box<Diagnostic>> {
        if let Some(constant) = self.defined.get_mut(text) {
            constant.used = true;
            let values = constant.values.clone();
            return Ok(values.map(|values| (constant.name, values)));
        }
        let shown = quote(&format!("${text}"));
        let fault = |message| Diagnostic::new(Code::UndefinedConstant, span, message);
        if let Some(later) = self.anywhere.get(text) {
            self.early.insert(text);
            let fault = fault(format!("{shown} is used before it is defined"))
                .related(*later, "defined here")
                .help("move the `define` above its first use");
            return Err(Box::new(fault));
        }
        if gaps {
            return Ok(None);
        }
        let fault = fault(format!("{shown} is defined nowhere"));
        let help = self.help_for(text);
        Err(Box::new(fault.help(help)))
    }

    /// What to write instead of a name that is defined nowhere.
    fn help_for(&mut self, text: &str) -> String {
        let constant = text.split([':', '/', '[', '$']).next().unwrap_or_default();
        if let Some(meant) = self.defined.get_mut(constant) {
            meant.used = true;
            return format!(
                "a constant stands for a whole value: define one for all of {}",
                quote(&format!("${text}"))
            );
        }
        if let Some(near) = nearest(text, self.defined.keys().copied()) {
            // One slip, one fault.
            if let Some(meant) = self.defined.get_mut(near) {
                meant.used = true;
            }
            return format!("did you mean `${near}`?");
        }
        match name(text) {
            Ok(text) => format!("write `define {text} = VALUE` above"),
            Err(wrong) => wrong.help.unwrap_or_default(),
        }
    }

    /// A warning for each constant that nothing uses.
    pub(super) fn unused(&self) -> Vec<Diagnostic> {
        let unused = self.defined.iter().filter(|(_, constant)| !constant.used);
        let mut unused: Vec<_> = unused
            .map(|(text, constant)| {
                let message = format!("Nothing uses {}", quote(&format!("${text}")));
                Diagnostic::new(Code::UnusedConstant, constant.name, message)
            })
            .collect();
        unused.sort_by_key(|fault| fault.span);
        unused
    }
}

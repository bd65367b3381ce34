//! From words to values: constants replaced, faults reported where the word stands.

use std::collections::HashSet;

use super::constants::Constants;
use super::values::Wrong;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, quote};
use crate::source::{Sources, Span};
use crate::syntax::tree::{DefineDecl, Tree, Word, WordKind};

/// One value, with the words that gave it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    /// The text, without quotes.
    pub(super) text: &'a str,
    /// The place where the value was written, be it in a `define`.
    pub(super) written: Span,
    /// Where the constant that holds it was used.
    pub(super) used: Option<Span>,
}

impl Value<'_> {
    /// The word in the statement itself.
    pub(super) fn place(self) -> Span {
        self.used.unwrap_or(self.written)
    }
}

/// A list of values, perhaps without those that could not be read.
#[derive(Debug)]
pub(super) struct Values<'a, T = ()> {
    /// The values, each with its words.
    pub(super) values: Vec<(T, Value<'a>)>,
    /// Some could not be read; a fault has said so.
    pub(super) damaged: bool,
}

/// Reads words, and reports their faults.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    sink: &'a mut Diagnostics,
    constants: Constants<'a>,
    /// What was reported about words that count more than once.
    reported: HashSet<(Code, Span)>,
    /// Something could not be read, so what seems undefined may be defined there.
    pub(super) gaps: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(tree: &Tree, sources: &'a Sources, sink: &'a mut Diagnostics) -> Self {
        let mut reader = Self {
            sources,
            sink,
            constants: Constants::default(),
            reported: HashSet::new(),
            gaps: false,
        };
        reader.gaps = reader.constants.look_ahead(tree, sources);
        reader
    }

    /// The text of a word, without quotes.
    pub(super) fn text(&self, word: Word) -> &'a str {
        let text = self.sources.text(word.span);
        match word.kind {
            WordKind::Bare => text,
            WordKind::Constant => text.strip_prefix('$').unwrap_or(text),
            WordKind::Quoted => {
                let open = text.strip_prefix('"').unwrap_or(text);
                open.strip_suffix('"').unwrap_or(open)
            }
        }
    }

    /// What stands at a place.
    pub(super) fn source(&self, span: Span) -> &'a str {
        self.sources.text(span)
    }

    /// Reports a fault.
    pub(super) fn report(&mut self, fault: Diagnostic) {
        self.sink.report(fault);
    }

    /// Reports a fault unless one of the same kind has been reported at the same place: for what several
    /// services share.
    pub(super) fn report_once(&mut self, fault: Diagnostic) {
        if fault
            .span
            .is_none_or(|span| self.reported.insert((fault.code, span)))
        {
            self.sink.report(fault);
        }
    }

    /// Reports what is wrong with a value.
    pub(super) fn refuse(&mut self, value: Value<'_>, wrong: Wrong) {
        let mut fault = Diagnostic::new(wrong.code, value.written, wrong.message);
        fault.help = wrong.help;
        match value.used {
            None => self.report(fault),
            Some(used) => self.report_once(fault.related(used, "used here")),
        }
    }

    /// The one value of a word.
    pub(super) fn one(&mut self, word: Word) -> Option<Value<'a>> {
        let text = self.text(word);
        if word.kind != WordKind::Constant {
            return Some(Value {
                text,
                written: word.span,
                used: None,
            });
        }
        let (defined, values) = self.look_up(text, word.span)?;
        if let [(text, written)] = &*values {
            return Some(Value {
                text,
                written: *written,
                used: Some(word.span),
            });
        }
        let message = format!(
            "{} holds {} values, and one value stands here",
            quote(self.sources.text(word.span)),
            values.len()
        );
        let fault = Diagnostic::new(Code::ListForOne, word.span, message)
            .related(defined, "defined here")
            .help("write the value itself, or define a constant that holds one");
        self.report(fault);
        None
    }

    /// The values of some words, the lists that constants hold flattened.
    fn all(&mut self, words: &[Word]) -> Values<'a> {
        let mut values = Vec::with_capacity(words.len());
        let mut damaged = false;
        for word in words {
            let text = self.text(*word);
            if word.kind != WordKind::Constant {
                let value = Value {
                    text,
                    written: word.span,
                    used: None,
                };
                values.push(((), value));
            } else if let Some((_, held)) = self.look_up(text, word.span) {
                values.extend(held.iter().map(|(text, written)| {
                    let value = Value {
                        text,
                        written: *written,
                        used: Some(word.span),
                    };
                    ((), value)
                }));
            } else {
                damaged = true;
            }
        }
        Values { values, damaged }
    }

    /// Reads one word.
    pub(super) fn read<T>(
        &mut self,
        word: Word,
        parse: impl FnOnce(&'a str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.read_value(word, parse).map(|(read, _)| read)
    }

    /// Reads one word, and says which it was.
    pub(super) fn read_value<T>(
        &mut self,
        word: Word,
        parse: impl FnOnce(&'a str) -> Result<T, Wrong>,
    ) -> Option<(T, Value<'a>)> {
        let value = self.one(word)?;
        match parse(value.text) {
            Ok(read) => Some((read, value)),
            Err(wrong) => {
                self.refuse(value, wrong);
                None
            }
        }
    }

    /// Reads a list of words.
    pub(super) fn read_all<T>(
        &mut self,
        words: &[Word],
        parse: impl Fn(&'a str) -> Result<T, Wrong>,
    ) -> Values<'a, T> {
        let Values {
            values,
            mut damaged,
        } = self.all(words);
        let mut read = Vec::with_capacity(values.len());
        for ((), value) in values {
            match parse(value.text) {
                Ok(good) => read.push((good, value)),
                Err(wrong) => {
                    self.refuse(value, wrong);
                    damaged = true;
                }
            }
        }
        Values {
            values: read,
            damaged,
        }
    }

    /// Takes a `define`.
    pub(super) fn define(&mut self, decl: &DefineDecl) {
        let Values { values, damaged } = self.all(&decl.values);
        let name = self.text(decl.name);
        let values = values
            .into_iter()
            .map(|((), value)| (value.text, value.written));
        let values = if damaged {
            None
        } else {
            Some(values.collect())
        };
        let defined = self.constants.define(name, decl, values);
        if let Err(fault) = defined {
            self.report(*fault);
        }
    }

    /// Warns of the constants that nothing uses.
    pub(super) fn report_unused_constants(&mut self) {
        for fault in self.constants.unused() {
            self.sink.report(fault);
        }
    }

    fn look_up(&mut self, name: &'a str, span: Span) -> Option<(Span, super::constants::List<'a>)> {
        match self.constants.look_up(name, span, self.gaps) {
            Ok(found) => found,
            Err(fault) => {
                self.report(*fault);
                None
            }
        }
    }
}

//! Telling the operator.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use super::{Color, Exit};
use crate::apply::Failure;
use crate::diagnostic::render::{Options, human};
use crate::diagnostic::{Diagnostics, escape, escape_lines, reason};
use crate::emit::netlink::MissingInterface;
use crate::kernel::KernelError;
use crate::model::Model;
use crate::operate::Refused;
use crate::source::{MAX_FILE_BYTES, Sources};
use crate::syntax::{Input, interface_named};

/// How to tell.
pub(super) struct Report {
    options: Options,
}

impl Report {
    pub(super) fn new(color: Color) -> Self {
        let terminal = io::stderr().is_terminal();
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
                terminal && !unwanted && obeys()
            }
        };
        Self {
            options: Options {
                color,
                // A log file or a pager may not be able to show frames.
                unicode: terminal && locale_is_utf8(),
                width: terminal.then(terminal_width).flatten(),
            },
        }
    }

    /// How faults look.
    pub(super) const fn options(&self) -> Options {
        self.options
    }

    /// What a command's FILE names: `-` is standard input, read here to its end.
    pub(super) fn input(file: &Path) -> io::Result<Input> {
        if file != Path::new("-") {
            return Ok(Input::Path(file.to_path_buf()));
        }
        let mut bytes = Vec::new();
        // One byte more than is allowed, so that too much is noticed as with a file.
        let mut limited = io::stdin().lock().take(MAX_FILE_BYTES + 1);
        limited.read_to_end(&mut bytes)?;
        Ok(Input::Stdin(bytes))
    }

    /// The model of a file without errors; its warnings stay in `sink`. Else its faults are told.
    pub(super) fn model(
        &self,
        file: &Path,
        sources: &mut Sources,
        sink: &mut Diagnostics,
    ) -> Result<Model, Exit> {
        let input = Self::input(file).map_err(|error| Self::unread(&error))?;
        crate::read(input, sources, sink).ok_or_else(|| {
            self.human(sink, sources);
            Exit::Bad
        })
    }

    /// Refuses to apply a model without any service, unless that is allowed: it would remove all that is there, and is rarely meant.
    pub(super) fn refuse_empty(
        &self,
        model: &Model,
        is_allowed: bool,
        (sink, sources): (&Diagnostics, &Sources),
        file: &Path,
    ) -> Option<Exit> {
        if is_allowed || !model.services.is_empty() {
            return None;
        }
        self.human(sink, sources);
        let file = if file == Path::new("-") {
            "standard input".into()
        } else {
            file.to_string_lossy()
        };
        Some(Self::failure(&format!(
            "{} yields no service, and applying it would remove all that is there; `flbc unload` does that, `--allow-empty` applies it all the same",
            escape(&file)
        )))
    }

    /// Writes faults to standard error, if there are any.
    pub(super) fn human(&self, sink: &Diagnostics, sources: &Sources) {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = human(sink, sources, self.options, &mut text);
        Self::print(&text);
    }

    /// Tells why it was not done: what has a place in a file among the file's other faults.
    pub(super) fn refused(
        &self,
        refused: &Refused,
        mut sink: Diagnostics,
        sources: &Sources,
    ) -> Exit {
        let sentence = if let Refused::Failed(Failure::Interfaces(missing)) = refused {
            Failure::Interfaces(where_named(missing, sources)).report(&mut sink)
        } else {
            refused.report(&mut sink)
        };
        self.human(&sink, sources);
        if let Some(sentence) = sentence {
            Self::failure(&sentence);
        }
        refused.exit()
    }

    /// Says something that the operator should know, sentence by sentence.
    pub(super) fn warnings(sentences: &[String]) {
        for sentence in sentences {
            Self::warning(sentence);
        }
    }

    /// Says that something went wrong that has no place in a source file.
    pub(super) fn failure(message: &str) -> Exit {
        Self::print(&format!("error: {}\n", escape_lines(message)));
        Exit::Bad
    }

    /// Says that the kernel did not do what it was asked for.
    pub(super) fn kernel(error: &KernelError) -> Exit {
        Self::failure(&error.to_string());
        error.exit()
    }

    /// Says something that the operator should know.
    pub(super) fn warning(sentence: &str) {
        Self::print(&format!("warning: {}\n", escape(sentence)));
    }

    /// Standard input that cannot be read.
    pub(super) fn unread(error: &io::Error) -> Exit {
        Self::failure(&format!("cannot read standard input: {}", reason(error)))
    }

    /// The exit status after writing to `place`, and the message if that failed.
    pub(super) fn written(result: io::Result<()>, place: &str) -> Exit {
        match result {
            Ok(()) => Exit::Fine,
            Err(error) => {
                // Behind it stand the error's number and the temporary file.
                Self::failure(&format!(
                    "cannot write {}: {}",
                    escape(place),
                    escape(&reason(&error))
                ))
            }
        }
    }

    /// Writes to standard error as it is. What a terminal would obey must be in nothing but colours.
    pub(super) fn print(text: &str) {
        // There is nobody to tell that standard error is closed.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Whether terminals here obey what moves the cursor and colours text.
pub(super) fn obeys() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The interfaces that are missing, each at the word that names it first rather than at what rules were made from.
pub(super) fn where_named(
    missing: &[MissingInterface],
    sources: &Sources,
) -> Vec<MissingInterface> {
    let named = missing.iter().cloned();
    let located = named.map(|interface| MissingInterface {
        origin: interface_named(&interface.name, sources).or(interface.origin),
        ..interface
    });
    located.collect()
}

/// The width of the terminal behind standard error.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Whether the terminal is set to UTF-8, as the C library decides it.
fn locale_is_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

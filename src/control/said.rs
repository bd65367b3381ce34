//! What a command says, made where it was done and printed where it was asked for.

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Exit, escape, escape_lines};

/// All that a command says, and how it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// For standard output; nothing in it means anything to a terminal.
    pub out: String,
    /// For standard error; nothing in it means anything to a terminal, but for colours that were asked for.
    pub err: String,
    /// The exit status.
    pub exit: u8,
}

impl Said {
    /// Says something on standard output.
    pub fn say(&mut self, text: &str) {
        self.out.push_str(&escape_lines(text));
    }

    /// Says text on standard error that is safe already.
    pub fn show(&mut self, text: &str) {
        self.err.push_str(text);
    }

    /// Says something that the operator should know.
    pub fn warn(&mut self, sentence: &str) {
        self.err.push_str(&warning_line(sentence));
    }

    /// Says why it was not done.
    pub fn fail(&mut self, message: &str) {
        self.err.push_str(&error_line(message));
    }

    /// How the run is to end.
    pub const fn end(&mut self, exit: Exit) {
        self.exit = exit as u8;
    }

    /// How the run ends.
    pub const fn exit(&self) -> Exit {
        match self.exit {
            0 => Exit::Fine,
            1 => Exit::Differs,
            3 => Exit::Refused,
            4 => Exit::Unprivileged,
            5 => Exit::Busy,
            6 => Exit::InPart,
            _ => Exit::Bad,
        }
    }
}

/// Something that an operator should know, as a line.
pub(super) fn warning_line(sentence: &str) -> String {
    format!("warning: {}\n", escape(sentence))
}

/// Something that went wrong and has no place in a file, as lines.
pub(super) fn error_line(message: &str) -> String {
    format!("error: {}\n", escape_lines(message))
}

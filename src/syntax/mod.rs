//! Text to tree, and back.

pub mod tree;

mod arguments;
mod blocks;
mod characters;
mod explain;
mod format;
mod grammar;
mod include;
mod parse;
mod program;
mod statement;
mod vocabulary;
mod word;

pub use format::format;
pub use parse::parse;
pub use program::{Input, parse_program, read_file};
pub use vocabulary::{Home, Keyword, Often, OptionWord, SCHEDULER_ALIASES};

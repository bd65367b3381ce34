//! Text to tree, and back.

pub mod tree;

mod arguments;
mod blocks;
mod characters;
mod duration_words;
mod explain;
mod foreign;
mod format;
mod grammar;
mod include;
mod lookalike;
mod mend;
mod parse;
mod places;
mod program;
mod statement;
mod vocabulary;
mod word;

pub use duration_words::duration_in_flb;
pub use format::format;
pub use lookalike::{is_foreign_quote, plainly};
pub use mend::vip_in_order;
pub use parse::parse;
pub use places::interface_named;
pub use program::{Input, parse_program, read_file};
pub use vocabulary::{Home, Keyword, Often, OptionWord, SCHEDULER_ALIASES};

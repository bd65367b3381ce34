//! Text to tree, and back.

pub mod tree;

mod blocks;
mod characters;
mod explain;
mod grammar;
mod parse;
mod statement;
mod vocabulary;

pub use parse::parse;

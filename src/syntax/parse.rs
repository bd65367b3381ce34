//! One file's text to its tree.

use crate::diagnostic::Diagnostics;
use crate::source::{FileId, Sources};

use super::blocks::Blocks;
use super::characters::report_bad_characters;
use super::grammar::Pieces;
use super::tree::Tree;

/// Reads a file's statements; reads no file that it includes.
///
/// The tree holds whatever could be read, so that later stages can find their faults too.
pub fn parse(file: FileId, sources: &Sources, sink: &mut Diagnostics) -> Tree {
    let text = &sources.file(file).text;
    report_bad_characters(file, text, sink);
    let mut blocks = Blocks::new(file, sink);
    for piece in Pieces::new(file, text) {
        blocks.take(piece);
    }
    blocks.finish()
}

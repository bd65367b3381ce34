//! Lines and columns, also where a line is a hundred megabytes long.

use std::collections::HashMap;

use crate::source::{FileId, LineColumn, SourceFile, Sources};

/// Lines up to this long are counted anew each time.
const SHORT: usize = 1 << 14;

/// Finds places, and remembers how many characters stand before each part of a long line.
pub(super) struct Places<'s> {
    pub(super) sources: &'s Sources,
    long_lines: HashMap<(FileId, usize), Vec<usize>>,
}

impl<'s> Places<'s> {
    pub(super) fn new(sources: &'s Sources) -> Self {
        Self {
            sources,
            long_lines: HashMap::new(),
        }
    }

    /// The line and column of a byte.
    pub(super) fn place(&mut self, file: FileId, at: u32) -> LineColumn {
        let source = self.sources.file(file);
        let line = source.line_index(at);
        let start = source.line_range(line).start;
        let at = (at as usize).min(source.text.len()).max(start);
        let before = if at - start <= SHORT {
            characters(source, start, at)
        } else {
            let counts = self
                .long_lines
                .entry((file, line))
                .or_insert_with(|| count_parts(source, line));
            let part = (at - start) / SHORT;
            let counted = counts.get(part).copied().unwrap_or_default();
            counted + characters(source, start + part * SHORT, at)
        };
        let one_based = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        LineColumn {
            line: one_based(line),
            column: one_based(before),
        }
    }
}

/// How many characters of a line stand before each of its parts.
fn count_parts(source: &SourceFile, line: usize) -> Vec<usize> {
    let range = source.line_range(line);
    let mut total = 0;
    let mut counts = Vec::with_capacity(range.len() / SHORT + 1);
    for start in range.clone().step_by(SHORT) {
        counts.push(total);
        total += characters(source, start, start + SHORT);
    }
    counts
}

/// How many characters start in a range of bytes.
fn characters(source: &SourceFile, from: usize, to: usize) -> usize {
    let bytes = source.text.as_bytes();
    let part = bytes.get(from..to.min(bytes.len())).unwrap_or_default();
    // All but the second and later bytes of a character.
    part.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_like_the_plain_way() {
        let mut sources = Sources::new();
        let text = format!("a\n{}\nb", "xé日".repeat(20_000));
        let file = sources.add("t.flb", "".into(), text.clone());
        let mut places = Places::new(&sources);
        for at in [
            0, 1, 2, 3, 5, 16_380, 16_389, 60_000, 90_001, 120_002, 120_003, 120_004,
        ] {
            if text.is_char_boundary(at) {
                let before = &text[..at];
                let line = before.matches('\n').count();
                let start = before.rfind('\n').map_or(0, |n| n + 1);
                let expected = (line + 1, before[start..].chars().count() + 1);
                let place = places.place(file, u32::try_from(at).unwrap());
                assert_eq!(
                    (place.line as usize, place.column as usize),
                    expected,
                    "{at}"
                );
            }
        }
    }
}

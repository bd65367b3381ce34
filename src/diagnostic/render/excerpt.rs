//! The few lines of source that a message shows, cut out and made safe.

use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::places::Places;
use super::{Diagnostic, Span, escape, is_treacherous, safe};
use crate::source::{FileId, LineColumn, SourceFile};

/// How many characters of a long line are shown before the fault, and from there on.
const BEFORE: usize = 60;
const AFTER: usize = 100;

/// How many bytes a line has that is shown whole.
const WHOLE_LINE: usize = 200;

/// Faults this many lines apart are shown in one piece.
const NEAR: usize = 3;

/// Pieces of source, one after the other in a space of their own, with gaps between them.
#[derive(Debug)]
pub(super) struct Excerpt {
    pieces: Vec<Piece>,
    pub(super) labels: Vec<LabeledSpan>,
}

#[derive(Debug)]
struct Piece {
    /// The file's name.
    name: String,
    /// Its first line, from 0.
    first_line: usize,
    /// Where it starts in the excerpt's own space.
    start: usize,
    /// Its lines, each ended.
    text: String,
    /// The labels' true places, by where they start in the excerpt.
    places: Vec<(usize, LineColumn)>,
}

/// A place to point at, on one line.
struct Mark {
    file: FileId,
    /// The line, from 0.
    line: usize,
    /// The bytes in the file.
    start: usize,
    end: usize,
    place: LineColumn,
    words: Option<String>,
    is_primary: bool,
}

impl Excerpt {
    /// The lines around all places of a fault; the fault's own come first.
    pub(super) fn new(
        diagnostic: &Diagnostic,
        span: Span,
        places: &mut Places<'_>,
        unknown: char,
    ) -> Self {
        let mut groups: Vec<Vec<Mark>> = Vec::new();
        let primary = (span, diagnostic.label.as_deref(), true);
        let related = diagnostic.related.iter();
        let related = related.map(|(span, words)| (*span, Some(words.as_str()), false));
        for (span, words, is_primary) in std::iter::once(primary).chain(related) {
            let mark = Mark::new(span, words, is_primary, places);
            let source = places.sources.file(mark.file);
            match groups.iter_mut().find(|group| joins(group, &mark, source)) {
                Some(group) => group.push(mark),
                None => groups.push(vec![mark]),
            }
        }
        let mut excerpt = Self {
            pieces: Vec::with_capacity(groups.len()),
            labels: Vec::new(),
        };
        for group in groups {
            excerpt.add(&group, places, unknown);
        }
        excerpt
    }

    fn add(&mut self, group: &[Mark], places: &Places<'_>, unknown: char) {
        let Some(first) = group.first() else { return };
        let source = places.sources.file(first.file);
        let lines = || group.iter().map(|mark| mark.line);
        let first_line = lines().min().unwrap_or_default().saturating_sub(1);
        let last_line = lines().max().unwrap_or_default();
        // A gap, so that no span of miette's covers two pieces.
        let start = self.pieces.last().map_or(0, |p| p.start + p.text.len() + 2);
        let mut piece = Piece {
            name: escape(&source.name).into_owned(),
            first_line,
            start,
            text: String::new(),
            places: Vec::new(),
        };
        for line in first_line..=last_line {
            let marks: Vec<_> = group.iter().filter(|mark| mark.line == line).collect();
            let labels = piece.add_line(source, line, &marks, unknown);
            self.labels.extend(labels);
        }
        if !source.line_range(last_line + 1).is_empty() {
            piece.add_line(source, last_line + 1, &[], unknown);
        }
        self.pieces.push(piece);
    }
}

/// Whether a mark is shown in one piece with others.
fn joins(group: &[Mark], mark: &Mark, source: &SourceFile) -> bool {
    let is_short = |mark: &Mark| source.line_range(mark.line).len() <= WHOLE_LINE;
    is_short(mark)
        && group.iter().any(|other| {
            other.file == mark.file && other.line.abs_diff(mark.line) <= NEAR && is_short(other)
        })
}

impl Mark {
    fn new(span: Span, words: Option<&str>, is_primary: bool, places: &mut Places<'_>) -> Self {
        let source = places.sources.file(span.file);
        let line = source.line_index(span.start);
        let range = source.line_range(line);
        let start = (span.start as usize).clamp(range.start, range.end);
        // What spans several lines is shown by its first.
        let end = (span.end as usize).clamp(start, range.end);
        Self {
            file: span.file,
            line,
            start,
            end,
            place: places.place(span.file, span.start),
            words: words.map(safe),
            is_primary,
        }
    }
}

impl Piece {
    /// Adds a line, or what can be shown of it, and makes the labels that point into it.
    fn add_line(
        &mut self,
        source: &SourceFile,
        line: usize,
        marks: &[&Mark],
        unknown: char,
    ) -> Vec<LabeledSpan> {
        let range = source.line_range(line);
        let text = source.text.get(range.clone()).unwrap_or_default();
        let centre = marks.first().map_or(range.start, |mark| mark.start) - range.start;
        let shown = window(text, centre);
        let mut bounds = vec![(None, None); marks.len()];
        if shown.start > 0 {
            self.text.push_str("...");
        }
        let visible = text.get(shown.clone()).unwrap_or_default();
        let from = range.start + shown.start;
        let characters = visible.char_indices().map(|(at, c)| (from + at, Some(c)));
        let end = from + visible.len();
        for (at, character) in characters.chain(std::iter::once((end, None))) {
            for (mark, (start, finish)) in marks.iter().zip(&mut bounds) {
                if at >= mark.start {
                    start.get_or_insert(self.text.len());
                }
                if at >= mark.end {
                    finish.get_or_insert(self.text.len());
                }
            }
            match character {
                Some(c) if c != '\t' && is_treacherous(c) => self.text.push(unknown),
                Some(c) => self.text.push(c),
                None => {}
            }
        }
        let last = self.text.len();
        if shown.end < text.len() {
            self.text.push_str("...");
        }
        self.text.push('\n');
        let labels = marks.iter().zip(bounds).map(|(mark, (start, finish))| {
            let start = start.unwrap_or(last);
            let length = finish.unwrap_or(last).saturating_sub(start);
            let start = self.start + start;
            self.places.push((start, mark.place));
            if mark.is_primary {
                LabeledSpan::new_primary_with_span(mark.words.clone(), (start, length))
            } else {
                LabeledSpan::new_with_span(mark.words.clone(), (start, length))
            }
        });
        labels.collect()
    }
}

/// The bytes of a line that are shown, around byte `centre`.
fn window(text: &str, centre: usize) -> std::ops::Range<usize> {
    if text.len() <= WHOLE_LINE {
        return 0..text.len();
    }
    let (before, after) = text.split_at_checked(centre).unwrap_or((text, ""));
    let start = match before.char_indices().rev().nth(BEFORE) {
        Some((at, c)) => at + c.len_utf8(),
        None => 0,
    };
    let length = after
        .char_indices()
        .nth(AFTER)
        .map_or(after.len(), |(at, _)| at);
    start..before.len() + length
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        let covers = |piece: &&Piece| start >= piece.start && end < piece.start + piece.text.len();
        let piece = self
            .pieces
            .iter()
            .find(covers)
            .ok_or(MietteError::OutOfBounds)?;
        if lines_before == 0 {
            // miette asks where a label stands.
            let data = piece.text.as_bytes();
            let data = data.get(start - piece.start..end - piece.start);
            let place = piece.places.iter().find(|(at, _)| *at == start);
            let place = place.ok_or(MietteError::OutOfBounds)?.1;
            return Ok(Box::new(MietteSpanContents::new_named(
                piece.name.clone(),
                data.unwrap_or_default(),
                *span,
                place.line as usize - 1,
                place.column as usize - 1,
                1,
            )));
        }
        Ok(Box::new(MietteSpanContents::new_named(
            piece.name.clone(),
            piece.text.as_bytes(),
            (piece.start, piece.text.len()).into(),
            piece.first_line,
            0,
            piece.text.matches('\n').count(),
        )))
    }
}

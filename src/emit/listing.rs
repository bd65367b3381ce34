//! The text that [`super::text`] writes, read back: what is in it, without what numbers and sizes are chosen.
//!
//! It reads what flbc writes and nothing else of nft's language, so that nothing is ever half understood.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

/// What a text declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Tables, by family.
    pub tables: BTreeMap<String, ListedTable>,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedTable {
    /// The elements of each set and map, in the order written.
    pub sets: BTreeMap<String, Vec<ListedElement>>,
    /// The lines of each chain.
    pub chains: BTreeMap<String, Vec<String>>,
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedElement {
    /// The key.
    pub key: String,
    /// The comment, if it has one.
    pub comment: Option<String>,
    /// What a map has for it.
    pub data: Option<String>,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotListed {
    /// The text is the JSON of `nft -j`.
    Json,
    /// The line of this number, from 1, is none that flbc writes.
    Line(usize),
    /// The text ends in the middle.
    Cut,
}

impl fmt::Display for NotListed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json => {
                f.write_str("it is JSON; give the output of `flbc compile` without `--format json`")
            }
            Self::Line(line) => write!(
                f,
                "line {line} is none that `flbc compile` of this version writes"
            ),
            Self::Cut => f.write_str("it ends in the middle"),
        }
    }
}

impl Error for NotListed {}

/// Where a line stands.
enum Inside {
    Nothing,
    Table(String),
    Chain(String, String),
    Elements(String, String),
}

/// Reads a text.
///
/// # Errors
///
/// See [`NotListed`].
pub fn read(text: &str) -> Result<Listing, NotListed> {
    if text.trim_start().starts_with('{') {
        return Err(NotListed::Json);
    }
    let mut listing = Listing::default();
    let mut inside = Inside::Nothing;
    for (at, line) in text.lines().enumerate() {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        inside = next(&mut listing, inside, line).ok_or(NotListed::Line(at + 1))?;
    }
    match inside {
        Inside::Nothing => Ok(listing),
        _ => Err(NotListed::Cut),
    }
}

/// `#` stands in no name and no comment of an element.
fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn next(listing: &mut Listing, inside: Inside, line: &str) -> Option<Inside> {
    let words: Vec<&str> = line.split(' ').collect();
    Some(match (inside, &*words) {
        (Inside::Nothing, ["table", family, _, "{"]) => {
            listing.tables.entry((*family).to_owned()).or_default();
            Inside::Table((*family).to_owned())
        }
        (Inside::Nothing, ["add", "element", family, _, set, "{"]) => {
            let table = listing.tables.get_mut(*family)?;
            table.sets.get_mut(*set)?;
            Inside::Elements((*family).to_owned(), (*set).to_owned())
        }
        (Inside::Nothing, ["add" | "delete", "table", _, _])
        | (Inside::Table(_) | Inside::Elements(..), ["}"]) => Inside::Nothing,
        (Inside::Table(family), ["map" | "set", name, "{", ..]) if line.ends_with('}') => {
            let table = listing.tables.get_mut(&family)?;
            table.sets.entry((*name).to_owned()).or_default();
            Inside::Table(family)
        }
        (Inside::Table(family), ["chain", name, "{"]) => {
            let table = listing.tables.get_mut(&family)?;
            table.chains.insert((*name).to_owned(), Vec::new());
            Inside::Chain(family, (*name).to_owned())
        }
        (Inside::Chain(family, _), ["}"]) => Inside::Table(family),
        (Inside::Chain(family, chain), [_, ..]) => {
            let table = listing.tables.get_mut(&family)?;
            table.chains.get_mut(&chain)?.push(line.to_owned());
            Inside::Chain(family, chain)
        }
        (Inside::Elements(family, set), [_, ..]) => {
            let elements = listing.tables.get_mut(&family)?.sets.get_mut(&set)?;
            for text in split(line) {
                elements.push(element(text)?);
            }
            Inside::Elements(family, set)
        }
        _ => return None,
    })
}

/// The elements of a line: what stands between commas outside of comments.
fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let pieces = line.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    pieces
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// `KEY comment "..." : DATA`
fn element(text: &str) -> Option<ListedElement> {
    let (key, comment, data) = match text.split_once(" comment \"") {
        Some((key, rest)) => {
            let (comment, rest) = rest.split_once('"')?;
            let data = match rest.trim() {
                "" => None,
                rest => Some(rest.strip_prefix(": ")?),
            };
            (key, Some(comment), data)
        }
        None => match text.split_once(" : ") {
            Some((key, data)) => (key, None, Some(data)),
            None => (text, None, None),
        },
    };
    Some(ListedElement {
        key: key.to_owned(),
        comment: comment.map(str::to_owned),
        data: data.map(str::to_owned),
    })
}

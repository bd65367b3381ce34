//! What a statement that the grammar does not read was most likely meant to be.
//!
//! The words of the statement are told apart by what they look like (an address, a protocol, a port, a duration), and put into
//! the order that flb has. What comes out is only told if the grammar reads it: it is what the operator is to write.

use crate::diagnostic::nearest;

use super::grammar::{Piece, read};
use super::lookalike::{is_foreign_quote, plainly};
use super::vocabulary::Keyword;

mod server;
mod setting;
mod vip;

pub use vip::in_order as vip_in_order;

/// What to write in place of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mended {
    /// The whole statement.
    pub(super) text: String,
    /// What was wrong, where that is plain from the words: a sentence that is better than "something is missing here".
    pub(super) why: Option<String>,
    /// Some of its values stand for what nobody but the operator knows.
    pub(super) invented: bool,
}

impl Mended {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            why: None,
            invented: false,
        }
    }

    fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// As a help says it.
    pub(super) fn help(&self) -> String {
        if self.invented {
            format!("write `{}`, with the values that you mean", self.text)
        } else {
            format!("write `{}`", self.text)
        }
    }
}

/// Statements that are longer than what a person writes on a line are not mended: the words of a list of a million prefixes
/// tell nothing.
const LONGEST: usize = 400;

/// What a statement was meant to be, if its words tell.
pub(super) fn mended(piece: &Piece<'_>, statement: Keyword) -> Option<Mended> {
    let text = piece.text();
    if text.len() > LONGEST {
        return None;
    }
    as_statement(statement, text.get(piece.keyword_text().len()..)?)
}

/// A statement of this kind, made of what stands behind a keyword, be it another tool's.
pub(super) fn as_statement(statement: Keyword, arguments: &str) -> Option<Mended> {
    if arguments.len() > LONGEST || arguments.contains(['\n', '#']) {
        return None;
    }
    if let Some(mended) = two_statements(statement, arguments) {
        return Some(mended);
    }
    if statement == Keyword::Include {
        return setting::include(arguments);
    }
    // What is wrong with double quotes, the grammar's own, is told as it is.
    if arguments.contains('"') {
        return None;
    }
    let words = Words::of(arguments, statement == Keyword::Define);
    let dressed = words
        .dressed
        .then(|| "A constant is written `$NAME`, without braces".to_owned());
    let mended = match statement {
        Keyword::Vip => vip::mend(&words),
        Keyword::Server => server::mend(&words),
        Keyword::Mode => setting::mode(&words),
        Keyword::Persist => setting::persist(&words),
        Keyword::Track => setting::track(&words),
        Keyword::Scheduler => setting::scheduler(&words),
        Keyword::Allow | Keyword::Deny => setting::access(statement, &words),
        Keyword::Define => setting::define(&words),
        Keyword::OnEmpty => setting::on_empty(&words),
        Keyword::Service | Keyword::Pool => setting::named(statement, &words),
        Keyword::Defaults => Some(Mended::new("defaults")),
        Keyword::Include => None,
    }?;
    let is_read = mended.text.split("; ").all(|text| reads(statement, text));
    is_read.then(|| Mended {
        why: dressed.or(mended.why),
        ..mended
    })
}

/// Whether the grammar reads all of a text as this statement.
fn reads(statement: Keyword, text: &str) -> bool {
    read(statement.rule(), text).is_ok_and(|pairs| pairs.as_str().trim_end().len() == text.len())
}

/// Two statements on one line without a `;` between them.
fn two_statements(statement: Keyword, arguments: &str) -> Option<Mended> {
    let mut from = 0;
    for word in arguments.split_whitespace() {
        let at = from + arguments.get(from..)?.find(word)?;
        from = at + word.len();
        let Some(second) = Keyword::of(word).filter(|second| !second.homes().is_empty()) else {
            continue;
        };
        let first = format!("{} {}", statement.text(), arguments.get(..at)?.trim());
        let rest = format!("{word} {}", arguments.get(from..)?.trim());
        if reads(statement, &first) && reads(second, &rest) {
            let why = format!("`{word}` starts a statement of its own");
            return Some(Mended::new(format!("{first}; {rest}")).because(why));
        }
    }
    None
}

/// A word behind the keyword, in plain signs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    text: String,
    /// A comma follows.
    comma: bool,
}

/// The words behind the keyword.
#[derive(Debug, Default)]
struct Words {
    all: Vec<Said>,
    /// Braces stood around some, as nft has them.
    braces: bool,
    /// A `=` stood among them.
    equals: bool,
    /// Braces stood around the name of a constant.
    dressed: bool,
}

impl Words {
    /// Cuts the words apart at blanks, commas and `=`; `${x}` becomes `$x`.
    fn of(arguments: &str, keep_equals: bool) -> Self {
        let mut words = Self::default();
        let plain = constants_without_braces(arguments);
        words.dressed = plain != arguments;
        let mut word = String::new();
        for sign in plain.chars() {
            let sign = match sign {
                _ if is_foreign_quote(sign) => continue,
                '\u{ff0c}' | '\u{3001}' => ',',
                sign => sign,
            };
            match sign {
                ',' => {
                    words.end(&mut word);
                    if let Some(last) = words.all.last_mut() {
                        last.comma = true;
                    }
                }
                '{' | '}' => {
                    words.braces = true;
                    words.end(&mut word);
                }
                '=' => {
                    words.equals = true;
                    words.end(&mut word);
                    if keep_equals {
                        word.push('=');
                        words.end(&mut word);
                    }
                }
                sign if sign.is_whitespace() => words.end(&mut word),
                sign => word.push(sign),
            }
        }
        words.end(&mut word);
        words
    }

    fn end(&mut self, word: &mut String) {
        if word.is_empty() {
            return;
        }
        let text = plainly(word).unwrap_or_else(|| word.clone());
        word.clear();
        self.all.push(Said { text, comma: false });
    }

    /// The words as text.
    fn texts(&self) -> Vec<&str> {
        self.all.iter().map(|word| word.text.as_str()).collect()
    }
}

/// `${vip}` and `$(vip)` as flb writes them: `$vip`.
fn constants_without_braces(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${").or_else(|| rest.find("$(")) {
        let (before, after) = rest.split_at(at);
        plain.push_str(before);
        plain.push('$');
        let name = after.get(2..).unwrap_or_default();
        match name.find(['}', ')']) {
            Some(end) => {
                plain.push_str(name.get(..end).unwrap_or_default());
                rest = name.get(end + 1..).unwrap_or_default();
            }
            None => rest = name,
        }
    }
    plain.push_str(rest);
    plain
}

/// Whether a word can be a name of a service, pool, server or constant.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'[' | b']'))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.len() <= 10 && word.bytes().all(|b| b.is_ascii_digit())
}

fn is_constant(word: &str) -> bool {
    word.strip_prefix('$').is_some_and(is_name)
}

/// An address with its brackets, port and host's prefix length taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Located {
    /// In flb's words: no brackets.
    address: String,
    is_v6: bool,
    port: Option<String>,
    /// Brackets stood around the address, though it has no port.
    brackets: bool,
}

impl Located {
    /// `ADDR`, `ADDR:PORT`, `[ADDR]:PORT`, `[ADDR]`, `ADDR/32`, and ranges of servers in the last number.
    fn of(word: &str) -> Option<Self> {
        let word = word
            .strip_prefix("tcp://")
            .or_else(|| word.strip_prefix("udp://"))
            .unwrap_or(word);
        let word = ["/32", "/128"]
            .iter()
            .find_map(|length| word.strip_suffix(length))
            .unwrap_or(word);
        if let Ok(address) = word.parse::<std::net::IpAddr>() {
            return Some(Self {
                address: word.to_owned(),
                is_v6: address.is_ipv6(),
                port: None,
                brackets: false,
            });
        }
        if let Some((inside, rest)) = word.strip_prefix('[').and_then(|word| word.split_once(']')) {
            let address = inside.parse::<std::net::IpAddr>().ok()?;
            let port = match rest.strip_prefix([':', '/', '.']) {
                Some(port) => Some(port_of(port)?),
                None if rest.is_empty() => None,
                None => return None,
            };
            return Some(Self {
                address: inside.to_owned(),
                is_v6: address.is_ipv6(),
                brackets: port.is_none(),
                port,
            });
        }
        let (address, port) = match word.split_once(':') {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port_of(port)?)),
            None => (word, None),
        };
        let is_range = address
            .strip_suffix(']')
            .and_then(|address| address.split_once('['))
            .is_some_and(|(before, range)| {
                let ends = range.split_once('-');
                ends.is_some_and(|(first, last)| is_number(first) && is_number(last))
                    && format!("{before}0").parse::<std::net::Ipv4Addr>().is_ok()
            });
        let is_address = is_range || address.parse::<std::net::Ipv4Addr>().is_ok();
        is_address.then(|| Self {
            address: address.to_owned(),
            is_v6: false,
            port,
            brackets: false,
        })
    }

    /// As `server` has it.
    fn endpoint(&self, port: Option<&str>) -> String {
        match (port.or(self.port.as_deref()), self.is_v6) {
            (None, _) => self.address.clone(),
            (Some(port), true) => format!("[{}]:{port}", self.address),
            (Some(port), false) => format!("{}:{port}", self.address),
        }
    }
}

/// A port that stands behind an address.
fn port_of(text: &str) -> Option<String> {
    let digits = text.trim_end_matches('/');
    let number = digits.parse::<u16>().ok()?;
    (number > 0 && is_number(digits)).then(|| number.to_string())
}

/// The word of a few that was meant.
fn meant<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    nearest(word, words.iter().copied())
}

//! What is wrong with the arguments of a statement whose keyword is right.

use pest::error::{ErrorVariant, InputLocation};

use crate::diagnostic::{Code, Diagnostic, clip, nearest, quote};
use crate::source::Span;

use super::characters::comment_start;
use super::grammar::{Piece, Rule, offset, read};
use super::mend::mended;
use super::tree::{Word, WordKind};
use super::vocabulary::{Keyword, OptionWord, quoted_list};

/// A statement with a keyword of flb's, and arguments that its rule does not read.
pub(super) fn wrong_arguments(piece: &Piece<'_>, statement: Keyword) -> Diagnostic {
    with_mended(told(piece, statement), piece, statement)
}

/// The fault with the one thing to write, where the words of the statement tell it.
pub(super) fn with_mended(
    mut fault: Diagnostic,
    piece: &Piece<'_>,
    statement: Keyword,
) -> Diagnostic {
    let Some(mended) = mended(piece, statement) else {
        return fault;
    };
    let is_slip = fault
        .help
        .as_ref()
        .is_some_and(|help| help.starts_with("did you mean"));
    if let Some(why) = &mended.why {
        fault.message.clone_from(why);
        // Where the grammar stopped says nothing about words in another order.
        if matches!(statement, Keyword::Vip | Keyword::Server) {
            fault.span = Some(piece.span());
        }
    } else if is_slip {
        return fault;
    }
    fault.help(mended.help())
}

fn told(piece: &Piece<'_>, statement: Keyword) -> Diagnostic {
    let usage = || {
        format!(
            "it is written `{}`, for example `{}`",
            statement.usage(),
            statement.example()
        )
    };
    if let Some(fault) = misplaced_sign(piece) {
        return fault.help(usage());
    }
    if let Some(fault) = second_address(piece) {
        return fault;
    }
    // With a blank at the end, the grammar gets as far as to ask for what is missing there.
    let text = format!("{} ", piece.text());
    let (at, expected) = match read(statement.rule(), &text) {
        Ok(_) => (piece.text().len(), Vec::new()),
        Err(error) => failure(&error),
    };
    if at == 0 {
        let message = format!("A blank is missing after `{}`", statement.text());
        return Diagnostic::new(Code::BadStatement, piece.keyword(), message).help(usage());
    }
    let fault = Gap::new(piece, &text, at, expected).fault(statement);
    if fault.help.is_some() {
        return fault;
    }
    fault.help(usage())
}

/// A quote or a `=` that stands where the grammar asks for nothing by name, as it wants a blank there.
fn misplaced_sign(piece: &Piece<'_>) -> Option<Diagnostic> {
    let text = piece.text();
    let fault = |at: usize, message: &str| {
        let start = piece.span().start + offset(at);
        let length = text
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .map_or(0, char::len_utf8);
        let span = Span {
            start,
            end: start + offset(length),
            ..piece.span()
        };
        Diagnostic::new(Code::BadStatement, span, message)
    };
    let mut before = ' ';
    let (mut quote, mut in_comment) = (None, false);
    for (at, sign) in text.char_indices() {
        in_comment = sign != '\n' && (in_comment || (sign == '#' && quote.is_none()));
        if in_comment {
            continue;
        }
        match (sign, quote) {
            ('"', Some(_)) => quote = None,
            ('"', None) if !matches!(before, ' ' | '\t' | '\n' | ',' | '=') => {
                return Some(fault(at, "A blank is missing before the quote"));
            }
            ('"', None) => quote = Some(at),
            ('\n', Some(start)) => return Some(fault(start, UNCLOSED_QUOTE)),
            ('=', None) if piece.keyword_text() != "define" => {
                let message = format!("`{}` takes no `=`", piece.keyword_text());
                return Some(fault(at, &message));
            }
            (' ' | '\t' | '\n' | '\r' | ',' | '=', None) => {}
            (_, None) if before == '"' => {
                return Some(fault(at, "A blank is missing after the quote"));
            }
            _ => {}
        }
        before = sign;
    }
    quote.map(|start| fault(start, UNCLOSED_QUOTE))
}

const UNCLOSED_QUOTE: &str = "The quote is not closed on its line";

/// Where pest stopped, and what it would have read there.
fn failure(error: &pest::error::Error<Rule>) -> (usize, Vec<Rule>) {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => (at, positives.clone()),
        ErrorVariant::CustomError { .. } => (at, Vec::new()),
    }
}

/// The place where a statement stops being right.
struct Gap<'t> {
    /// The text of the statement before the gap.
    before: &'t str,
    /// The word, or sign, that stands there; empty at the end of the statement.
    found: &'t str,
    /// Where that is; at the end, where the last word before it is.
    span: Span,
    expected: Vec<Rule>,
}

impl<'t> Gap<'t> {
    fn new(piece: &Piece<'_>, text: &'t str, at: usize, expected: Vec<Rule>) -> Self {
        let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
        let before = without_last_comments(before);
        let rest = rest.trim_start();
        let length = match read(Rule::name, rest) {
            Ok(word) => word.as_str().len(),
            Err(_) => rest.chars().next().map_or(0, char::len_utf8),
        };
        let found = rest.get(..length).unwrap_or_default();
        let (start, marked) = match found {
            "" => {
                let last = last_word(before).len();
                (before.len() - last, last)
            }
            _ => (text.len() - rest.len(), length),
        };
        let span = Span {
            start: piece.span().start + offset(start),
            end: piece.span().start + offset(start + marked),
            ..piece.span()
        };
        Self {
            before,
            found,
            span,
            expected,
        }
    }

    fn fault(&self, statement: Keyword) -> Diagnostic {
        let stands_before = || {
            self.before
                .split_whitespace()
                .any(|word| word == self.found)
        };
        if inner_words(statement).contains(&self.found) && stands_before() {
            return self
                .says(format!("`{}` is given a second time", self.found))
                .help("remove one of them");
        }
        let wanted = self.expected.iter().find_map(|rule| argument(*rule));
        let keyword = statement.text();
        match (self.found, wanted) {
            ("", Some(wanted)) => self.missing(statement, wanted),
            (",", Some(wanted)) => {
                self.says(format!("{} is missing before the comma", capital(wanted)))
            }
            (",", None) if self.before.ends_with(',') => self.says("Two commas stand side by side"),
            (",", None) => self.says(format!("`{keyword}` takes no list here")),
            // Only `define` has one, and it has one only.
            ("=", None) => self.says("`define` takes one `=` only"),
            (found, Some(wanted)) => self.wrong(statement, found, wanted),
            (found, None) => self.too_much(statement, found),
        }
    }

    fn says(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Code::BadStatement, self.span, message)
    }

    /// The statement ends too early.
    fn missing(&self, statement: Keyword, wanted: &str) -> Diagnostic {
        let keyword = statement.text();
        if self.before.ends_with(',') {
            return self
                .says(format!("`{keyword}` ends with a comma"))
                .help(format!(
                    "write {wanted} after the comma, or take the comma away"
                ));
        }
        let last = last_word(self.before);
        if statement == Keyword::Vip && self.expected.contains(&Rule::port) && reads_as_port(last) {
            return self.says("`vip` needs a protocol between the address and the ports");
        }
        if statement == Keyword::Vip && self.expected.contains(&Rule::protocol) {
            return self.says("`vip` needs a protocol and ports after the address");
        }
        if last == keyword {
            return self.says(format!("`{keyword}` needs {wanted}"));
        }
        self.says(format!("`{keyword}` needs {wanted} after {}", quote(last)))
    }

    /// Something else stands there than what must.
    fn wrong(&self, statement: Keyword, found: &str, wanted: &str) -> Diagnostic {
        let keyword = statement.text();
        let found = &clip(found);
        match statement {
            Keyword::Include if found.starts_with('$') => {
                self.says("A constant cannot stand for the path of `include`")
            }
            Keyword::Include => self
                .says("The path of `include` stands in double quotes")
                .help(format!("write `include \"{found}\"`")),
            Keyword::Mode
                if !self.expected.contains(&Rule::on) && !self.expected.contains(&Rule::from) =>
            {
                self.says(format!("`{found}` is no mode"))
            }
            Keyword::Define
            | Keyword::Defaults
            | Keyword::Service
            | Keyword::Vip
            | Keyword::Mode
            | Keyword::Scheduler
            | Keyword::Persist
            | Keyword::Track
            | Keyword::Allow
            | Keyword::Deny
            | Keyword::OnEmpty
            | Keyword::Pool
            | Keyword::Server => self.says(format!("`{keyword}` needs {wanted} before `{found}`")),
        }
    }

    /// The statement goes on where it should end.
    fn too_much(&self, statement: Keyword, found: &str) -> Diagnostic {
        let found = clip(found);
        let found = found.as_str();
        let fault = match statement {
            Keyword::Server => return not_an_option(self.span, found),
            Keyword::Vip if is_protocol(found) => {
                return self
                    .says(format!(
                        "`{found}` stands behind the ports, or without a comma"
                    ))
                    .help("write a `vip` line for each protocol, or `tcp, udp` for both");
            }
            Keyword::Vip | Keyword::Allow | Keyword::Deny | Keyword::Define => {
                return self
                    .says(format!("A comma is missing before `{found}`"))
                    .help(format!("write `{}, {found}`", clip(last_word(self.before))));
            }
            Keyword::Defaults => self.says(format!(
                "`defaults` has no name, and `{found}` cannot follow it"
            )),
            Keyword::Scheduler if found == "by" => self
                .says("`by` stands before `table`")
                .help("write `scheduler maglev by KEY table N`"),
            Keyword::Include
            | Keyword::Service
            | Keyword::Mode
            | Keyword::Scheduler
            | Keyword::Persist
            | Keyword::Track
            | Keyword::OnEmpty
            | Keyword::Pool => {
                self.says(format!("`{found}` is too much in `{}`", statement.text()))
            }
        };
        match nearest(found, inner_words(statement).iter().copied()) {
            Some(near) if near != found => fault.help(format!("did you mean `{near}`?")),
            _ => fault,
        }
    }
}

/// The words of its own that a statement has behind its first arguments.
fn inner_words(statement: Keyword) -> &'static [&'static str] {
    match statement {
        Keyword::Scheduler => &["by", "table"],
        Keyword::Persist => &["by"],
        Keyword::Mode => &["via", "from", "masquerade", "snat"],
        Keyword::Include
        | Keyword::Define
        | Keyword::Defaults
        | Keyword::Service
        | Keyword::Vip
        | Keyword::Track
        | Keyword::Allow
        | Keyword::Deny
        | Keyword::OnEmpty
        | Keyword::Pool
        | Keyword::Server => &[],
    }
}

/// A word that stands where the address would, in a server whose first word is the address already.
pub(super) fn second_address(piece: &Piece<'_>) -> Option<Diagnostic> {
    let name = second_word(piece)?.span;
    let text = piece.text();
    let at = |place: u32| (place - piece.span().start) as usize;
    let rest = text.get(at(name.end)..)?;
    let argument = rest.trim_start_matches([' ', '\t']);
    let word = read(Rule::name, argument).ok()?.as_str();
    let start = name.end + offset(rest.len() - argument.len());
    let is_second_address = piece.keyword_text() == "server"
        && start > name.end
        && reads_as_address(text.get(at(name.start)..at(name.end))?)
        && OptionWord::of(word).is_none();
    let span = Span {
        start,
        end: start + offset(word.len()),
        ..name
    };
    is_second_address.then(|| not_an_option(span, word))
}

/// The word after the keyword of a malformed statement.
pub(super) fn second_word(piece: &Piece<'_>) -> Option<Word> {
    let keyword = piece.keyword();
    let rest = piece.text().get(keyword.length()..)?;
    let argument = rest.trim_start_matches([' ', '\t']);
    let length = read(Rule::name, argument).ok()?.as_str().len();
    let start = keyword.end + offset(rest.len() - argument.len());
    (start > keyword.end).then_some(Word {
        span: Span {
            start,
            end: start + offset(length),
            ..keyword
        },
        kind: WordKind::Bare,
    })
}

/// A word behind a server's address that is no option.
fn not_an_option(span: Span, word: &str) -> Diagnostic {
    let fault = Diagnostic::new(
        Code::BadStatement,
        span,
        format!("{} is no option of `server`", quote(word)),
    );
    if reads_as_address(word) {
        return fault
            .help("one server has one address; the name before it starts with a letter or `_`");
    }
    match nearest(word, OptionWord::texts()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help(format!(
            "the options are {}",
            quoted_list(OptionWord::texts())
        )),
    }
}

/// What a message calls the argument that a rule reads; nothing for what need not stand there.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pest makes the rules, also those of what is no argument"
)]
fn argument(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::action => "`reject` or `drop`",
        Rule::address | Rule::name_or_address => "an address",
        Rule::algorithm => "the name of a scheduler",
        Rule::duration => "a duration",
        Rule::interface => "an interface",
        Rule::key => "what to go by, such as `source`,",
        Rule::mac_address => "a MAC address",
        Rule::name => "a name",
        Rule::number => "a number",
        Rule::path => "a path in double quotes",
        Rule::port => "a port",
        Rule::prefix => "a prefix",
        Rule::protocol => "a protocol",
        Rule::value => "a value",
        Rule::equals => "`=`",
        Rule::on => "`on`",
        Rule::from => "`from`",
        Rule::nat | Rule::dr => "`nat` or `dr`",
        _ => return None,
    })
}

/// Whether a word can only be an address: nothing that check would take for a name.
pub(super) fn reads_as_address(word: &str) -> bool {
    let word = word.trim_matches('"');
    word.parse::<std::net::IpAddr>().is_ok()
        || word.parse::<std::net::SocketAddr>().is_ok()
        || (word.starts_with(|c: char| c.is_ascii_digit()) && word.matches('.').count() == 3)
}

fn reads_as_port(word: &str) -> bool {
    word == "any" || word.starts_with(|c: char| c.is_ascii_digit())
}

fn is_protocol(word: &str) -> bool {
    matches!(word, "tcp" | "udp" | "sctp")
}

/// A text up to its last word: no blanks, line ends or comments behind it.
fn without_last_comments(text: &str) -> &str {
    let mut text = text.trim_end();
    loop {
        let line_start = text.rfind('\n').map_or(0, |at| at + 1);
        let comment = comment_start(text.get(line_start..).unwrap_or_default());
        match text.get(..line_start + comment) {
            Some(cut) if cut.len() < text.len() => text = cut.trim_end(),
            _ => return text,
        }
    }
}

/// The last word of a text that ends with none of the blanks, or the sign that it ends with.
fn last_word(text: &str) -> &str {
    let signs = [' ', '\t', '\n', ',', '='];
    let start = match text.strip_suffix([',', '=']) {
        Some(before) => before.len(),
        None => text.rfind(signs).map_or(0, |at| at + 1),
    };
    text.get(start..).unwrap_or_default()
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

//! What is wrong with a statement that the grammar does not read, in the operator's words.

use pest::error::{ErrorVariant, InputLocation};

use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;

use super::grammar::{Piece, Rule, offset, read};
use super::tree::{Word, WordKind};
use super::vocabulary::{
    BlockKind, Form, SERVER_OPTIONS, TOP_STATEMENTS, foreign_word, form_of, nearest,
};

/// Where a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In no block.
    Top,
    /// In a block of flb's.
    In(BlockKind),
    /// In a block that flb does not have.
    Foreign,
}

/// A statement that no rule reads. If `brief`, the fault is only counted and needs no words.
pub(super) fn malformed(piece: &Piece<'_>, place: Place, brief: bool) -> Diagnostic {
    let keyword = piece.keyword_text();
    let form = form_of(keyword);
    if brief {
        let code = form.map_or(Code::UnknownStatement, |_| Code::BadStatement);
        return Diagnostic::new(code, piece.span(), "");
    }
    match form {
        Some(form) => wrong_form(piece, form),
        None if keyword.is_empty() => no_word(piece),
        None => unknown_statement(piece, place),
    }
}

/// A word that stands where the address would, in a server whose first word is the address already.
fn second_address<'t>(piece: &Piece<'t>) -> Option<(Span, &'t str)> {
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
        && !SERVER_OPTIONS.contains(&word);
    is_second_address.then_some((
        Span {
            start,
            end: start + offset(word.len()),
            ..name
        },
        word,
    ))
}

/// A statement that the grammar reads and that can still not be meant as it is written.
pub(super) fn doubtful(piece: &Piece<'_>) -> Option<Diagnostic> {
    if piece.rule() != Rule::server {
        return None;
    }
    let mut parts = piece.parts().map(|part| part.rule());
    if parts.nth(1) != Some(Rule::address) {
        return None;
    }
    let (span, word) = second_address(piece)?;
    Some(not_an_option(span, word))
}

/// `service NAME` without a `{` behind it.
pub(super) fn missing_brace(piece: &Piece<'_>) -> Diagnostic {
    let text = piece.text();
    Diagnostic::new(
        Code::BadStatement,
        piece.span(),
        format!("`{text}` needs a `{{` after it"),
    )
    .help(format!("write `{text} {{`, its statements, and `}}`"))
}

/// A statement for a block that stands in none.
pub(super) fn outside_of_blocks(piece: &Piece<'_>) -> Diagnostic {
    let keyword = piece.keyword_text();
    let blocks = match keyword {
        "server" => "a service or a pool",
        "vip" => "a service",
        _ => "a service or in `defaults`",
    };
    Diagnostic::new(
        Code::MisplacedStatement,
        piece.keyword(),
        format!("`{keyword}` stands outside of any block"),
    )
    .help(format!(
        "it stands in {blocks}; is there a `}}` too many before it?"
    ))
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

fn no_word(piece: &Piece<'_>) -> Diagnostic {
    let first = piece.text().chars().next().unwrap_or_default();
    let span = Span {
        end: piece.span().start + offset(first.len_utf8()),
        ..piece.span()
    };
    let message = match first {
        '"' => "A statement starts with a word, not with a quote".to_owned(),
        '$' => "A constant stands where a value stands, not as a statement".to_owned(),
        _ => format!("A statement starts with a word, not with `{first}`"),
    };
    Diagnostic::new(Code::BadStatement, span, message)
}

fn unknown_statement(piece: &Piece<'_>, place: Place) -> Diagnostic {
    let keyword = piece.keyword_text();
    let fault = |message| Diagnostic::new(Code::UnknownStatement, piece.keyword(), message);
    if let Some(help) = foreign_word(keyword) {
        return fault(format!("`{keyword}` starts no statement")).help(help);
    }
    let (here, where_to) = match place {
        Place::Top => (TOP_STATEMENTS, "at the top level"),
        Place::In(BlockKind::Service) => (BlockKind::Service.statements(), "in a service"),
        Place::In(BlockKind::Pool) => (BlockKind::Pool.statements(), "in a pool"),
        Place::In(BlockKind::Defaults) => (BlockKind::Defaults.statements(), "in `defaults`"),
        Place::Foreign => (&[][..], "here"),
    };
    let everywhere = TOP_STATEMENTS.iter().chain(BlockKind::Service.statements());
    let near = nearest(keyword, here.iter().copied())
        .or_else(|| nearest(keyword, everywhere.copied()))
        .or_else(|| glued(keyword));
    let fault = fault(format!("`{keyword}` is no statement"));
    match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None if here.is_empty() => fault,
        None => fault.help(format!("{where_to}, flb has {}", quoted_list(here))),
    }
}

/// The keyword that has its argument glued to it: `vip10.0.0.1`.
fn glued(word: &str) -> Option<&'static str> {
    let everywhere = TOP_STATEMENTS.iter().chain(BlockKind::Service.statements());
    everywhere.copied().find(|keyword| {
        word.strip_prefix(keyword)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// A statement with a keyword of flb's, and arguments that its rule does not read.
fn wrong_form(piece: &Piece<'_>, form: &Form) -> Diagnostic {
    if let Some((span, word)) = second_address(piece) {
        return not_an_option(span, word);
    }
    // With a blank at the end, the grammar gets as far as to ask for what is missing there.
    let text = format!("{} ", piece.text());
    let (at, expected) = match read(form.rule, &text) {
        Ok(_) => (piece.text().len(), Vec::new()),
        Err(error) => failure(&error),
    };
    let gap = Gap::new(piece, &text, at, expected);
    let fault = gap.fault(form);
    if fault.help.is_some() {
        return fault;
    }
    fault.help(format!(
        "it is written `{}`, for example `{}`",
        form.usage, form.example
    ))
}

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
    /// What stands before it.
    before: &'t str,
    /// The word, or sign, that stands there; empty at the end of the statement.
    found: &'t str,
    /// What stands behind that.
    after: &'t str,
    /// Where that is; at the end, where the last word before it is.
    span: Span,
    expected: Vec<Rule>,
}

impl<'t> Gap<'t> {
    fn new(piece: &Piece<'_>, text: &'t str, at: usize, expected: Vec<Rule>) -> Self {
        let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
        let before = before.trim_end();
        let rest = rest.trim_start();
        let length = match read(Rule::name, rest) {
            Ok(word) => word.as_str().len(),
            Err(_) => rest.chars().next().map_or(0, char::len_utf8),
        };
        let found = rest.get(..length).unwrap_or_default();
        let start = match found {
            "" => before.len() - last_word(before).len(),
            _ => text.len() - rest.len(),
        };
        let marked = match found {
            "" => last_word(before).len(),
            _ => length,
        };
        let span = Span {
            start: piece.span().start + offset(start),
            end: piece.span().start + offset(start + marked),
            ..piece.span()
        };
        Self {
            before,
            found,
            after: rest.get(length..).unwrap_or_default(),
            span,
            expected,
        }
    }

    fn fault(&self, form: &Form) -> Diagnostic {
        let wanted = self.expected.iter().find_map(|rule| argument(*rule));
        let keyword = form.keyword;
        match (self.found, wanted) {
            ("\"", _) => self.says("The quote is not closed on its line"),
            ("", Some(wanted)) => self.missing(form, wanted),
            (",", Some(wanted)) => {
                self.says(format!("{} is missing before the comma", capital(wanted)))
            }
            (",", None) if self.before.ends_with(',') => self.says("Two commas stand side by side"),
            (",", None) => self.says(format!("`{keyword}` takes no list here")),
            ("=", None) => self.says(format!("`{keyword}` takes no `=` here")),
            (found, Some(wanted)) => self.wrong(form, found, wanted),
            (found, None) => self.too_much(form, found),
        }
    }

    fn says(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Code::BadStatement, self.span, message)
    }

    /// The statement ends too early.
    fn missing(&self, form: &Form, wanted: &str) -> Diagnostic {
        let keyword = form.keyword;
        if self.before.ends_with(',') {
            return self
                .says(format!("`{keyword}` ends with a comma"))
                .help(format!(
                    "write {wanted} after the comma, or take the comma away"
                ));
        }
        let last = last_word(self.before);
        if form.rule == Rule::vip && self.expected.contains(&Rule::port) && reads_as_port(last) {
            return self.says("`vip` needs a protocol between the address and the ports");
        }
        if form.rule == Rule::vip && self.expected.contains(&Rule::protocol) {
            return self.says("`vip` needs a protocol and ports after the address");
        }
        if last == keyword {
            return self.says(format!("`{keyword}` needs {wanted}"));
        }
        self.says(format!("`{keyword}` needs {wanted} after `{last}`"))
    }

    /// Something else stands there than what must.
    fn wrong(&self, form: &Form, found: &str, wanted: &str) -> Diagnostic {
        let keyword = form.keyword;
        match form.rule {
            Rule::include if found.starts_with('$') => {
                self.says("A constant cannot stand for the path of `include`")
            }
            Rule::include => self
                .says("The path of `include` stands in double quotes")
                .help(format!("write `include \"{found}\"`")),
            Rule::mode
                if !self.expected.contains(&Rule::on) && !self.expected.contains(&Rule::from) =>
            {
                self.says(format!("`{found}` is no mode"))
            }
            _ => self.says(format!("`{keyword}` needs {wanted} before `{found}`")),
        }
    }

    /// The statement goes on where it should end.
    fn too_much(&self, form: &Form, found: &str) -> Diagnostic {
        let fault = match form.rule {
            Rule::server if self.after.starts_with('=') => {
                return self.says(format!("`{found}` takes no `=`")).help(format!(
                    "write a blank instead: `{found} {}`",
                    self.after.trim_matches(['=', ' '])
                ));
            }
            Rule::server => return not_an_option(self.span, found),
            Rule::vip if is_protocol(found) => {
                return self
                    .says(format!(
                        "`{found}` stands behind the ports, or without a comma"
                    ))
                    .help("write a `vip` line for each protocol, or `tcp, udp` for both");
            }
            Rule::vip | Rule::allow | Rule::deny | Rule::define => {
                return self
                    .says(format!("A comma is missing before `{found}`"))
                    .help(format!("write `{}, {found}`", last_word(self.before)));
            }
            Rule::defaults => self.says(format!(
                "`defaults` has no name, and `{found}` cannot follow it"
            )),
            Rule::scheduler if found == "by" => self
                .says("`by` stands before `table`")
                .help("write `scheduler maglev by KEY table N`"),
            _ => self.says(format!("`{found}` is too much in `{}`", form.keyword)),
        };
        let options: &[&str] = match form.rule {
            Rule::scheduler => &["by", "table"],
            Rule::persist => &["by"],
            Rule::mode => &["via", "from", "masquerade", "snat"],
            _ => &[],
        };
        match nearest(found, options.iter().copied()) {
            Some(near) if near != found => fault.help(format!("did you mean `{near}`?")),
            _ => fault,
        }
    }
}

/// A word behind a server's address that is no option.
fn not_an_option(span: Span, word: &str) -> Diagnostic {
    let fault = Diagnostic::new(
        Code::BadStatement,
        span,
        format!("`{word}` is no option of `server`"),
    );
    if reads_as_address(word) {
        return fault
            .help("one server has one address; the name before it starts with a letter or `_`");
    }
    match nearest(word, SERVER_OPTIONS.iter().copied()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help(format!("the options are {}", quoted_list(SERVER_OPTIONS))),
    }
}

/// What a message calls the argument that a rule reads; nothing for what need not stand there.
fn argument(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::action => "`reject` or `drop`",
        Rule::address | Rule::name_or_address => "an address",
        Rule::algorithm => "a scheduler",
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
fn reads_as_address(word: &str) -> bool {
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

fn last_word(text: &str) -> &str {
    text.rsplit([' ', '\t', '\n', ',', '='])
        .next()
        .unwrap_or_default()
}

fn quoted_list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

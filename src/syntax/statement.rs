//! From a piece to a declaration.
//!
//! `None` means a piece that lacks a part which its rule has, so that the two files disagree; the
//! caller reports the statement as malformed rather than lose it.

use super::grammar::{Piece, Rule};
use super::tree::{
    DefineDecl, IncludeDecl, List, ModeDecl, ServerDecl, ServerOption, SettingDecl, Statement,
    StatementDecl, ViaDecl, Word,
};
use super::vocabulary::{Keyword, OptionWord};

/// `include "PATH"`, its files not yet read.
pub(super) fn include(piece: &Piece<'_>) -> Option<IncludeDecl> {
    Some(IncludeDecl {
        span: piece.span(),
        path: first(piece, Rule::path)?,
        matches_nothing: false,
        trees: Vec::new(),
    })
}

/// `define NAME = VALUE, ...`
pub(super) fn define(piece: &Piece<'_>) -> Option<DefineDecl> {
    Some(DefineDecl {
        span: piece.span(),
        name: first(piece, Rule::name)?,
        values: list(piece, Rule::value)?,
    })
}

/// The NAME of `service NAME` or `pool NAME`.
pub(super) fn name(piece: &Piece<'_>) -> Option<Word> {
    first(piece, Rule::name)
}

/// A statement that stands in a block.
pub(super) fn statement(piece: &Piece<'_>) -> Option<StatementDecl> {
    let setting = Statement::Setting;
    let statement = match Keyword::of_rule(piece.rule())? {
        Keyword::Server => Statement::Server(Box::new(server(piece)?)),
        Keyword::Vip => Statement::Vip {
            addresses: list(piece, Rule::address)?,
            protocols: list(piece, Rule::protocol)?,
            ports: list(piece, Rule::port)?,
        },
        Keyword::Mode => setting(SettingDecl::Mode(
            piece.parts().find_map(|part| mode(&part))?,
        )),
        Keyword::Scheduler => setting(SettingDecl::Scheduler {
            name: first(piece, Rule::algorithm)?,
            by: nested(piece, Rule::by, Rule::key),
            table: nested(piece, Rule::table, Rule::number),
        }),
        Keyword::Persist => setting(SettingDecl::Persist {
            duration: first(piece, Rule::duration)?,
            by: nested(piece, Rule::by, Rule::key),
        }),
        Keyword::Track => setting(SettingDecl::Track {
            duration: first(piece, Rule::duration)?,
        }),
        Keyword::Allow => setting(SettingDecl::Allow {
            prefixes: list(piece, Rule::prefix)?,
        }),
        Keyword::Deny => setting(SettingDecl::Deny {
            prefixes: list(piece, Rule::prefix)?,
        }),
        Keyword::OnEmpty => setting(SettingDecl::OnEmpty {
            action: first(piece, Rule::action)?,
        }),
        Keyword::Pool => Statement::Pool { name: name(piece)? },
        Keyword::Include | Keyword::Define | Keyword::Defaults | Keyword::Service => return None,
    };
    Some(StatementDecl {
        span: piece.span(),
        keyword: piece.keyword(),
        statement,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pest makes the rules; a part that is no mode makes the statement malformed"
)]
fn mode(part: &Piece<'_>) -> Option<ModeDecl> {
    Some(match part.rule() {
        Rule::nat => ModeDecl::Nat,
        Rule::masquerade => ModeDecl::Masquerade,
        Rule::snat => ModeDecl::Snat {
            addresses: list(part, Rule::address)?,
        },
        Rule::dr => ModeDecl::Dr {
            on: list(part, Rule::interface)?,
            via: part.parts().find_map(|part| via(&part)),
        },
        _ => return None,
    })
}

fn via(part: &Piece<'_>) -> Option<ViaDecl> {
    if part.rule() != Rule::via {
        return None;
    }
    Some(ViaDecl {
        interface: first(part, Rule::interface)?,
        from: first(part, Rule::mac_address),
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pest makes the rules; what is neither name nor address is an option"
)]
fn server(piece: &Piece<'_>) -> Option<ServerDecl> {
    let (mut first, mut second, mut options) = (None, None, Vec::new());
    for part in piece.parts() {
        match part.rule() {
            Rule::name_or_address => first = Some(part.word()),
            Rule::address => second = Some(part.word()),
            _ => options.push(option(&part)?),
        }
    }
    let (name, address) = match second {
        Some(address) => (first, address),
        None => (None, first?),
    };
    Some(ServerDecl {
        name,
        address,
        options,
    })
}

fn option(part: &Piece<'_>) -> Option<ServerOption> {
    Some(match OptionWord::of_rule(part.rule())? {
        OptionWord::Weight => ServerOption::Weight(first(part, Rule::number)?),
        OptionWord::Mac => ServerOption::Mac(first(part, Rule::mac_address)?),
        OptionWord::Via => ServerOption::Via(via(part)?),
        OptionWord::Drain => ServerOption::Drain(part.span()),
        OptionWord::Down => ServerOption::Down(part.span()),
        OptionWord::Backup => ServerOption::Backup(part.span()),
    })
}

/// The first argument of a kind.
fn first(piece: &Piece<'_>, kind: Rule) -> Option<Word> {
    piece
        .parts()
        .find(|part| part.rule() == kind)
        .map(|part| part.word())
}

/// The argument of a kind that stands in an optional part.
fn nested(piece: &Piece<'_>, part: Rule, kind: Rule) -> Option<Word> {
    let part = piece.parts().find(|found| found.rule() == part)?;
    first(&part, kind)
}

/// All arguments of a kind, of which there is at least one.
fn list(piece: &Piece<'_>, kind: Rule) -> Option<List> {
    let words: List = piece
        .parts()
        .filter(|part| part.rule() == kind)
        .map(|part| part.word())
        .collect();
    (!words.is_empty()).then_some(words)
}

//! What was written: parsed, not yet known to be right.
//!
//! A `*Decl` holds words and their places. Numbers, addresses and names are read by `check`, which
//! also replaces `$NAME`.

use crate::source::{FileId, Span};

use super::vocabulary::{Keyword, OptionWord};

pub use super::word::{Word, WordKind};

/// The statements of one file, in order.
#[derive(Debug)]
pub struct Tree {
    /// The file that was parsed.
    pub file: FileId,
    /// The statements outside of blocks, in the order written.
    pub items: Vec<Item>,
    /// A top-level statement could not be read, so what seems undefined may stand there.
    pub damaged: bool,
}

impl Tree {
    /// Where the file starts.
    pub fn place(&self) -> Span {
        Span {
            file: self.file,
            start: 0,
            end: 0,
        }
    }
}

/// Words with commas between them; never empty.
pub type List = Vec<Word>;

/// A top-level statement.
#[derive(Debug)]
pub enum Item {
    /// `include "PATH"`
    Include(IncludeDecl),
    /// `define NAME = VALUE, ...`
    Define(DefineDecl),
    /// `defaults { ... }`
    Defaults(DefaultsDecl),
    /// `pool NAME { ... }`
    Pool(PoolDecl),
    /// `service NAME { ... }`
    Service(ServiceDecl),
}

/// `include "PATH"`, with the files that were read for it.
#[derive(Debug)]
pub struct IncludeDecl {
    /// The whole `include` statement.
    pub span: Span,
    /// The path, quoted.
    pub path: Word,
    /// The path is a pattern, and there is no file that it could name.
    pub matches_nothing: bool,
    /// The files it named, parsed, in the order in which they count.
    pub trees: Vec<Tree>,
}

/// `define NAME = VALUE, ...`
#[derive(Debug)]
pub struct DefineDecl {
    /// The whole `define` statement.
    pub span: Span,
    /// NAME
    pub name: Word,
    /// The values.
    pub values: List,
}

/// `defaults { ... }`
#[derive(Debug)]
pub struct DefaultsDecl {
    /// From the keyword to the closing brace.
    pub span: Span,
    /// What stands between the braces. Any statement parses here; check refuses what has no default.
    pub statements: Vec<StatementDecl>,
    /// A statement between the braces could not be read, so what seems missing may stand there.
    pub damaged: bool,
}

/// `pool NAME { server ... }`
#[derive(Debug)]
pub struct PoolDecl {
    /// From the keyword to the closing brace.
    pub span: Span,
    /// NAME
    pub name: Word,
    /// What stands between the braces. Any statement parses here; check refuses all but `server`.
    pub statements: Vec<StatementDecl>,
    /// A statement between the braces could not be read, so what seems missing may stand there.
    pub damaged: bool,
}

/// `service NAME { ... }`
#[derive(Debug)]
pub struct ServiceDecl {
    /// From the keyword to the closing brace.
    pub span: Span,
    /// NAME
    pub name: Word,
    /// What stands between the braces.
    pub statements: Vec<StatementDecl>,
    /// A statement between the braces could not be read, so what seems missing may stand there.
    pub damaged: bool,
}

/// One statement in a block.
#[derive(Debug)]
pub struct StatementDecl {
    /// From the keyword to the last argument.
    pub span: Span,
    /// The keyword.
    pub keyword: Span,
    /// Which statement it is, with its arguments.
    pub statement: Statement,
}

/// The statements that a block may hold.
#[derive(Debug)]
pub enum Statement {
    /// `vip ADDR, ... PROTO, ... PORTS`
    Vip {
        /// Addresses.
        addresses: List,
        /// `tcp`, `udp`, `sctp`
        protocols: List,
        /// Ports, ranges, or `any`.
        ports: List,
    },
    /// One of those that `defaults` may hold too.
    Setting(SettingDecl),
    /// `pool NAME`
    Pool {
        /// NAME
        name: Word,
    },
    /// `server ...`; boxed, as it is far larger than the others
    Server(Box<ServerDecl>),
}

impl Statement {
    /// The word that the statement starts with.
    pub const fn keyword(&self) -> Keyword {
        match self {
            Self::Vip { .. } => Keyword::Vip,
            Self::Setting(setting) => setting.keyword(),
            Self::Pool { .. } => Keyword::Pool,
            Self::Server(_) => Keyword::Server,
        }
    }
}

/// The statements that a service and `defaults` may hold.
#[derive(Debug)]
pub enum SettingDecl {
    /// `mode ...`
    Mode(ModeDecl),
    /// `scheduler NAME [by KEY] [table N]`
    Scheduler {
        /// The name or an alias, unchecked.
        name: Word,
        /// KEY
        by: Option<Word>,
        /// N
        table: Option<Word>,
    },
    /// `persist DURATION [by source[/P4[/P6]]]`; the duration may be `off`
    Persist {
        /// DURATION or `off`
        duration: Word,
        /// `source[/P4[/P6]]`
        by: Option<Word>,
    },
    /// `track DURATION`; the duration may be `off`
    Track {
        /// DURATION or `off`
        duration: Word,
    },
    /// `allow from PREFIX, ...`
    Allow {
        /// Prefixes and addresses.
        prefixes: List,
    },
    /// `deny from PREFIX, ...`
    Deny {
        /// Prefixes and addresses.
        prefixes: List,
    },
    /// `on-empty reject|drop`
    OnEmpty {
        /// `reject` or `drop`, unchecked
        action: Word,
    },
}

impl SettingDecl {
    /// The word that the statement starts with.
    pub const fn keyword(&self) -> Keyword {
        match self {
            Self::Mode(_) => Keyword::Mode,
            Self::Scheduler { .. } => Keyword::Scheduler,
            Self::Persist { .. } => Keyword::Persist,
            Self::Track { .. } => Keyword::Track,
            Self::Allow { .. } => Keyword::Allow,
            Self::Deny { .. } => Keyword::Deny,
            Self::OnEmpty { .. } => Keyword::OnEmpty,
        }
    }
}

/// `mode ...`
#[derive(Debug)]
pub enum ModeDecl {
    /// `nat`
    Nat,
    /// `nat masquerade`
    Masquerade,
    /// `nat snat ADDR[, ADDR]`
    Snat {
        /// The source addresses.
        addresses: List,
    },
    /// `dr on IFACE, ... [via IFACE [from MAC]]`
    Dr {
        /// The incoming interfaces.
        on: List,
        /// The outgoing one.
        via: Option<ViaDecl>,
    },
}

/// `via IFACE [from MAC]`
#[derive(Debug, Clone, Copy)]
pub struct ViaDecl {
    /// IFACE
    pub interface: Word,
    /// MAC
    pub from: Option<Word>,
}

/// `server [NAME] ADDR[:PORT] [weight N] [mac MAC] [via IFACE [from MAC]] [drain | down | backup]`
#[derive(Debug)]
pub struct ServerDecl {
    /// NAME, which may hold a range (`web[1-3]`).
    pub name: Option<Word>,
    /// `ADDR[:PORT]`, which may hold a range (`10.20.0.[11-13]:8080`).
    pub address: Word,
    /// The options, in the order written, repetitions and all.
    pub options: Vec<ServerOption>,
}

/// One option of a server.
#[derive(Debug, Clone, Copy)]
pub enum ServerOption {
    /// `weight N`
    Weight(Word),
    /// `mac MAC`
    Mac(Word),
    /// `via IFACE [from MAC]`
    Via(ViaDecl),
    /// `drain`
    Drain(Span),
    /// `down`
    Down(Span),
    /// `backup`
    Backup(Span),
}

impl ServerOption {
    /// The word that the option starts with.
    pub const fn word(&self) -> OptionWord {
        match self {
            Self::Weight(_) => OptionWord::Weight,
            Self::Mac(_) => OptionWord::Mac,
            Self::Via(_) => OptionWord::Via,
            Self::Drain(_) => OptionWord::Drain,
            Self::Down(_) => OptionWord::Down,
            Self::Backup(_) => OptionWord::Backup,
        }
    }

    /// The place of the option's argument, or of the option where it has none.
    pub fn span(&self) -> Span {
        match self {
            Self::Weight(word) | Self::Mac(word) => word.span,
            Self::Via(via) => {
                let end = via.from.map_or(via.interface.span, |from| from.span);
                via.interface.span.to(end)
            }
            Self::Drain(span) | Self::Down(span) | Self::Backup(span) => *span,
        }
    }
}

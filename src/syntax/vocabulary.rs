//! The words that start a statement: flb's own, and those that people bring along from elsewhere.
//!
//! What flb has is said once, in the table of [`Keyword`] and that of [`OptionWord`]. Faults, `fmt` and the tests of the
//! grammar, of the manual, of the fuzzer's dictionary and of the goldens follow from them.

use crate::diagnostic::nearest;

use super::grammar::Rule;

/// Where a statement may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In no block.
    Top,
    /// In `service NAME { ... }`.
    Service,
    /// In `pool NAME { ... }`.
    Pool,
    /// In `defaults { ... }`.
    Defaults,
}

impl Home {
    /// The statements that may stand here, in the order in which a message lists them.
    pub fn statements(self) -> impl Iterator<Item = Keyword> {
        let all = Keyword::ALL.iter().copied();
        all.filter(move |keyword| keyword.homes().contains(&self))
    }
}

/// How often a statement may stand in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Often {
    /// A second one is a fault, or takes the place of the first: `mode`, `defaults`.
    Once,
    /// As often as the operator likes: `server`.
    Many,
}

macro_rules! statements {
    ($($name:ident $text:literal $rule:ident $often:ident [$($home:ident)+]: $usage:literal, $example:literal;)+) => {
        /// A statement of flb, by its first word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Keyword {
            $(#[doc = concat!("`", $usage, "`")] $name,)+
        }

        impl Keyword {
            /// Every statement that flb has.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word itself: `on-empty`.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The kinds of block in which the statement may stand.
            pub const fn homes(self) -> &'static [Home] {
                match self { $(Self::$name => &[$(Home::$home),+],)+ }
            }

            /// How often the statement may stand in one block.
            pub const fn often(self) -> Often {
                match self { $(Self::$name => Often::$often,)+ }
            }

            /// The statement's form, as in flb.5: `on-empty reject | drop`.
            pub const fn usage(self) -> &'static str {
                match self { $(Self::$name => $usage,)+ }
            }

            /// A statement of this kind that is right: `on-empty reject`.
            pub const fn example(self) -> &'static str {
                match self { $(Self::$name => $example,)+ }
            }

            /// The grammar's rule for it.
            pub(super) const fn rule(self) -> Rule {
                match self { $(Self::$name => Rule::$rule,)+ }
            }

            /// The statement that a rule of the grammar reads, if it reads one.
            pub(super) const fn of_rule(rule: Rule) -> Option<Self> {
                match rule { $(Rule::$rule => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

statements! {
    Include "include" include Many [Top]: "include \"PATH\"", "include \"conf.d/*.flb\"";
    Define "define" define Many [Top]: "define NAME = VALUE, ...", "define office = 198.51.100.0/24";
    Defaults "defaults" defaults Many [Top]: "defaults { ... }", "defaults {";
    Service "service" service Many [Top]: "service NAME { ... }", "service www {";
    Vip "vip" vip Many [Service]: "vip ADDR, ... PROTO, ... PORTS", "vip 192.0.2.10 tcp 80, 443";
    Mode "mode" mode Once [Service Defaults]: "mode nat [masquerade | snat ADDR, ...] | mode dr on IFACE, ... [via IFACE [from MAC]]", "mode dr on eth0";
    Scheduler "scheduler" scheduler Once [Service Defaults]: "scheduler NAME [by KEY] [table N]", "scheduler maglev by source";
    Persist "persist" persist Once [Service Defaults]: "persist DURATION [by source[/PREFIX4[/PREFIX6]]]", "persist 5m";
    Track "track" track Once [Service Defaults]: "track DURATION", "track 5m";
    Allow "allow" allow Many [Service Defaults]: "allow from PREFIX, ...", "allow from 198.51.100.0/24, 10.0.0.0/8";
    Deny "deny" deny Many [Service Defaults]: "deny from PREFIX, ...", "deny from 203.0.113.0/24";
    OnEmpty "on-empty" on_empty Once [Service Defaults]: "on-empty reject | drop", "on-empty reject";
    Pool "pool" pool Many [Top Service]: "pool NAME", "pool web";
    Server "server" server Many [Service Pool]: "server [NAME] ADDR[:PORT] [weight N] [mac MAC] [via IFACE [from MAC]] [drain | down | backup]", "server web1 10.20.0.11:8080 weight 3";
}

/// What a piece of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// A statement that the grammar reads.
    Statement(Keyword),
    /// Text that no rule of the grammar reads.
    Malformed,
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    Semicolon,
    /// `# ...`
    Comment,
}

impl PieceKind {
    /// The kind of a piece that this rule of the grammar read.
    pub(super) const fn of(rule: Rule) -> Self {
        match (Keyword::of_rule(rule), rule) {
            (Some(keyword), _) => Self::Statement(keyword),
            (None, Rule::open) => Self::Open,
            (None, Rule::close) => Self::Close,
            (None, Rule::semicolon) => Self::Semicolon,
            (None, Rule::comment) => Self::Comment,
            (None, _) => Self::Malformed,
        }
    }
}

impl Keyword {
    /// The statement that starts with this word.
    pub fn of(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|keyword| keyword.text() == word)
    }
}

/// The kinds of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Service,
    Pool,
    Defaults,
}

impl BlockKind {
    const ALL: [Self; 3] = [Self::Service, Self::Pool, Self::Defaults];

    /// The statement that starts it.
    const fn keyword(self) -> Keyword {
        match self {
            Self::Service => Keyword::Service,
            Self::Pool => Keyword::Pool,
            Self::Defaults => Keyword::Defaults,
        }
    }

    /// What may stand in it.
    pub(super) const fn home(self) -> Home {
        match self {
            Self::Service => Home::Service,
            Self::Pool => Home::Pool,
            Self::Defaults => Home::Defaults,
        }
    }

    /// The block that a statement starts.
    pub(super) fn started_by(keyword: Keyword) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.keyword() == keyword)
    }

    /// The block that a word starts.
    pub(super) fn of_keyword(word: &str) -> Option<Self> {
        Keyword::of(word).and_then(Self::started_by)
    }

    /// The block that a keyword starts, if need be with a slip of the hand.
    pub(super) fn meant_by(keyword: &str) -> Option<Self> {
        let words = Self::ALL.map(|kind| kind.keyword().text());
        nearest(keyword, words).and_then(Self::of_keyword)
    }
}

macro_rules! options {
    ($($name:ident $text:literal $rule:ident $kind:ident: $usage:literal, $example:literal;)+) => {
        /// An option of `server`, by its first word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum OptionWord {
            $(#[doc = concat!("`", $usage, "`")] $name,)+
        }

        impl OptionWord {
            /// Every option that `server` has.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word itself: `weight`.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The option's form: `weight N`.
            pub const fn usage(self) -> &'static str {
                match self { $(Self::$name => $usage,)+ }
            }

            /// An option of this kind that is right: `weight 3`.
            pub const fn example(self) -> &'static str {
                match self { $(Self::$name => $example,)+ }
            }

            /// Whether it says what state a server is in. A server is in one.
            pub const fn is_state(self) -> bool {
                match self { $(Self::$name => matches!(OptionKind::$kind, OptionKind::State),)+ }
            }

            /// The option that a rule of the grammar reads, if it reads one.
            pub(super) const fn of_rule(rule: Rule) -> Option<Self> {
                match rule { $(Rule::$rule => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

/// What an option of `server` says.
enum OptionKind {
    /// The state that the server is in.
    State,
    /// A value.
    Value,
}

options! {
    Weight "weight" weight Value: "weight N", "weight 3";
    Mac "mac" mac Value: "mac MAC", "mac 02:00:00:00:00:22";
    Via "via" via Value: "via IFACE [from MAC]", "via eth1";
    Drain "drain" drain State: "drain", "drain";
    Down "down" down State: "down", "down";
    Backup "backup" backup State: "backup", "backup";
}

impl OptionWord {
    /// The option that starts with this word.
    pub fn of(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|option| option.text() == word)
    }

    /// The words of all options.
    pub(super) fn texts() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|option| option.text())
    }
}

/// The other names of schedulers: the alias, the scheduler, and what it goes by if that is said with the name.
pub const SCHEDULER_ALIASES: &[(&str, &str, Option<&str>)] = &[
    ("rr", "round-robin", None),
    ("wrr", "round-robin", None),
    ("sh", "hash", Some("source")),
    ("mh", "maglev", Some("source")),
];

/// Words as a message lists them.
pub(super) fn quoted_list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted = words.into_iter().map(|word| format!("`{word}`"));
    quoted.collect::<Vec<_>>().join(", ")
}

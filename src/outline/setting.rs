//! What a value in an outline is the value of.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use crate::syntax::{Keyword, OptionWord};

/// The values of a service or a server, by what they are of; what is not set is not there.
pub type SettingValues = BTreeMap<SettingKey, String>;

/// What a value is of. Settings are the same, and stand in order, by their words.
#[derive(Debug, Clone)]
pub enum SettingKey {
    /// A statement of a service: `scheduler`.
    Statement(Keyword),
    /// An option of a server that has a value: `weight`.
    Option(OptionWord),
    /// Whether a server takes clients: `up`, `drain`, `down` or `backup`, told by its value alone.
    State,
    /// What compiled rules tell that no one word of a file says: `IPv4 scheduler`.
    Compiled(Cow<'static, str>),
}

impl SettingKey {
    /// What an operator calls the setting: `scheduler`.
    pub fn words(&self) -> &str {
        match self {
            Self::Statement(keyword) => keyword.text(),
            Self::Option(option) => option.text(),
            Self::State => "state",
            Self::Compiled(words) => words,
        }
    }
}

impl fmt::Display for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl PartialEq for SettingKey {
    fn eq(&self, other: &Self) -> bool {
        self.words() == other.words()
    }
}

impl Eq for SettingKey {}

impl PartialOrd for SettingKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SettingKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.words().cmp(other.words())
    }
}

// A setting is found by its words too.
impl Borrow<str> for SettingKey {
    fn borrow(&self) -> &str {
        self.words()
    }
}

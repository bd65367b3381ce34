//! From one word to one value. Pure functions: they know neither places nor constants.

pub(super) use address::{address, endpoint};
pub(super) use choice::choice;
pub(super) use duration::duration;
pub(super) use interface::interface;
pub(super) use mac::mac;
pub(super) use name::name;
pub(super) use number::decimal;
pub(super) use persistence::client_prefixes;
pub(super) use port::ports;
pub(super) use prefix::prefix;
pub(super) use prime::{is_prime, primes_around};
pub(super) use refusal::{impossible_server, impossible_snat, impossible_vip, is_link_local_v6};
pub(super) use scheduler::{Algorithm, KEYS, algorithm};
pub(super) use server_range::{Pattern, address_pattern, name_pattern};

use crate::diagnostic::{Code, quote};
use crate::syntax::plainly;

mod address;
mod choice;
mod duration;
mod interface;
mod mac;
mod name;
mod number;
mod persistence;
mod port;
mod prefix;
mod prime;
mod refusal;
mod scheduler;
mod server_range;

/// What is wrong with a word that would be right in plain signs: `5000–5999`, `‘web’`, with the dash and the quotes of word
/// processors.
fn in_plain_signs<T>(
    text: &str,
    code: Code,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
) -> Option<Wrong> {
    let plain = plainly(text)?;
    parse(&plain).ok()?;
    let message = format!("{} has signs that only look like those of flb", quote(text));
    Some(Wrong::new(code, message).help(format!("write {plain}")))
}

/// What is wrong with a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The kind of fault.
    pub(super) code: Code,
    /// One sentence, without a full stop.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

impl Wrong {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

//! Names of tables, sets and chains that every nft can read back.

use std::sync::Arc;

use crate::model::Family;

/// The name of both tables unless the operator chooses another.
pub const DEFAULT_TABLE: &str = "flbc";

/// The longest table name.
pub const MAX_TABLE: usize = 64;

/// Whether nft 1.0.6 can read a table of this name: words of its own language it cannot.
///
/// A letter first, then letters, digits, `_` and `-`, at most [`MAX_TABLE`] bytes, and `lb` or `flb` in front
/// or some other beginning that no nft keyword has: it must contain `flb`.
pub fn is_table(name: &str) -> bool {
    name.len() <= MAX_TABLE
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The chain of one service for one family: `svc_www_v4`.
pub fn service_chain(service: &str, family: Family) -> Arc<str> {
    format!("svc_{service}_v{}", digit(family)).into()
}

/// A set or chain that each family has one of: `addr4`.
pub fn per_family(stem: &str, family: Family, rest: &str) -> Arc<str> {
    format!("{stem}{}{rest}", digit(family)).into()
}

/// A set or chain that each interface has one of: `on_eth0`. `@`, which nft does not take in a name, becomes
/// `/`, which an interface's name never holds.
pub fn per_interface(stem: &str, interface: &str) -> Arc<str> {
    format!("{stem}_{}", interface.replace('@', "/")).into()
}

const fn digit(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

//! Whether a table that has flbc's name is one of flbc's.

use std::sync::Arc;

use crate::diff::ObservedTable;
use crate::kernel::ID_STEM;
use crate::ruleset::name;

/// What shows that another program made a table; `None`: flbc made it, or may have, or nothing is in it.
///
/// A table that `flbc apply` made has a text that tells so. One that `nft -f` made of what `flbc compile` wrote has none: it
/// is known by the names of its sets and chains.
pub(crate) fn strange(table: &ObservedTable) -> Option<String> {
    // Tables without such a text are told apart by their number: that is no sign.
    let is_own = |id: &Arc<str>| id.starts_with(ID_STEM);
    if table.id.as_ref().is_some_and(is_own) || (table.sets.is_empty() && table.chains.is_empty()) {
        return None;
    }
    let set = table.sets.iter().find(|set| !name::is_own_set(&set.name));
    if let Some(set) = set {
        return Some(format!("set `{}`", set.name));
    }
    let mut chains = table.chains.iter();
    if let Some(chain) = chains.find(|chain| !name::is_own_chain(&chain.name)) {
        return Some(format!("chain `{}`", chain.name));
    }
    let has_sign = table.sets.iter().any(|set| name::is_sign(&set.name));
    let empty = table.chains.iter().all(|chain| chain.rules.is_empty());
    let first = table.chains.first().filter(|_| !has_sign && !empty);
    first.map(|chain| format!("chain `{}`, and no set of flbc's", chain.name))
}

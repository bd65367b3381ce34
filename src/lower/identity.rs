//! Who a real server is, in the comment that the kernel keeps: for those who list the rules, and for flbc to know it
//! again.

use std::borrow::Cow;

use crate::model::{LONGEST_NAME, Member, Model, RealServer, Service, State};
use crate::ruleset::MAX_COMMENT;
use crate::schedule::{Block, jhash};

/// `weight 3, web1 of www` or `weight 1 drain, web3 of pool web`
pub(super) fn comment(model: &Model, block: &Block<'_>, server: &RealServer) -> String {
    let state = match server.state {
        State::Up => "",
        State::Drain => " drain",
        State::Down => " down",
        State::Backup => " backup",
    };
    let identity = identity(model, block, server);
    format!("weight {}{state}{STANDS}{identity}", server.weight)
}

/// What stands between how a server stands and who it is.
const STANDS: &str = ", ";

/// The longest text before who it is: `weight 65535 backup, `.
const LONGEST_STANDING: usize = 21;

/// Who a comment of the server set speaks of: the part that a change of weight or state leaves alone.
pub fn identity_in(comment: &str) -> Option<&str> {
    Some(comment.split_once(STANDS)?.1)
}

/// Who a server is, as [`identity_in`] finds it again: `web1 of www` or `web1 of pool web`.
pub fn identity(model: &Model, block: &Block<'_>, server: &RealServer) -> String {
    let group = match block.pools.as_slice() {
        [] => block.service.name.to_string(),
        pools => {
            let names: Vec<&str> = pools.iter().map(|id| &*model.pool(*id).name).collect();
            format!("pool {}", names.join(" "))
        }
    };
    format!("{} of {}", server.name, abbreviated(&group))
}

/// The same for a server of a service, by its name.
pub fn identity_of(model: &Model, service: &Service, server: &str) -> String {
    let pools: Option<Vec<&str>> = service
        .members
        .iter()
        .map(|member| match member {
            Member::Pool(id) => Some(&*model.pool(*id).name),
            Member::Server(_) => None,
        })
        .collect();
    let group = match pools {
        Some(pools) => format!("pool {}", pools.join(" ")),
        None => service.name.to_string(),
    };
    format!("{server} of {}", abbreviated(&group))
}

/// The longest service or list of pools that has room in every comment, in bytes.
const LONGEST_GROUP: usize = MAX_COMMENT - LONGEST_STANDING - LONGEST_NAME - " of ".len();

/// A service, or `pool` and its pools, short enough for a comment. What was longer ends in `~` and a hash of the whole,
/// so that it stays unique, and is the same for all its servers.
pub fn abbreviated(group: &str) -> Cow<'_, str> {
    if group.len() <= LONGEST_GROUP {
        return group.into();
    }
    let hash = jhash::jhash(group.as_bytes(), jhash::SEED);
    // Names are ASCII.
    let kept = group.get(..LONGEST_GROUP - 9).unwrap_or_default();
    format!("{kept}~{hash:08x}").into()
}

//! Who a real server is, in the comment that the kernel keeps: for those who list the rules, and for flbc to know it
//! again.

use crate::model::{Member, Model, RealServer, Service, State};
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
    abbreviate(format!("{} of {group}", server.name))
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
    abbreviate(format!("{server} of {group}"))
}

/// Short enough for a comment; what was longer ends in `~` and a hash of the whole, so that it stays unique.
fn abbreviate(text: String) -> String {
    if text.len() <= MAX_COMMENT - LONGEST_STANDING {
        return text;
    }
    let hash = jhash::jhash(text.as_bytes(), jhash::SEED);
    let room = MAX_COMMENT - LONGEST_STANDING - 9;
    let kept: String = text.chars().take(room).collect();
    format!("{kept}~{hash:08x}")
}

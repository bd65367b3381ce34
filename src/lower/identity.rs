//! Who a real server is, in the comment that the kernel keeps: for those who list the rules, and for flbc to know it
//! again.

use std::borrow::Cow;
use std::fmt;

use crate::model::{LONGEST_NAME, Member, Model, RealServer, Service, Standing, State};
use crate::ruleset::MAX_COMMENT;
use crate::schedule::{Block, jhash};

/// What a comment of the server set says: `weight 3, web1 of www` or `weight 1 drain, web3 of pool web`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment<'t> {
    /// How the server stands.
    pub standing: Standing,
    /// The server that the comment is of.
    pub who: Who<'t>,
}

/// Who a server is: `web1 of www` or `web1 of pool web`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who<'t> {
    /// The server's name.
    pub name: Cow<'t, str>,
    /// The service, or `pool` and its pools, that it was declared in, as [`abbreviated`] has it. Empty where a comment
    /// that is not flbc's own tells none.
    pub group: Cow<'t, str>,
}

/// What stands between how a server stands and who it is.
const STANDS: &str = ", ";

/// What stands between its name and where it was declared.
const OF: &str = " of ";

/// What stands before its weight.
const WEIGHT: &str = "weight ";

/// The longest text before who it is: `weight 65535 backup, `.
const LONGEST_STANDING: usize = 21;

impl<'t> Comment<'t> {
    /// What a comment says; `None` where it is not one of a server.
    pub fn read(text: &'t str) -> Option<Self> {
        let (how, who) = text.split_once(STANDS)?;
        let mut words = how.strip_prefix(WEIGHT)?.split(' ');
        let standing = Standing {
            weight: words.next()?.parse().ok()?,
            state: words.next().map_or(Some(State::Up), State::of_word)?,
        };
        // A name has no spaces, but a pool may be called `of`.
        let (name, group) = who.split_once(OF).unwrap_or((who, ""));
        Some(Self {
            standing,
            who: Who {
                name: name.into(),
                group: group.into(),
            },
        })
    }
}

impl fmt::Display for Comment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{STANDS}{}", self.standing, self.who)
    }
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &*self.group {
            "" => Ok(()),
            group => write!(f, "{OF}{group}"),
        }
    }
}

/// The comment of a server.
pub(super) fn comment<'s>(
    model: &Model,
    block: &'s Block<'_>,
    server: &'s RealServer,
) -> Comment<'s> {
    Comment {
        standing: server.standing(),
        who: who(model, block, server),
    }
}

/// Who a comment of the server set speaks of: the part that a change of weight or state leaves alone.
pub fn identity_in(comment: &str) -> Option<&str> {
    Some(comment.split_once(STANDS)?.1)
}

/// Who a server is, as [`identity_in`] finds it again: `web1 of www` or `web1 of pool web`.
pub fn identity(model: &Model, block: &Block<'_>, server: &RealServer) -> String {
    who(model, block, server).to_string()
}

fn who<'s>(model: &Model, block: &'s Block<'_>, server: &'s RealServer) -> Who<'s> {
    let group = match block.pools.as_slice() {
        [] => abbreviated(&block.service.name),
        pools => {
            let names: Vec<&str> = pools.iter().map(|id| &*model.pool(*id).name).collect();
            short(pool_group(&names))
        }
    };
    Who {
        name: Cow::Borrowed(&server.name),
        group,
    }
}

/// What tells the server of this name in this service from all others: `web1 of pool web`.
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
        Some(pools) => short(pool_group(&pools)),
        None => abbreviated(&service.name),
    };
    let who = Who {
        name: server.into(),
        group,
    };
    who.to_string()
}

/// What stands before the names of pools.
const POOL: &str = "pool ";

fn pool_group(pools: &[&str]) -> String {
    format!("{POOL}{}", pools.join(" "))
}

/// The pools of a group; `None`: it is a service.
pub fn pools_of(group: &str) -> Option<&str> {
    group.strip_prefix(POOL)
}

fn short(group: String) -> Cow<'static, str> {
    let short = match abbreviated(&group) {
        Cow::Owned(short) => Some(short),
        Cow::Borrowed(_) => None,
    };
    Cow::Owned(short.unwrap_or(group))
}

/// The longest service or list of pools that has room in every comment, in bytes.
const LONGEST_GROUP: usize = MAX_COMMENT - LONGEST_STANDING - LONGEST_NAME - OF.len();

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_read_as_it_was_written() {
        let longest = "x".repeat(LONGEST_NAME);
        let pools = format!("pool {}", [&*longest; 9].join(" "));
        let groups = ["www", "pool web", "pool of", "pool a of b", "of", &pools];
        for state in State::ALL {
            for weight in [0, 3, u16::MAX] {
                for name in ["web1", "of", &longest] {
                    for group in groups {
                        let comment = Comment {
                            standing: Standing { state, weight },
                            who: Who {
                                name: name.into(),
                                group: abbreviated(group),
                            },
                        };
                        let text = comment.to_string();
                        assert!(text.len() <= MAX_COMMENT, "{text}");
                        assert_eq!(Comment::read(&text).as_ref(), Some(&comment), "{text}");
                        let who = comment.who.to_string();
                        assert_eq!(identity_in(&text), Some(&*who), "{text}");
                    }
                }
            }
        }
        let drained = Comment::read("weight 1 drain, web3 of pool web");
        let told = drained.map(|told| {
            (
                told.standing.state,
                pools_of(&told.who.group) == Some("web"),
            )
        });
        assert_eq!(told, Some((State::Drain, true)));
    }

    #[test]
    fn what_is_no_comment_of_a_server_says_nothing() {
        for text in [
            "",
            "web1 of www",
            "weight, web1 of www",
            "weight x, web1 of www",
            "weight 70000, web1 of www",
            "weight 3 asleep, web1 of www",
            "share 3, web1 of www",
        ] {
            assert_eq!(Comment::read(text), None, "{text}");
        }
    }
}

//! What clients get when no server is left.

use crate::model::{HookedIn, OnEmpty, Protocol};
use crate::ruleset::{Chain, Condition, Data, Expression, Rule, Statement, Target, name};

use super::Input;
use super::number::refused;

/// In direct return: `meta mark set 0xffffffff accept`
///
/// Debian 12's kernel cannot reject in a netdev table. So the packet goes on, marked, as far as the inet
/// table's first chance: nothing but netdev chains comes between.
pub(super) fn mark_chain(input: &Input<'_>) -> Chain {
    Chain {
        name: name::REFUSE.into(),
        hook: None,
        purpose: "no server is left: the inet table says so",
        rules: vec![Rule::fixed([
            Statement::Set {
                target: Target::MetaMark,
                value: Expression::Mark(refused(input.layout())),
            },
            Statement::Accept,
        ])],
    }
}

/// Whether direct return refuses anybody aloud.
pub(super) fn refuses_in_dr(input: &Input<'_>) -> bool {
    input
        .services(|mode| mode.hooked_in() == HookedIn::Netdev)
        .any(|plan| plan.service.on_empty == OnEmpty::Reject)
}

/// `meta l4proto tcp reject with tcp reset`, `reject`
pub(super) fn refuse_chain() -> Chain {
    Chain {
        name: name::REFUSE.into(),
        hook: None,
        purpose: "no server is left: say so",
        rules: vec![
            Rule::fixed([
                Statement::Match(Condition::Protocol(Protocol::Tcp)),
                Statement::RejectTcpReset,
            ]),
            Rule::fixed([Statement::RejectPortUnreachable]),
        ],
    }
}

/// `goto refuse` or `drop`, as the rule of an empty service.
pub(super) fn statement(on_empty: OnEmpty) -> Statement {
    match on_empty {
        OnEmpty::Reject => Statement::Goto(name::REFUSE.into()),
        OnEmpty::Drop => Statement::Drop,
    }
}

/// The same, as the verdict of a map.
pub(super) fn verdict(on_empty: OnEmpty) -> Data {
    match on_empty {
        OnEmpty::Reject => Data::Goto(name::REFUSE.into()),
        OnEmpty::Drop => Data::Drop,
    }
}

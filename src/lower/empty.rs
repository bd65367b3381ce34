//! What clients get when no server is left.

use crate::model::{OnEmpty, Protocol};
use crate::ruleset::{Chain, Condition, Data, Rule, Statement};

/// The chain that refuses, in either table.
const REFUSE: &str = "refuse";

/// `meta l4proto tcp reject with tcp reset`, `reject`
pub(super) fn refuse_chain() -> Chain {
    Chain {
        name: REFUSE.into(),
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
        OnEmpty::Reject => Statement::Goto(REFUSE.into()),
        OnEmpty::Drop => Statement::Drop,
    }
}

/// The same, as the verdict of a map.
pub(super) fn verdict(on_empty: OnEmpty) -> Data {
    match on_empty {
        OnEmpty::Reject => Data::Goto(REFUSE.into()),
        OnEmpty::Drop => Data::Drop,
    }
}

//! What becomes of packets for a VIP that no rule has sent to a server.

use crate::model::{Family, OnEmpty};
use crate::ruleset::{Chain, Condition, Data, Expression, Hook, Rule, Statement, Table, name};

use super::Input;
use super::dispatch::{self, Dispatch};
use super::empty;
use super::number::refused;

pub(super) const GUARD: &str = "guard";
const UNBALANCED: &str = "unbalanced";
const UNTAKEN: &str = "untaken";

/// `ct status dnat accept`, `jump guard`
///
/// What arrives at the balancer's own sockets for a VIP was not translated: a flow that was open before the rules came,
/// or one from an interface that direct return does not listen on. It gets what an empty service gives.
pub(super) fn lower(input: &Input<'_>, table: &mut Table) {
    let entries: Vec<dispatch::Entry> = input
        .plan
        .services
        .iter()
        .flat_map(|plan| {
            let verdict = match (plan.service.on_empty, plan.service.mode.kernel_tracks()) {
                (OnEmpty::Reject, true) => Data::Goto(UNTAKEN.into()),
                (OnEmpty::Reject, false) => Data::Goto(UNBALANCED.into()),
                (OnEmpty::Drop, _) => Data::Drop,
            };
            dispatch::entries(input, plan.service, move |_| verdict.clone())
        })
        .collect();
    let (sets, lookups) = Dispatch {
        stem: name::LOCAL,
        tail: "",
        counter: false,
        purpose: "virtual services, for what was not sent to a server",
    }
    .build(&entries, &[]);
    table.sets.extend(sets);
    let chain = |name: &str, hook, purpose, rules| Chain {
        name: name.into(),
        hook,
        purpose,
        rules,
    };
    // ct state new drop
    let unbalanced = (
        UNBALANCED,
        Condition::NewConnection,
        "what began while the rules were replaced is to be sent again; other packets are refused",
    );
    // ct state invalid,new drop
    let untaken = (
        UNTAKEN,
        Condition::InvalidOrNew,
        "the same by nat, where what connection tracking calls invalid is dropped too",
    );
    for (name, dropped, purpose) in [unbalanced, untaken] {
        let is_used = |entry: &dispatch::Entry| entry.leads_to(name);
        if entries.iter().any(is_used) {
            let rules = vec![
                Rule::fixed([Statement::Match(dropped), Statement::Drop]),
                Rule::fixed([empty::statement(OnEmpty::Reject)]),
            ];
            table.chains.push(chain(name, None, purpose, rules));
        }
    }
    table.chains.extend([
        chain(
            GUARD,
            None,
            "for a virtual service, and sent to no server",
            lookups,
        ),
        chain(
            "input",
            Some(Hook::FilterInput),
            "a virtual service never reaches the balancer's own sockets",
            vec![
                Rule::fixed([Statement::Match(Condition::Dnatted), Statement::Accept]),
                Rule::fixed([Statement::Jump(GUARD.into())]),
            ],
        ),
    ]);
}

/// `ip daddr @vip4 goto guard`
///
/// For what is right behind the translation, and is new or invalid. A new connection of a NAT service passes it
/// untranslated in one moment only: while all rules are replaced. The kernel asks the new chain first, which is not active yet; when the packet
/// comes to the old one, that may not be active any more. If it went on, its connection would stay untranslated for
/// good. It is dropped, and the client sends it again.
pub(super) fn untranslated(family: Family) -> Rule {
    Rule::fixed([
        Statement::Match(Condition::InSet(
            Expression::Destination(family),
            name::per_family(name::VIPS, family, ""),
        )),
        Statement::Goto(GUARD.into()),
    ])
}

/// `meta mark 0xffffffff goto guard`
///
/// Others mark packets too: the guard knows what is flbc's. There is no connection yet, so it takes none for a new one.
pub(super) fn refused_chain(input: &Input<'_>) -> Chain {
    Chain {
        name: "refused".into(),
        hook: Some(Hook::RawPrerouting),
        purpose: "what direct return refuses",
        rules: vec![Rule::fixed([
            Statement::Match(Condition::Marked(refused(input.layout()))),
            Statement::Goto(GUARD.into()),
        ])],
    }
}

//! What each real server was sent in NAT and what it answered, counted where all packets pass.
//!
//! The nat chains see the first packet of a connection only. So two chains behind them look at every packet: a
//! connection that flbc translated has its server in its mark.

use crate::model::Family;
use crate::ruleset::{
    Chain, Condition, Expression, Hook, KeyType, Rule, Set, Statement, Table, name,
};

use super::Input;
use super::set::SetBuilder;
use super::strays::{self, UNTRANSLATED};

/// The chain for packets of translated connections.
const BALANCED: &str = "balanced";

/// The fewest counters that there is room for, and how many times as many the next step has. The steps are wide, as
/// another size is another set, which begins at 0. The kernel takes 1 MB for the first.
const ROOM: u32 = 1 << 16;
const STEP: u32 = 8;

/// Two counters for each server, and as many again for what its last packets leave behind when it goes.
fn room(servers: usize) -> u32 {
    let wanted = u32::try_from(servers.saturating_mul(4)).unwrap_or(u32::MAX);
    let steps = std::iter::successors(Some(ROOM), |room| room.checked_mul(STEP));
    let mut enough = steps.filter(|room| *room >= wanted);
    enough.next().unwrap_or(u32::MAX)
}

/// The set and the chains. `families` are those that have a set of VIPs; `remembering` is a rule for the same packets,
/// if services remember their clients.
///
/// ```text
/// chain balanced {
///     ct original ip daddr @vip4 ct mark @server add @traffic { ct mark . ct direction }
///     ct original ip6 daddr @vip6 ct mark @server add @traffic { ct mark . ct direction }
/// }
/// chain balanced_in {
///     type filter hook prerouting priority -95
///     ct status dnat goto balanced
///     ct state invalid,new goto untranslated
/// }
/// ```
///
/// Packets make the elements: servers cost nothing while they are loaded, and their counters go on whatever is applied.
pub(super) fn lower(
    input: &Input<'_>,
    families: &[Family],
    remembering: Option<Rule>,
    table: &mut Table,
) {
    let counted = |family| {
        let vips = name::per_family(name::VIPS, family, "");
        Rule::fixed([
            // Others translate and mark connections too: another table of flbc's, on other ports of a VIP.
            Statement::Match(Condition::InSet(
                Expression::OriginalDestination(family),
                vips,
            )),
            Statement::Match(Condition::InSet(Expression::CtMark, name::SERVERS.into())),
            Statement::Count {
                set: name::TRAFFIC.into(),
                key: Expression::Concat(vec![Expression::CtMark, Expression::CtDirection]),
            },
        ])
    };
    table.chains.push(Chain {
        name: BALANCED.into(),
        hook: None,
        purpose: "a packet of a translated connection, either way",
        rules: families
            .iter()
            .copied()
            .map(counted)
            .chain(remembering)
            .collect(),
    });
    strays::lower(input, families, table);
    for (name, hook, purpose) in [
        (
            "balanced_in",
            Hook::FilterPrerouting,
            "every packet that arrives; what flbc has no part in leaves at the first look",
        ),
        (
            "balanced_out",
            Hook::FilterOutput,
            "the same for those that the balancer sends by itself",
        ),
    ] {
        let translated = Rule::fixed([
            Statement::Match(Condition::Dnatted),
            Statement::Goto(BALANCED.into()),
        ]);
        table.chains.push(Chain {
            name: name.into(),
            hook: Some(hook),
            purpose,
            rules: vec![
                translated,
                // ct state invalid,new goto untranslated
                Rule::fixed([
                    Statement::Match(Condition::InvalidOrNew),
                    Statement::Goto(UNTRANSLATED.into()),
                ]),
            ],
        });
    }
    let purpose = "what each real server was sent and what it answered; packets make the elements";
    let traffic = SetBuilder::new(name::TRAFFIC, KeyType::MarkDirection, None, purpose).counted();
    let room = room(input.servers());
    table.sets.push(Set {
        size: room,
        ..traffic.always()
    });
}

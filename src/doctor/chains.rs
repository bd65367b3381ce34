//! Chains of others on the way of balanced packets: those that refuse or may, those that take packets first, and those that
//! rewrite them, keep connection tracking away or write marks; with the commands that let balanced packets pass.

use std::collections::BTreeSet;

use super::fate::{self, Chance, Fate, Packet};
use super::foreign::{Hooked, Trouble};
use super::{Facts, Finding, FindingCode};
use crate::foreign::Deed;
use crate::kernel::{BaseChain, ForeignChain};
use crate::model::Model;

mod packets;
mod remedy;

use packets::{CONNTRACK, links_on_the_way, packets};
use remedy::{accepting, listing};

/// The priority of flbc's own chain that translates, among those that do, and at ingress (`filter`).
const OWN_NAT: i32 = -150;
const OWN_INGRESS: i32 = 0;

pub(super) fn examine(
    model: &Model,
    facts: &Facts<'_>,
    foreign: &[ForeignChain],
    findings: &mut Vec<Finding>,
) {
    let hooked = Hooked::by(model);
    let ways = links_on_the_way(facts.host);
    for one in foreign {
        let concerned = packets(model, &one.chain, &hooked, &ways);
        let fates: Vec<Concerned> = concerned
            .into_iter()
            .map(|(trouble, packet)| {
                let fate = fate::of(&packet, one);
                (trouble, packet, fate)
            })
            .collect();
        findings.extend(refusing(model, one, &fates, facts.host.iptables));
        findings.extend(first(one, &hooked, &fates));
        findings.extend(untracking(model, one, &fates, facts.host.iptables));
        findings.extend(rewriting(one, &fates));
        findings.extend(marking(one, &fates, facts));
    }
}

/// What chains refuse by their policy, whose rules do not let pass what is balanced: in a sentence each.
pub fn refusing_by_policy(model: &Model, foreign: &[ForeignChain]) -> Vec<String> {
    let hooked = Hooked::by(model);
    let refused = foreign.iter().filter_map(|one| {
        let concerned = packets(model, &one.chain, &hooked, &BTreeSet::new());
        let trouble = concerned
            .into_iter()
            .find(|(_, packet)| !fate::of(packet, one).passes)?
            .0;
        (!one.chain.accepts).then(|| by_policy(&one.chain, trouble))
    });
    refused.collect()
}

/// A packet that is on its way through a chain, what would be in trouble, and what becomes of it.
type Concerned = (Trouble, Packet, Fate);

/// A chain as sentences name it.
fn named(chain: &BaseChain) -> String {
    let BaseChain {
        family,
        table,
        chain: name,
        ..
    } = chain;
    format!("chain {name} of table {family} {table}")
}

const fn traffic(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::MayDropNat => "balanced connections",
        Trouble::MayDropDirectReturn => "packets of direct return",
    }
}

/// A packet as sentences name it.
fn whose(packet: &Packet) -> String {
    match (packet.to, packet.from) {
        (Some(to), _) => format!("what goes to {to}"),
        (None, Some(from)) => format!("what comes from {from}"),
        (None, None) => "what is balanced".to_owned(),
    }
}

/// That a policy refuses.
fn by_policy(chain: &BaseChain, trouble: Trouble) -> String {
    format!(
        "{} has policy drop in {}: it may drop {}, unless its rules accept them",
        named(chain),
        chain.hook,
        traffic(trouble)
    )
}

/// What is surest to happen to one of these packets, and to which.
fn worst(fates: &[Concerned], is_it: impl Fn(Deed) -> bool) -> Option<(Chance, Trouble, &Packet)> {
    let all = fates.iter().filter_map(|(trouble, packet, fate)| {
        let chances = fate.deeds.iter().filter(|(deed, _)| is_it(**deed));
        let chance = chances.map(|(_, chance)| *chance).max()?;
        Some((chance, *trouble, packet))
    });
    // Of several the first.
    all.rev().max_by_key(|(chance, ..)| *chance)
}

/// What refuses, by its policy or its rules.
fn refusing(
    model: &Model,
    one: &ForeignChain,
    fates: &[Concerned],
    iptables: bool,
) -> Option<Finding> {
    let chain = &one.chain;
    // What it does with this machine's own connections is not looked at.
    if chain.hook == "output" {
        return None;
    }
    let (chain_named, hook) = (named(chain), chain.hook);
    let finding = |sentence, trouble| {
        let mut finding = Finding::new(FindingCode::ForeignDrop, sentence, "");
        finding.remedy = accepting(model, chain, trouble, iptables);
        finding
    };
    let stopped = fates.iter().find(|(_, _, fate)| !fate.passes);
    let refused = worst(fates, |deed| deed == Deed::Refuse);
    match (stopped, refused) {
        (Some((trouble, ..)), _) if !chain.accepts => {
            Some(finding(by_policy(chain, *trouble), *trouble))
        }
        (_, Some((Chance::Rest, trouble, _))) => Some(finding(
            format!(
                "{chain_named} refuses in {hook} all that none of its rules lets pass: it may drop {}, unless its rules accept them",
                traffic(trouble)
            ),
            trouble,
        )),
        (_, Some((Chance::Sure, trouble, packet))) => Some(finding(
            format!("{chain_named} refuses in {hook} {}", whose(packet)),
            trouble,
        )),
        (_, Some((Chance::Maybe, trouble, _))) => {
            let sentence = format!(
                "{chain_named} has rules in {hook} that refuse: {} must not be among what they are for, which was not looked at",
                traffic(trouble)
            );
            Some(Finding::new(FindingCode::ForeignDrop, sentence, listing(chain)).known())
        }
        (_, None) => None,
    }
}

/// What gets packets before flbc does.
fn first(one: &ForeignChain, hooked: &Hooked, fates: &[Concerned]) -> Option<Finding> {
    let chain = &one.chain;
    let BaseChain {
        family,
        hook,
        priority,
        ..
    } = chain;
    let translates = worst(fates, |deed| deed == Deed::Translate).is_some();
    let is_first = match (*hook, &*chain.kind) {
        ("prerouting", "nat") => *priority <= OWN_NAT && hooked.nat_in(family),
        // Others' rules may hand packets to a socket without translating them.
        ("prerouting", _) => translates && hooked.nat_in(family),
        // That of this machine's own connections.
        ("output", "nat") => *priority <= OWN_NAT && translates && hooked.nat_in(family),
        ("ingress", _) => {
            let mut devices = chain.devices.iter();
            let does = fates.iter().any(|(.., fate)| !fate.deeds.is_empty());
            // Of two with one priority the one that came last is first.
            (*priority < OWN_INGRESS || *priority == OWN_INGRESS && does)
                && devices.any(|device| hooked.ingress.contains(device.as_str()))
        }
        _ => false,
    };
    is_first.then(|| {
        Finding::new(
            FindingCode::ForeignFirst,
            format!(
                "{} comes before flbc in {hook} (priority {priority}): what its rules take is not balanced",
                named(chain)
            ),
            listing(chain),
        )
    })
}

/// What keeps connection tracking away: a packet without a connection is not translated.
fn untracking(
    model: &Model,
    one: &ForeignChain,
    fates: &[Concerned],
    iptables: bool,
) -> Option<Finding> {
    let chain = &one.chain;
    let own = chain.hook == "output";
    if chain.priority >= CONNTRACK || !(own || chain.hook == "prerouting") {
        return None;
    }
    let (_, trouble, _) = worst(fates, |deed| deed == Deed::Untrack)?;
    let whose = if own {
        "this machine's own connections to VIPs"
    } else {
        "balanced packets"
    };
    let mut finding = Finding::new(
        FindingCode::ForeignNotrack,
        format!(
            "{} has rules in {} that keep connection tracking away (notrack): {whose} must not be among what they are for, since nat does not see those",
            named(chain),
            chain.hook
        ),
        listing(chain),
    );
    // Where rules of the chain refuse as well, what is let pass would be let pass them too.
    let refuses = worst(fates, |deed| deed == Deed::Refuse).is_some();
    if !own && !refuses && chain.accepts {
        finding.remedy = accepting(model, chain, trouble, iptables);
    }
    Some(if own { finding.known() } else { finding })
}

/// What writes other addresses or ports into packets: without connection tracking, so that nobody turns them back.
fn rewriting(one: &ForeignChain, fates: &[Concerned]) -> Option<Finding> {
    let chain = &one.chain;
    let (chance, _, packet) = worst(fates, |deed| deed == Deed::Rewrite)?;
    let (chain_named, hook) = (named(chain), chain.hook);
    let sentence = if chance == Chance::Maybe {
        format!(
            "{chain_named} has rules in {hook} that write other addresses or ports into packets: balanced ones must not be among what they are for"
        )
    } else {
        format!(
            "{chain_named} writes other addresses or ports in {hook} into {}, which flbc does not know again",
            whose(packet)
        )
    };
    let finding = Finding::new(FindingCode::ForeignRewrite, sentence, listing(chain));
    let own = chain.hook == "output";
    Some(if chance == Chance::Maybe || own {
        finding.known()
    } else {
        finding
    })
}

/// What writes the marks by which flbc knows the server of a connection.
fn marking(one: &ForeignChain, fates: &[Concerned], facts: &Facts<'_>) -> Option<Finding> {
    let chain = &one.chain;
    // The bits that flbc leaves to others.
    let left = (1_u32 << facts.layout.shift()) - 1;
    let nat = |(trouble, ..): &&Concerned| *trouble == Trouble::MayDropNat;
    let fates: Vec<Concerned> = fates.iter().filter(nat).cloned().collect();
    let is_mark = |deed: Deed| matches!(deed, Deed::Mark(bits) if bits & !left != 0);
    let marked = worst(&fates, is_mark).or_else(|| {
        let copied = worst(&fates, |deed| deed == Deed::CopyMark);
        // Where the mark of the packet was the connection's own, nothing is changed.
        copied.map(|(_, trouble, packet)| (Chance::Maybe, trouble, packet))
    });
    let (chance, _, packet) = marked?;
    let (chain_named, hook) = (named(chain), chain.hook);
    let sentence = if chance == Chance::Maybe {
        format!(
            "{chain_named} has rules in {hook} that write marks of connections: balanced ones must keep theirs, by which flbc counts them and ends those of a server that is gone"
        )
    } else {
        format!(
            "{chain_named} writes another mark in {hook} on the connection of {}: by its mark flbc counts it, and ends it when its server is gone",
            whose(packet)
        )
    };
    let finding = Finding::new(FindingCode::ForeignMark, sentence, listing(chain));
    Some(if chance == Chance::Maybe || chain.hook == "output" {
        finding.known()
    } else {
        finding
    })
}

#[cfg(test)]
mod tests;

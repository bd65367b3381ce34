//! Chains of others on the way of balanced packets: those that refuse or may, those that take packets first, and those that
//! keep connection tracking away from them; with the commands that let balanced packets pass.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::foreign::{Hooked, Obstacle, Trouble, trouble_of};
use super::{Finding, FindingCode};
use crate::kernel::{BaseChain, Deed, ForeignChain};
use crate::model::{Family, Model};
use crate::ruleset::name;

/// The priority of flbc's own chain that translates, among those that do, and at ingress (`filter`).
const OWN_NAT: i32 = -150;
const OWN_INGRESS: i32 = 0;

/// The priority at which the kernel asks the chains that translate.
const TRANSLATION: i32 = -100;

/// The priority at which the kernel finds the connection of a packet.
const CONNTRACK: i32 = -200;

/// So many addresses are named in a command.
const NAMED: usize = 8;

pub(super) fn examine(model: &Model, foreign: &[ForeignChain], findings: &mut Vec<Finding>) {
    let hooked = Hooked::by(model);
    for one in foreign {
        findings.extend(refusing(model, one, &hooked));
        findings.extend(first(one, &hooked));
        findings.extend(untracking(model, one, &hooked));
    }
}

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

/// What refuses, by its policy or its rules.
fn refusing(model: &Model, one: &ForeignChain, hooked: &Hooked) -> Option<Finding> {
    let chain = &one.chain;
    let trouble = trouble_of(chain, hooked)?;
    // Where the packet has been translated, that rule lets pass all that is balanced.
    let translated = chain.hook != "prerouting" || chain.priority > TRANSLATION;
    if one.passes_balanced && translated && trouble == Trouble::MayDropNat {
        return None;
    }
    let traffic = match trouble {
        Trouble::MayDropNat => "balanced connections",
        Trouble::MayDropDirectReturn => "packets of direct return",
    };
    let (chain_named, hook) = (named(chain), chain.hook);
    let obstacle = Obstacle { chain, trouble };
    let finding = |sentence| {
        let mut finding = Finding::new(FindingCode::ForeignDrop, sentence, "");
        finding.remedy = accepting(model, chain, trouble);
        finding
    };
    if !chain.accepts {
        Some(finding(obstacle.to_string()))
    } else if one.deeds.contains(&Deed::RefuseRest) {
        Some(finding(format!(
            "{chain_named} refuses in {hook} all that none of its rules lets pass: it may drop {traffic}, unless its rules accept them"
        )))
    } else if one.deeds.contains(&Deed::Refuse) {
        let sentence = format!(
            "{chain_named} has rules in {hook} that refuse: {traffic} must not be among what they are for, which was not looked at"
        );
        Some(Finding::new(FindingCode::ForeignDrop, sentence, listing(chain)).known())
    } else {
        None
    }
}

/// What gets packets before flbc does.
fn first(one: &ForeignChain, hooked: &Hooked) -> Option<Finding> {
    let chain = &one.chain;
    let BaseChain {
        family,
        hook,
        priority,
        ..
    } = chain;
    let translates = one.deeds.contains(&Deed::Translate);
    let is_first = match (*hook, &*chain.kind) {
        ("prerouting", "nat") => *priority <= OWN_NAT && hooked.nat_in(family),
        // Others' rules may hand packets to a socket without translating them.
        ("prerouting", _) => translates && hooked.nat_in(family),
        // That of this machine's own connections.
        ("output", "nat") => *priority <= OWN_NAT && translates && hooked.nat_in(family),
        ("ingress", _) => {
            let mut devices = chain.devices.iter();
            let does = !one.deeds.is_empty();
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
fn untracking(model: &Model, one: &ForeignChain, hooked: &Hooked) -> Option<Finding> {
    let chain = &one.chain;
    let does = one.deeds.contains(&Deed::Untrack) && chain.priority < CONNTRACK;
    if !does || !hooked.nat_in(chain.family) || !matches!(chain.hook, "prerouting" | "output") {
        return None;
    }
    let own = chain.hook == "output";
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
    let refuses = [Deed::Refuse, Deed::RefuseRest]
        .iter()
        .any(|deed| one.deeds.contains(deed));
    // Where rules of the chain refuse as well, what is let pass would be let pass them too.
    if !own && !refuses && chain.accepts {
        finding.remedy = accepting(model, chain, Trouble::MayDropNat);
    }
    Some(if own { finding.known() } else { finding })
}

/// The command that shows a chain.
fn listing(chain: &BaseChain) -> String {
    let BaseChain {
        family,
        table,
        chain: name,
        ..
    } = chain;
    if name::is_readable(table) && name::is_readable(name) {
        format!("nft list chain {family} {table} {name}")
    } else {
        // No nft can be given such a name.
        "nft list ruleset".to_owned()
    }
}

/// The program whose table it is, where `nft` must not write to it: it would not know its own rules again.
fn program(chain: &BaseChain) -> Option<&'static str> {
    let program = match chain.family {
        "ip" => "iptables",
        "ip6" => "ip6tables",
        _ => return None,
    };
    let tables = ["filter", "mangle", "raw", "nat", "security"];
    let is_its = tables.contains(&&*chain.table) && chain.chain == chain.hook.to_uppercase();
    is_its.then_some(program)
}

/// Commands that let balanced packets pass a chain.
fn accepting(model: &Model, chain: &BaseChain, trouble: Trouble) -> Vec<String> {
    let BaseChain {
        family,
        table,
        chain: name,
        hook,
        priority,
        ..
    } = chain;
    let program = program(chain);
    if program.is_none() && !(name::is_readable(table) && name::is_readable(name)) {
        return vec![listing(chain)];
    }
    let is_direct = trouble == Trouble::MayDropDirectReturn;
    let concerned = model
        .services
        .iter()
        .filter(|service| service.mode.direct().is_some() == is_direct);
    let mut commands = Vec::new();
    let mut accept = |what: &str, addresses: &BTreeSet<IpAddr>| {
        for (of, word) in [(Family::V4, "ip"), (Family::V6, "ip6")] {
            let fits = matches!(*family, "inet" | "netdev") || *family == word;
            let named = addresses
                .iter()
                .filter(|address| Family::of(**address) == of);
            let mut named: Vec<String> = named.take(NAMED + 1).map(IpAddr::to_string).collect();
            if !fits || named.is_empty() {
                continue;
            }
            if let Some(last) = named.get_mut(NAMED) {
                "ADDRESSES".clone_into(last);
            }
            if let Some(program) = program {
                let flag = if what == "daddr" { "-d" } else { "-s" };
                let named = named.join(",");
                commands.push(format!(
                    "{program} -t {table} -I {name} {flag} {named} -j ACCEPT"
                ));
            } else {
                let named = named.join(", ");
                commands.push(format!(
                    "nft insert rule {family} {table} {name} {word} {what} '{{' {named} '}}' accept"
                ));
            }
        }
    };
    // A new connection is known by its VIP alone until it is translated.
    if is_direct || (*hook == "prerouting" && *priority <= TRANSLATION) {
        let vips = concerned.clone().flat_map(|service| &service.vips);
        accept("daddr", &vips.map(|vip| vip.address).collect());
    }
    // Before the kernel finds its connection, an answer is known by its server alone.
    let untracked = *hook == "prerouting" && *priority <= CONNTRACK;
    if !is_direct && untracked {
        let servers = concerned.flat_map(|service| model.real_servers(service));
        accept("saddr", &servers.map(|server| server.address).collect());
    }
    if !is_direct {
        commands.push(match program {
            Some(program) => {
                format!("{program} -t {table} -I {name} -m conntrack --ctstate DNAT -j ACCEPT")
            }
            None => format!("nft insert rule {family} {table} {name} ct status dnat accept"),
        });
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::source::Sources;
    use crate::syntax::Input;

    const NAT: &str = "service www { vip 192.0.2.10 tcp 80; mode nat; server a 10.0.0.1 }";
    const DR: &str = "service www { vip 192.0.2.10 tcp 80; mode dr on eth0; server a 10.0.0.1 }";

    fn chain(kind: &str, family: &'static str, hook: &'static str, priority: i32) -> ForeignChain {
        let devices = match hook {
            "ingress" => vec!["eth0".to_owned()],
            _ => Vec::new(),
        };
        ForeignChain {
            chain: BaseChain {
                family,
                table: "other".to_owned(),
                chain: "theirs".to_owned(),
                kind: kind.to_owned(),
                hook,
                priority,
                accepts: true,
                devices,
            },
            deeds: BTreeSet::new(),
            passes_balanced: false,
        }
    }

    fn found(file: &str, foreign: ForeignChain) -> Vec<Finding> {
        let mut sink = Diagnostics::new();
        let input = Input::Stdin(file.as_bytes().to_vec());
        let model = crate::read(input, &mut Sources::new(), &mut sink).expect("no faults");
        let mut findings = Vec::new();
        examine(&model, &[foreign], &mut findings);
        findings
    }

    fn doing(deed: Deed, mut foreign: ForeignChain) -> ForeignChain {
        foreign.deeds.insert(deed);
        foreign
    }

    #[test]
    fn rules_that_refuse_are_told_where_balanced_packets_pass() {
        for family in ["ip", "inet", "ip6"] {
            for (deed, mend) in [(Deed::Refuse, false), (Deed::RefuseRest, true)] {
                let of = |hook| found(NAT, doing(deed, chain("filter", family, hook, 10)));
                let told: Vec<bool> = of("forward").iter().map(|one| one.mend).collect();
                let expected: &[bool] = if family == "ip6" { &[] } else { &[mend] };
                assert_eq!(told, expected, "{family} {deed:?}");
                assert_eq!(of("input"), [], "{family} {deed:?}");
            }
        }
        let rest = doing(Deed::RefuseRest, chain("filter", "inet", "forward", 0));
        let remedy = ["nft insert rule inet other theirs ct status dnat accept"];
        assert_eq!(found(NAT, rest.clone())[0].remedy, remedy);
        let passing = ForeignChain {
            passes_balanced: true,
            ..rest
        };
        assert_eq!(found(NAT, passing.clone()), []);
        // Before the translation that rule lets nothing pass.
        let mut early = passing;
        (early.chain.hook, early.chain.priority) = ("prerouting", -150);
        assert_eq!(found(NAT, early).len(), 1);
        let wire = doing(Deed::RefuseRest, chain("filter", "netdev", "ingress", 5));
        assert_eq!(found(DR, wire.clone()).len(), 1);
        assert_eq!(found(NAT, wire), []);
    }

    #[test]
    fn who_comes_first_is_told() {
        use Deed::{Forward, Translate};
        let cases = [
            (
                NAT,
                doing(Translate, chain("nat", "ip", "prerouting", -190)),
                true,
            ),
            (
                NAT,
                doing(Translate, chain("nat", "inet", "prerouting", -150)),
                true,
            ),
            (
                NAT,
                doing(Translate, chain("nat", "ip", "prerouting", -100)),
                false,
            ),
            (
                NAT,
                doing(Translate, chain("nat", "ip6", "prerouting", -190)),
                false,
            ),
            (
                NAT,
                doing(Translate, chain("filter", "ip", "prerouting", -150)),
                true,
            ),
            (
                NAT,
                doing(Translate, chain("nat", "ip", "output", -160)),
                true,
            ),
            (NAT, chain("nat", "ip", "output", -160), false),
            (
                DR,
                doing(Translate, chain("nat", "ip", "prerouting", -190)),
                false,
            ),
            (DR, chain("filter", "netdev", "ingress", -1), true),
            (DR, chain("filter", "netdev", "ingress", 0), false),
            (
                DR,
                doing(Forward, chain("filter", "inet", "ingress", 0)),
                true,
            ),
            (
                DR,
                doing(Forward, chain("filter", "inet", "ingress", 1)),
                false,
            ),
        ];
        for (file, foreign, is_told) in cases {
            let codes: Vec<FindingCode> = found(file, foreign.clone())
                .iter()
                .map(|one| one.code)
                .collect();
            let expected: &[FindingCode] = if is_told {
                &[FindingCode::ForeignFirst]
            } else {
                &[]
            };
            assert_eq!(codes, expected, "{foreign:?}");
        }
    }

    #[test]
    fn what_is_not_tracked_is_not_balanced() {
        let raw = doing(Deed::Untrack, chain("filter", "ip", "prerouting", -300));
        let told = found(NAT, raw.clone());
        assert_eq!(
            (told[0].code, told[0].mend),
            (FindingCode::ForeignNotrack, true)
        );
        let remedy = [
            "nft insert rule ip other theirs ip daddr '{' 192.0.2.10 '}' accept",
            "nft insert rule ip other theirs ip saddr '{' 10.0.0.1 '}' accept",
            "nft insert rule ip other theirs ct status dnat accept",
        ];
        assert_eq!(told[0].remedy, remedy);
        assert_eq!(found(DR, raw.clone()), []);
        let mut late = raw.clone();
        late.chain.priority = -200;
        assert_eq!(found(NAT, late), []);
        let mut own = raw;
        own.chain.hook = "output";
        assert!(!found(NAT, own)[0].mend);
    }

    #[test]
    fn a_command_is_right_whatever_tables_are_called() {
        let named = |family, table: &str, name: &str, hook| {
            let mut one = doing(Deed::RefuseRest, chain("filter", family, hook, 0));
            (one.chain.table, one.chain.chain) = (table.to_owned(), name.to_owned());
            found(NAT, one)[0].remedy.clone()
        };
        for (table, name) in [
            ("a;b", "c"),
            ("a", "x y"),
            ("a", "map"),
            ("$(reboot)", "f"),
            ("", "f"),
        ] {
            assert_eq!(named("inet", table, name, "forward"), ["nft list ruleset"]);
        }
        assert_eq!(
            named("ip", "filter", "FORWARD", "forward"),
            ["iptables -t filter -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"]
        );
        assert_eq!(
            named("inet", "filter", "FORWARD", "forward"),
            ["nft insert rule inet filter FORWARD ct status dnat accept"]
        );
    }
}

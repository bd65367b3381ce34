//! What rules of others do to a packet of which some things are known: as the kernel would, rule by rule, but that a question
//! may be left open.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::foreign::{Ask, Deed, ForeignRule, Subject, Then};
use crate::kernel::ForeignChain;
use crate::model::Family;

/// A packet; `None` is what is not known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packet {
    pub(super) family: Family,
    pub(super) to: Option<IpAddr>,
    pub(super) from: Option<IpAddr>,
    pub(super) protocol: Option<u8>,
    /// The ports that it may go to.
    pub(super) to_ports: Option<(u16, u16)>,
    /// Whether its connection has been given another destination.
    pub(super) translated: Option<bool>,
    /// The state of its connection.
    pub(super) state: Option<State>,
}

/// The state of a connection, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Established = 0x2,
    New = 0x8,
}

/// How sure it is that something is done to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chance {
    /// If the packet is what a rule asks for, which is not known.
    Maybe,
    /// It is what the rule asks for.
    Sure,
    /// The rule asks for nothing: all comes there that no rule before has let pass.
    Rest,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) deeds: BTreeMap<Deed, Chance>,
    /// Whether a rule lets it pass for sure before anything stops it: the chain's policy is not for it.
    pub(super) passes: bool,
}

/// So many rules are looked at for one packet. What comes behind is taken for what may be done.
const RULES: usize = 100_000;

/// How deep chains lead into each other: the kernel allows for no more.
const DEEP: usize = 16;

/// Whether a packet is what is asked for; `None`: that is not known.
fn answer(ask: &Ask, packet: &Packet) -> Option<bool> {
    let address = |address: Option<IpAddr>, family| match address? {
        _ if packet.family != family => Some(None),
        IpAddr::V4(v4) => Some(Some(u128::from(v4.to_bits()))),
        IpAddr::V6(v6) => Some(Some(v6.to_bits())),
    };
    let value = match ask.subject {
        Subject::Family => match packet.family {
            Family::V4 => 4,
            Family::V6 => 6,
        },
        Subject::To(family) | Subject::From(family) if packet.family != family => {
            return Some(false);
        }
        Subject::To(family) => address(packet.to, family)??,
        Subject::From(family) => address(packet.from, family)??,
        Subject::Protocol => u128::from(packet.protocol?),
        Subject::ToPort => {
            let (first, last) = packet.to_ports?;
            // Of several ports all, none, or some.
            let of_one = |port: u16| ask.holds_for(port.into());
            let is_first = of_one(first);
            let is_even = first == last
                || ask.ranges.iter().all(|(from, to)| {
                    let (first, last) = (u128::from(first), u128::from(last));
                    (*from <= first && last <= *to) || last < *from || *to < first
                });
            return is_even.then_some(is_first);
        }
        Subject::Translated => u128::from(packet.translated?),
        Subject::State => packet.state? as u128,
        Subject::FromPort if ask.ranges == [(0, u16::MAX.into())] => 0,
        Subject::FromPort | Subject::Else => return None,
    };
    Some(ask.holds_for(value))
}

/// Whether all is so that a rule asks for.
fn asked(rule: &ForeignRule, packet: &Packet) -> Option<bool> {
    let mut all = Some(true);
    for ask in &rule.asks {
        match answer(ask, packet) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => all = None,
        }
    }
    all
}

/// How a chain ends for a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing has stopped it for sure.
    Through,
    /// It came to its end in the base chain, by `goto`.
    Policy,
    /// It was accepted, or refused.
    Over,
}

/// How a packet came to a rule.
#[derive(Clone, Copy)]
struct Path {
    /// What led here asked for nothing but what the packet is.
    sure: bool,
    /// What led here asked for nothing.
    all: bool,
    depth: usize,
}

struct Walk<'a> {
    foreign: &'a ForeignChain,
    packet: Packet,
    fate: Fate,
    left: usize,
}

impl Walk<'_> {
    fn record(&mut self, deed: Deed, chance: Chance) {
        let found = self.fate.deeds.entry(deed).or_insert(chance);
        *found = chance.max(*found);
    }

    fn chain(&mut self, name: &str, path: Path) -> End {
        for rule in self.foreign.rules.get(name).into_iter().flatten() {
            let Some(left) = self.left.checked_sub(1) else {
                rule.deeds
                    .iter()
                    .for_each(|deed| self.record(*deed, Chance::Maybe));
                continue;
            };
            self.left = left;
            let asked = asked(rule, &self.packet);
            if asked == Some(false) {
                continue;
            }
            let here = Path {
                sure: path.sure && asked == Some(true),
                all: path.all && rule.asks.is_empty(),
                depth: path.depth + 1,
            };
            let chance = match (here.sure, here.all) {
                (false, _) => Chance::Maybe,
                (true, false) => Chance::Sure,
                (true, true) => Chance::Rest,
            };
            for deed in &rule.deeds {
                self.record(*deed, chance);
            }
            let stops = rule
                .deeds
                .iter()
                .any(|deed| matches!(deed, Deed::Refuse | Deed::Forward));
            if stops && here.sure {
                return End::Over;
            }
            let (next, goes) = match &rule.then {
                Some(Then::Accept) if here.sure => {
                    self.fate.passes = true;
                    return End::Over;
                }
                Some(Then::Return) if here.sure => return End::Through,
                Some(Then::Jump(next)) => (next, false),
                Some(Then::Goto(next)) => (next, true),
                Some(Then::Accept | Then::Return) | None => continue,
            };
            let end = if here.depth < DEEP {
                self.chain(next, here)
            } else {
                End::Through
            };
            match (end, goes) {
                // Behind what `goto` led to it goes on where this chain was left from.
                (End::Through, true) if here.sure && path.depth == 0 => return End::Policy,
                (End::Through, true) if here.sure => return End::Through,
                (End::Policy | End::Over, _) if here.sure => return end,
                (End::Through | End::Policy | End::Over, _) => {}
            }
        }
        End::Through
    }
}

/// What becomes of a packet that enters by this chain.
pub(super) fn of(packet: &Packet, foreign: &ForeignChain) -> Fate {
    let mut walk = Walk {
        foreign,
        packet: *packet,
        fate: Fate::default(),
        left: RULES,
    };
    let path = Path {
        sure: true,
        all: true,
        depth: 0,
    };
    walk.chain(&foreign.chain.chain, path);
    walk.fate
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernel::BaseChain;

    fn rule(asks: &[Ask], deeds: &[Deed], then: Option<Then>) -> ForeignRule {
        ForeignRule {
            asks: asks.to_vec(),
            deeds: deeds.iter().copied().collect(),
            then,
        }
    }

    fn ask(subject: Subject, first: u128, last: u128) -> Ask {
        Ask {
            subject,
            ranges: vec![(first, last)],
            other: false,
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a list of cases")]
    fn a_packet_meets_what_it_would_meet_in_the_kernel() {
        use Chance::{Maybe, Rest, Sure};
        use Deed::{Refuse, Untrack};
        let unknown = [Ask::UNKNOWN];
        let port = [ask(Subject::ToPort, 80, 80)];
        let other_port = [ask(Subject::ToPort, 443, 443)];
        let some_ports = [ask(Subject::ToPort, 0, 80)];
        let network = [ask(Subject::To(Family::V4), 0xc000_0200, 0xc000_02ff)];
        let v6 = [ask(Subject::To(Family::V6), 0, u128::MAX)];
        let new = [ask(Subject::State, 8, 8)];
        let established = [ask(Subject::State, 2, 2)];
        let accept = || Some(Then::Accept);
        let jump = || Some(Then::Jump("b".to_owned()));
        let goto = || Some(Then::Goto("b".to_owned()));
        let cases = [
            (vec![], vec![], None, false),
            (vec![rule(&[], &[Refuse], None)], vec![], Some(Rest), false),
            (
                vec![rule(&unknown, &[Refuse], None)],
                vec![],
                Some(Maybe),
                false,
            ),
            (
                vec![rule(&port, &[Refuse], None)],
                vec![],
                Some(Sure),
                false,
            ),
            (
                vec![rule(&other_port, &[Refuse], None)],
                vec![],
                None,
                false,
            ),
            (vec![rule(&v6, &[Refuse], None)], vec![], None, false),
            (
                vec![rule(&network, &[Refuse], None)],
                vec![],
                Some(Sure),
                false,
            ),
            (vec![rule(&new, &[Refuse], None)], vec![], Some(Sure), false),
            (
                vec![
                    rule(&established, &[], accept()),
                    rule(&[], &[Refuse], None),
                ],
                vec![],
                Some(Rest),
                false,
            ),
            // What the rule asks for is so for some of its ports only.
            (
                vec![rule(&some_ports, &[Refuse], None)],
                vec![],
                Some(Maybe),
                false,
            ),
            (
                vec![rule(&network, &[], accept()), rule(&[], &[Refuse], None)],
                vec![],
                None,
                true,
            ),
            (
                vec![rule(&unknown, &[], accept()), rule(&[], &[Refuse], None)],
                vec![],
                Some(Rest),
                false,
            ),
            (
                vec![rule(&[], &[], jump())],
                vec![rule(&[], &[Refuse], None)],
                Some(Rest),
                false,
            ),
            (
                vec![rule(&port, &[], jump())],
                vec![rule(&[], &[Refuse], None)],
                Some(Sure),
                false,
            ),
            (
                vec![rule(&unknown, &[], jump())],
                vec![rule(&[], &[Refuse], None)],
                Some(Maybe),
                false,
            ),
            (
                vec![rule(&[], &[], jump()), rule(&[], &[Refuse], None)],
                vec![rule(&port, &[], accept())],
                None,
                true,
            ),
            (
                vec![rule(&[], &[], jump()), rule(&[], &[Refuse], None)],
                vec![
                    rule(&port, &[], Some(Then::Return)),
                    rule(&[], &[], accept()),
                ],
                Some(Rest),
                false,
            ),
            (
                vec![rule(&[], &[], goto()), rule(&[], &[Refuse], None)],
                vec![],
                None,
                false,
            ),
            // Each leads to the other, which the kernel does not take.
            (
                vec![rule(&[], &[], jump())],
                vec![rule(&[], &[], Some(Then::Jump("a".to_owned())))],
                None,
                false,
            ),
        ];
        let packet = Packet {
            family: Family::V4,
            to: Some([192, 0, 2, 10].into()),
            from: None,
            protocol: Some(6),
            to_ports: Some((80, 90)),
            translated: None,
            state: Some(State::New),
        };
        for (a, b, chance, passes) in cases {
            let one_port = !a.contains(&rule(&some_ports, &[Refuse], None));
            let packet = Packet {
                to_ports: Some((80, if one_port { 80 } else { 90 })),
                ..packet
            };
            let rules = Arc::new([("a".to_owned(), a), ("b".to_owned(), b)].into());
            let chain = BaseChain {
                family: "inet",
                table: "other".to_owned(),
                chain: "a".to_owned(),
                kind: "filter".to_owned(),
                hook: "prerouting",
                priority: 0,
                accepts: true,
                devices: Vec::new(),
            };
            let foreign = ForeignChain { chain, rules };
            let fate = of(&packet, &foreign);
            assert_eq!(
                fate.deeds.get(&Refuse).copied(),
                chance,
                "{:?}",
                foreign.rules
            );
            assert_eq!(fate.passes, passes, "{:?}", foreign.rules);
            assert_eq!(fate.deeds.get(&Untrack), None);
        }
    }
}

//! A rule of somebody else's, out of its expressions.

use std::collections::BTreeMap;

use super::{Ask, Deed, ForeignRule, Subject, Then};
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{
    bitwise, cmp, ct, data, expr, immediate, lookup, meta, nat, payload, rule, verdict,
};
use crate::model::Family;

/// That a rule looks something up in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) set: String,
    /// What is looked up, and how many bytes it has, where that is understood.
    pub(super) of: Option<(Subject, usize)>,
    /// What is found is a verdict.
    pub(super) verdict: bool,
    /// It goes on where it is not found.
    pub(super) other: bool,
}

/// What a register holds.
#[derive(Debug, Clone, Default)]
enum Held {
    /// The first bytes of something of a packet.
    Part(Subject, usize),
    /// The bits of an address that a mask has left.
    Masked(Subject, u128),
    /// The mark of the connection, or what became of it: the bits that are others now.
    Mark(u32),
    /// The mark of the packet.
    PacketMark,
    /// The status of the connection.
    Status,
    /// The bits of its state that a mask has left.
    States(u32),
    #[default]
    Unknown,
}

/// How many bytes a subject has.
const fn length(subject: Subject) -> usize {
    match subject {
        Subject::To(Family::V6) | Subject::From(Family::V6) => 16,
        Subject::To(Family::V4) | Subject::From(Family::V4) | Subject::State => 4,
        Subject::ToPort | Subject::FromPort => 2,
        Subject::Family | Subject::Protocol | Subject::Translated | Subject::Else => 1,
    }
}

/// A number out of bytes in network order.
fn number(bytes: &[u8]) -> Option<u128> {
    let mut all = [0; 16];
    let from = all.len().checked_sub(bytes.len())?;
    all.get_mut(from..)?.copy_from_slice(bytes);
    Some(u128::from_be_bytes(all))
}

/// A value of this subject, as rules compare it.
pub(super) fn value(subject: Subject, bytes: &[u8]) -> Option<u128> {
    if subject == Subject::State {
        // A number of the machine.
        return Some(u32::from_ne_bytes(bytes.try_into().ok()?).into());
    }
    let found = number(bytes)?;
    if subject != Subject::Family {
        return Some(found);
    }
    match (bytes.len(), found) {
        (1, 2) | (2, 0x0800) => Some(4),
        (1, 10) | (2, 0x86dd) => Some(6),
        // Another family's.
        _ => Some(0),
    }
}

/// A rule, and what it looks up.
pub(crate) fn decoded(attributes: Attributes<'_>) -> (ForeignRule, Vec<Lookup>) {
    let mut reader = Reader::default();
    let list = attributes.find(rule::EXPRESSIONS).map(Attribute::inside);
    for expression in list.into_iter().flatten() {
        let expression = expression.inside();
        let name = expression.find(expr::NAME).and_then(Attribute::string);
        let inside = expression.find(expr::DATA).map(Attribute::inside);
        if let Some(name) = name {
            reader.read(name, inside.unwrap_or_default());
        }
    }
    (reader.rule, reader.lookups)
}

/// What a verdict makes a rule do.
pub(super) fn verdict_of(data: Attributes<'_>) -> ForeignRule {
    let mut rule = ForeignRule::default();
    decide(data, &mut rule);
    rule
}

fn decide(data: Attributes<'_>, rule: &mut ForeignRule) {
    let Some(found) = data.find(data::VERDICT).map(Attribute::inside) else {
        return;
    };
    let code = found.find(verdict::CODE).and_then(Attribute::u32);
    let chain = || {
        let name = found.find(verdict::CHAIN).and_then(Attribute::string);
        name.unwrap_or_default().to_owned()
    };
    match code.map(u32::cast_signed) {
        Some(verdict::DROP) => drop(rule.deeds.insert(Deed::Refuse)),
        Some(verdict::ACCEPT) => rule.then = Some(Then::Accept),
        Some(verdict::RETURN) => rule.then = Some(Then::Return),
        Some(verdict::JUMP) => rule.then = Some(Then::Jump(chain())),
        Some(verdict::GOTO) => rule.then = Some(Then::Goto(chain())),
        _ => {}
    }
}

#[derive(Default)]
struct Reader {
    rule: ForeignRule,
    lookups: Vec<Lookup>,
    registers: BTreeMap<u32, Held>,
}

impl Reader {
    fn read(&mut self, name: &str, inside: Attributes<'_>) {
        let number = |kind| inside.find(kind).and_then(Attribute::u32);
        let deed = match name {
            "payload" => return self.payload(number),
            "meta" => return self.meta(number),
            "ct" => return self.ct(number),
            "bitwise" => return self.bitwise(inside),
            "cmp" => return self.cmp(inside),
            "range" => return self.range(inside),
            "lookup" => return self.lookup(inside),
            "immediate" => {
                if let Some(data) = inside.find(immediate::DATA) {
                    decide(data.inside(), &mut self.rule);
                }
                return self.hold(number(immediate::TO), Held::Unknown);
            }
            "match" => return self.iptables(inside),
            "objref" => return self.object(number),
            "reject" | "queue" => Deed::Refuse,
            "nat" if number(nat::TYPE) == Some(nat::DESTINATION) => Deed::Translate,
            "redir" | "tproxy" => Deed::Translate,
            "notrack" => Deed::Untrack,
            "fwd" => Deed::Forward,
            "target" => {
                /// Its name.
                const TARGET: u16 = 1;
                let target = inside.find(TARGET).and_then(Attribute::string);
                match target.and_then(deed_of_target) {
                    Some(deed) => deed,
                    None => return,
                }
            }
            "limit" | "connlimit" | "quota" | "dynset" => return self.rule.asks.push(Ask::UNKNOWN),
            // What loads something that is not understood, and what counts or logs. Of the former the register is told.
            _ => {
                /// What most of them call the register that they load.
                const TO: [u16; 2] = [1, 2];
                for kind in TO {
                    self.registers.remove(&number(kind).unwrap_or(0));
                }
                return;
            }
        };
        self.rule.deeds.insert(deed);
    }

    fn hold(&mut self, register: Option<u32>, held: Held) {
        if let Some(register) = register {
            self.registers.insert(register, held);
        }
    }

    fn held(&self, register: Option<u32>) -> Held {
        let found = register.and_then(|register| self.registers.get(&register));
        found.cloned().unwrap_or_default()
    }

    fn payload(&mut self, number: impl Fn(u16) -> Option<u32>) {
        let base = number(payload::BASE);
        let offset = number(payload::OFFSET).unwrap_or(0);
        let long = number(payload::LENGTH).unwrap_or(0);
        if number(payload::FROM).is_some() {
            // Behind the lifetime of either family, and before what follows the addresses.
            let addresses = base == Some(payload::NETWORK) && offset + long > 12 && offset < 40;
            let ports = base == Some(payload::TRANSPORT) && offset < 4;
            if addresses || ports {
                self.rule.deeds.insert(Deed::Rewrite);
            }
            return;
        }
        let subject = match (base, offset, long) {
            (Some(payload::NETWORK), 16, 1..=4) => Subject::To(Family::V4),
            (Some(payload::NETWORK), 12, 1..=4) => Subject::From(Family::V4),
            (Some(payload::NETWORK), 24, 1..=16) => Subject::To(Family::V6),
            (Some(payload::NETWORK), 8, 1..=16) => Subject::From(Family::V6),
            (Some(payload::NETWORK), 9, 1) => Subject::Protocol,
            (Some(payload::TRANSPORT), 2, 2) => Subject::ToPort,
            (Some(payload::TRANSPORT), 0, 2) => Subject::FromPort,
            _ => Subject::Else,
        };
        let held = match subject {
            Subject::Else => Held::Unknown,
            _ => Held::Part(subject, usize::try_from(long).unwrap_or(0)),
        };
        self.hold(number(payload::TO), held);
    }

    fn meta(&mut self, number: impl Fn(u16) -> Option<u32>) {
        let held = match number(meta::KEY) {
            Some(meta::NFPROTO) => Held::Part(Subject::Family, 1),
            Some(meta::PROTOCOL) => Held::Part(Subject::Family, 2),
            Some(meta::L4PROTO) => Held::Part(Subject::Protocol, 1),
            Some(meta::MARK) => Held::PacketMark,
            _ => Held::Unknown,
        };
        self.hold(number(meta::TO), held);
    }

    fn ct(&mut self, number: impl Fn(u16) -> Option<u32>) {
        let key = number(ct::KEY);
        if let Some(from) = number(ct::FROM) {
            if key == Some(ct::MARK) {
                let deed = match self.held(Some(from)) {
                    // What is written as it was is not changed.
                    Held::Mark(0) => return,
                    Held::Mark(bits) => Deed::Mark(bits),
                    Held::PacketMark => Deed::CopyMark,
                    _ => Deed::Mark(u32::MAX),
                };
                self.rule.deeds.insert(deed);
            }
            return;
        }
        let held = match key {
            Some(ct::MARK) => Held::Mark(0),
            Some(ct::STATUS) => Held::Status,
            Some(ct::STATE) => Held::Part(Subject::State, 4),
            _ => Held::Unknown,
        };
        self.hold(number(ct::TO), held);
    }

    fn bitwise(&mut self, inside: Attributes<'_>) {
        let value = |kind| {
            let data = inside.find(kind).map(Attribute::inside);
            data.and_then(|data| data.find(data::VALUE))
                .map(|value| value.value)
        };
        let register = |kind| inside.find(kind).and_then(Attribute::u32);
        let mask = value(bitwise::MASK);
        let other = value(bitwise::XOR);
        let is_masked = other.is_some_and(|other| other.iter().all(|byte| *byte == 0));
        let native = |bytes: Option<&[u8]>| bytes?.try_into().ok().map(u32::from_ne_bytes);
        let held = match self.held(register(bitwise::FROM)) {
            Held::Part(Subject::State, _) if is_masked => {
                native(mask).map_or(Held::Unknown, Held::States)
            }
            Held::Part(subject, long) if is_masked => {
                let bytes = mask.filter(|mask| mask.len() == long);
                match bytes.and_then(number) {
                    Some(bits) if long == length(subject) => Held::Masked(subject, bits),
                    _ => Held::Unknown,
                }
            }
            Held::Mark(bits) => match (native(mask), native(other)) {
                (Some(mask), Some(other)) => Held::Mark(bits | !mask | other),
                _ => Held::Unknown,
            },
            Held::PacketMark => Held::PacketMark,
            Held::Status if is_masked && native(mask) == Some(ct::DESTINATION_TRANSLATED) => {
                Held::Part(Subject::Translated, 4)
            }
            _ => Held::Unknown,
        };
        self.hold(register(bitwise::TO), held);
    }

    fn cmp(&mut self, inside: Attributes<'_>) {
        let register = inside.find(cmp::FROM).and_then(Attribute::u32);
        let operator = inside.find(cmp::OPERATOR).and_then(Attribute::u32);
        let value = inside.find(cmp::DATA).map(Attribute::inside);
        let value = value.and_then(|data| data.find(data::VALUE));
        let ask = value.and_then(|value| compared(&self.held(register), operator?, value.value));
        self.rule.asks.push(ask.unwrap_or(Ask::UNKNOWN));
    }

    fn range(&mut self, inside: Attributes<'_>) {
        const REGISTER: u16 = 1;
        const OPERATOR: u16 = 2;
        const FIRST: u16 = 3;
        const LAST: u16 = 4;
        let register = inside.find(REGISTER).and_then(Attribute::u32);
        let operator = inside.find(OPERATOR).and_then(Attribute::u32);
        let value = |kind, subject| {
            let data = inside.find(kind).map(Attribute::inside)?;
            value(subject, data.find(data::VALUE)?.value)
        };
        let ask = match self.held(register) {
            Held::Part(subject, long) if long == length(subject) => value(FIRST, subject)
                .zip(value(LAST, subject))
                .map(|range| Ask {
                    subject,
                    ranges: vec![range],
                    other: operator == Some(cmp::DIFFERENT),
                }),
            _ => None,
        };
        self.rule.asks.push(ask.unwrap_or(Ask::UNKNOWN));
    }

    fn lookup(&mut self, inside: Attributes<'_>) {
        const FLAGS: u16 = 5;
        let register = |kind| inside.find(kind).and_then(Attribute::u32);
        let set = inside.find(lookup::SET).and_then(Attribute::string);
        let of = match self.held(register(lookup::FROM)) {
            Held::Part(subject, long) if long == length(subject) => Some((subject, long)),
            Held::Part(Subject::Family, 2) => Some((Subject::Family, 2)),
            _ => None,
        };
        match register(lookup::TO) {
            // What is found is put into a register: some value.
            Some(to) if to != 0 => {
                self.hold(Some(to), Held::Unknown);
                self.rule.asks.push(Ask::UNKNOWN);
            }
            to => self.lookups.push(Lookup {
                set: set.unwrap_or_default().to_owned(),
                of,
                // Register 0 is the verdict.
                verdict: to.is_some(),
                other: register(FLAGS).is_some_and(|flags| flags & 1 != 0),
            }),
        }
    }

    /// A named object: a quota and a limit let some packets through the rule.
    fn object(&mut self, number: impl Fn(u16) -> Option<u32>) {
        const KIND: u16 = 1;
        const COUNTER: u32 = 1;
        if number(KIND).is_none_or(|kind| matches!(kind, 2 | 4)) && number(KIND) != Some(COUNTER) {
            self.rule.asks.push(Ask::UNKNOWN);
        }
    }

    /// What a match of iptables asks.
    fn iptables(&mut self, inside: Attributes<'_>) {
        const NAME: u16 = 1;
        const INFORMATION: u16 = 3;
        let name = inside.find(NAME).and_then(Attribute::string);
        let bytes = inside
            .find(INFORMATION)
            .map_or(&[][..], |found| found.value);
        let asks = match name {
            Some("comment") => Some(Vec::new()),
            Some("conntrack") if is_translated(bytes) => Some(vec![Ask {
                subject: Subject::Translated,
                ranges: vec![(1, 1)],
                other: false,
            }]),
            Some(name @ ("tcp" | "udp")) => ports(name, bytes),
            _ => None,
        };
        self.rule
            .asks
            .extend(asks.unwrap_or_else(|| vec![Ask::UNKNOWN]));
    }
}

/// Whether `-m conntrack` asks for `--ctstate DNAT` and nothing else: `struct xt_conntrack_mtinfo2` and `mtinfo3`.
fn is_translated(information: &[u8]) -> bool {
    /// Behind eight addresses, two times and five numbers.
    const FLAGS: usize = 146;
    const STATE: u16 = 0x1;
    const TRANSLATED: u16 = 0x80;
    let half = |at: usize| {
        let bytes = information.get(at..at + 2)?;
        Some(u16::from_ne_bytes(bytes.try_into().ok()?))
    };
    half(FLAGS) == Some(STATE) && half(FLAGS + 2) == Some(0) && half(FLAGS + 4) == Some(TRANSLATED)
}

/// What `-m tcp` and `-m udp` ask: `struct xt_tcp`, `struct xt_udp`.
fn ports(name: &str, information: &[u8]) -> Option<Vec<Ask>> {
    let half = |at: usize| {
        let bytes = information.get(at..at + 2)?;
        Some(u128::from(u16::from_ne_bytes(bytes.try_into().ok()?)))
    };
    let more = if name == "tcp" { 8..12 } else { 8..9 };
    // Options, flags, and what is turned round.
    if information.get(more)?.iter().any(|byte| *byte != 0) {
        return None;
    }
    let ask = |subject, at| {
        Some(Ask {
            subject,
            ranges: vec![(half(at)?, half(at + 2)?)],
            other: false,
        })
    };
    Some(vec![ask(Subject::FromPort, 0)?, ask(Subject::ToPort, 4)?])
}

/// What a comparison asks.
fn compared(held: &Held, operator: u32, bytes: &[u8]) -> Option<Ask> {
    const LESS: u32 = 2;
    const AT_MOST: u32 = 3;
    const MORE: u32 = 4;
    if let Held::States(mask) = held {
        // `ct state new,related`: one of these is set, or none.
        let is_none = bytes.iter().all(|byte| *byte == 0);
        let bits = (0..u32::BITS).map(|at| 1 << at);
        let bits = bits.filter(|bit| mask & bit != 0);
        return is_none.then(|| Ask {
            subject: Subject::State,
            ranges: bits.map(|bit| (u128::from(bit), u128::from(bit))).collect(),
            other: operator == cmp::EQUAL,
        });
    }
    let (subject, first, last) = match *held {
        // The bytes are those of a number of the machine.
        Held::Part(Subject::Translated, _) => {
            let is_none = bytes.iter().all(|byte| *byte == 0);
            let value = u128::from(!is_none);
            (Subject::Translated, value, value)
        }
        Held::Part(Subject::State, _) => {
            let value = value(Subject::State, bytes)?;
            (Subject::State, value, value)
        }
        Held::Part(subject, long) => {
            // The kernel compares so many bytes.
            let value = value(subject, bytes)?;
            let rest = (8 * length(subject).saturating_sub(long.min(bytes.len()))).min(127);
            if subject == Subject::Family {
                (subject, value, value)
            } else {
                (subject, value << rest, (value << rest) | ((1 << rest) - 1))
            }
        }
        Held::Masked(subject, mask) => {
            let value = number(bytes)?;
            let all = u128::MAX >> (128 - 8 * length(subject));
            let rest = all & !mask;
            // The bits that are left out are the last ones.
            if rest & (rest + 1) != 0 {
                return None;
            }
            (subject, value, value | rest)
        }
        Held::Mark(_) | Held::PacketMark | Held::Status | Held::States(_) | Held::Unknown => {
            return None;
        }
    };
    let range = match operator {
        cmp::EQUAL | cmp::DIFFERENT => (first, last),
        LESS => (0, first.checked_sub(1)?),
        AT_MOST => (0, last),
        MORE => (last + 1, u128::MAX),
        cmp::AT_LEAST => (first, u128::MAX),
        _ => return None,
    };
    Some(Ask {
        subject,
        ranges: vec![range],
        other: operator == cmp::DIFFERENT,
    })
}

/// What a target of iptables does.
fn deed_of_target(target: &str) -> Option<Deed> {
    match target {
        "REJECT" | "DROP" | "NFQUEUE" => Some(Deed::Refuse),
        "DNAT" | "REDIRECT" | "NETMAP" | "TPROXY" => Some(Deed::Translate),
        "CT" | "NOTRACK" => Some(Deed::Untrack),
        "CONNMARK" => Some(Deed::CopyMark),
        _ => None,
    }
}

//! From a packet's destination to a service: three maps a family, since nft refuses an exact port inside a
//! range, or ranges beside wildcards, in one map. Exact beats range, range beats `any`.

use std::sync::Arc;

use crate::model::{Family, Ports, Vip};
use crate::ruleset::{
    Condition, Data, DataType, Element, Expression, Key, KeyType, Rule, Set, Statement,
};

/// The kinds of map, in the order in which they are looked up.
const KINDS: [Kind; 3] = [Kind::Exact, Kind::Range, Kind::Any];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Range,
    Any,
}

impl Kind {
    const fn of(ports: Ports) -> Self {
        match ports {
            Ports::One(_) => Self::Exact,
            Ports::Range(..) => Self::Range,
            Ports::Any => Self::Any,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Exact => "",
            Self::Range => "_range",
            Self::Any => "_any",
        }
    }
}

/// What the maps of one dispatch have in common.
pub(super) struct Dispatch<'n> {
    /// The maps' names: this, the family's digit, the kind, `tail`.
    pub(super) stem: &'n str,
    /// What follows, empty or `_IFACE`.
    pub(super) tail: &'n str,
    /// Whether elements count their look-ups.
    pub(super) counter: bool,
    /// What the maps are for.
    pub(super) purpose: &'static str,
    /// What every rule asks first.
    pub(super) guard: Option<Condition>,
}

impl Dispatch<'_> {
    /// The maps that hold `entries`, and the rules that look them up.
    ///
    /// ```text
    /// ip daddr . meta l4proto . th dport vmap @svc4
    /// ip daddr . meta l4proto . th dport vmap @svc4_range
    /// ip daddr . meta l4proto vmap @svc4_any
    /// ```
    pub(super) fn build(&self, entries: &[(Vip, Data)]) -> (Vec<Set>, Vec<Rule>) {
        let mut sets = Vec::new();
        let mut rules = Vec::new();
        for family in Family::BOTH {
            for kind in KINDS {
                let elements: Vec<Element> = entries
                    .iter()
                    .filter(|(vip, _)| {
                        Family::of(vip.address) == family && Kind::of(vip.ports) == kind
                    })
                    .map(|(vip, data)| Element {
                        key: Key::Vip(vip.address, vip.protocol, vip.ports),
                        data: Some(data.clone()),
                        comment: None,
                        origin: vip.span,
                    })
                    .collect();
                if elements.is_empty() {
                    continue;
                }
                let set = self.set(family, kind, elements);
                rules.push(self.rule(family, kind, &set.name));
                sets.push(set);
            }
        }
        (sets, rules)
    }

    fn set(&self, family: Family, kind: Kind, elements: Vec<Element>) -> Set {
        let digit = match family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        Set {
            name: format!("{}{digit}{}{}", self.stem, kind.suffix(), self.tail).into(),
            key: if kind == Kind::Any {
                KeyType::AddressProtocol(family)
            } else {
                KeyType::AddressProtocolPort(family)
            },
            data: Some(DataType::Verdict),
            size: super::block::room(elements.len()),
            interval: kind == Kind::Range,
            counter: self.counter,
            purpose: self.purpose,
            elements,
        }
    }

    fn rule(&self, family: Family, kind: Kind, map: &Arc<str>) -> Rule {
        let mut key = vec![Expression::Destination(family), Expression::L4Proto];
        if kind != Kind::Any {
            key.push(Expression::DestinationPort);
        }
        let lookup = Statement::Vmap {
            key: Expression::Concat(key),
            map: map.clone(),
        };
        let guard = self.guard.clone().map(Statement::Match);
        Rule::fixed(guard.into_iter().chain([lookup]).collect::<Vec<_>>())
    }
}

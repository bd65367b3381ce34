//! From a packet's destination to a service: maps for exact ports, ranges and `any` in each family, since nft refuses an
//! exact port inside a range, or ranges beside wildcards, in one map. Exact beats range, range beats `any`.
//!
//! Ranges have a map for each protocol. nft 1.0.6 swaps the bytes of `meta l4proto` beside a range, all one of them, and
//! newer kernels refuse such a rule.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Family, Ports, Protocol, Service, Vip};
use crate::ruleset::{
    Condition, Data, DataType, Element, Expression, Key, KeyType, Rule, Set, Statement, name,
};
use crate::source::Span;

use super::Input;
use super::set::{Counted, SetBuilder};

/// The kinds of map, in the order in which they are looked up.
fn kinds() -> impl Iterator<Item = Kind> {
    let ranges = Protocol::ALL.into_iter().map(Kind::Range);
    [Kind::Exact].into_iter().chain(ranges).chain([Kind::Any])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Range(Protocol),
    Any,
}

impl Kind {
    const fn of(vip: &Vip) -> Self {
        match vip.ports {
            Ports::One(_) => Self::Exact,
            Ports::Range(..) => Self::Range(vip.protocol),
            Ports::Any => Self::Any,
        }
    }

    fn suffix(self) -> String {
        match self {
            Self::Exact => String::new(),
            Self::Range(protocol) => name::ranges(protocol),
            Self::Any => name::ANY.to_owned(),
        }
    }

    const fn key(self, vip: &Vip) -> Key {
        match self {
            Self::Exact | Self::Any => Key::Vip(vip.address, vip.protocol, vip.ports),
            Self::Range(_) => Key::AddressPorts(vip.address, vip.ports),
        }
    }

    const fn key_type(self, family: Family) -> KeyType {
        match self {
            Self::Exact => KeyType::AddressProtocolPort(family),
            Self::Range(_) => KeyType::AddressPort(family),
            Self::Any => KeyType::AddressProtocol(family),
        }
    }
}

/// A VIP and where it leads.
pub(super) struct Entry {
    vip: Vip,
    data: Data,
    /// Whether an element is made for the VIP, or is only counted.
    made: bool,
}

impl Entry {
    /// Whether packets for the VIP go on to this chain.
    pub(super) fn leads_to(&self, chain: &str) -> bool {
        matches!(&self.data, Data::Goto(to) if **to == *chain)
    }
}

/// The VIPs of a service, and where each leads.
pub(super) fn entries<'a>(
    input: &Input<'_>,
    service: &'a Service,
    leads: impl Fn(&Vip) -> Data + 'a,
) -> impl Iterator<Item = Entry> + 'a {
    let made = input.scope.has_service(&service.name);
    service.vips.iter().map(move |vip| Entry {
        vip: *vip,
        data: leads(vip),
        made,
    })
}

/// What a service of a table that is asked later has of these VIPs, by the closer match: it goes on, untouched. It is made
/// whatever the scope, as are fragments.
pub(super) fn passing(closer: &Vip) -> Entry {
    Entry {
        vip: *closer,
        data: Data::Return,
        made: true,
    }
}

/// Where later fragments for a VIP go.
pub(super) struct Fragment {
    pub(super) address: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) data: Data,
    pub(super) origin: Span,
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
}

impl Dispatch<'_> {
    /// The maps that hold `entries`, and the rules that look them up.
    ///
    /// ```text
    /// ip daddr . meta l4proto . th dport vmap @svc4
    /// ip daddr . tcp dport vmap @svc4_range_tcp
    /// ip daddr . meta l4proto vmap @svc4_any
    /// ```
    ///
    /// Later fragments have no ports: they go where `fragments` leads them, or further on.
    ///
    /// ```text
    /// frag frag-off != 0 ip6 daddr . meta l4proto vmap @frag6_eth0
    /// ```
    pub(super) fn build(&self, entries: &[Entry], fragments: &[Fragment]) -> (Vec<Set>, Vec<Rule>) {
        let mut sets = Vec::new();
        let mut rules = Vec::new();
        for family in Family::BOTH {
            for kind in kinds() {
                if kind == Kind::Any
                    && let Some((set, rule)) = self.fragments(family, fragments)
                {
                    // What has ports was found before; a service of any port must not take what is another's.
                    sets.push(set);
                    rules.push(rule);
                }
                let mut set = self.set(family, kind);
                for entry in entries {
                    let vip = entry.vip;
                    if vip.family() != family || Kind::of(&vip) != kind {
                        continue;
                    }
                    if entry.made {
                        set.push(Element {
                            key: kind.key(&vip),
                            data: Some(entry.data.clone()),
                            comment: None,
                            origin: vip.span,
                        });
                    } else {
                        set.push(Counted::OUTSIDE);
                    }
                }
                if let Some(set) = set.finish() {
                    rules.push(lookup(family, kind, &set.name));
                    sets.push(set);
                }
            }
        }
        (sets, rules)
    }

    fn set(&self, family: Family, kind: Kind) -> SetBuilder {
        let rest = format!("{}{}", kind.suffix(), self.tail);
        let name = name::per_family(self.stem, family, &rest);
        let key = kind.key_type(family);
        let set = SetBuilder::new(&name, key, Some(DataType::Verdict), self.purpose);
        let set = if self.counter { set.counted() } else { set };
        match kind {
            Kind::Range(_) => set.of_ranges(),
            Kind::Exact | Kind::Any => set,
        }
    }

    fn fragments(&self, family: Family, fragments: &[Fragment]) -> Option<(Set, Rule)> {
        let name = name::per_family(name::FRAGMENTS, family, self.tail);
        let mut set = SetBuilder::new(
            &name,
            KeyType::AddressProtocol(family),
            Some(DataType::Verdict),
            "services that find the server of later fragments, which have no ports",
        );
        for fragment in fragments {
            if Family::of(fragment.address) == family {
                set.push(Element {
                    key: Key::Vip(fragment.address, fragment.protocol, Ports::Any),
                    data: Some(fragment.data.clone()),
                    comment: None,
                    origin: fragment.origin,
                });
            }
        }
        let set = set.finish()?;
        let lookup = Statement::Vmap {
            key: Expression::Concat(vec![Expression::Destination(family), Expression::L4Proto]),
            map: set.name.clone(),
        };
        // First of all the fragment: nft itself puts what that asks for in front.
        let later = Statement::Match(Condition::LaterFragment(family));
        Some((set, Rule::fixed([later, lookup])))
    }
}

/// `ip daddr . meta l4proto . th dport vmap @svc4`, `ip daddr . tcp dport vmap @svc4_range_tcp`
fn lookup(family: Family, kind: Kind, map: &Arc<str>) -> Rule {
    let address = Expression::Destination(family);
    let key = match kind {
        Kind::Exact => vec![address, Expression::L4Proto, Expression::DestinationPort],
        Kind::Range(protocol) => vec![address, Expression::DestinationPortOf(protocol)],
        Kind::Any => vec![address, Expression::L4Proto],
    };
    Rule::fixed([Statement::Vmap {
        key: Expression::Concat(key),
        map: map.clone(),
    }])
}

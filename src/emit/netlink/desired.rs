//! From a ruleset to what the kernel should have.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Family, Ports};
use crate::ruleset::{self, DataType, Field, Key, KeyType, Ruleset};
use crate::source::Span;

use super::{
    Bytes, Chain, Data, Desired, Element, Hook, Interfaces, MissingInterface, Rule, RuleBody, Set,
    Shape, Table, TableFamily, constant, kind,
};

/// What the kernel should have for a ruleset, where these interfaces are.
///
/// # Errors
///
/// Every interface that is missing, once.
pub fn desired(
    ruleset: Ruleset,
    interfaces: &Interfaces,
) -> Result<Desired, Vec<MissingInterface>> {
    let mut lowering = Lowering {
        interfaces,
        missing: Vec::new(),
    };
    let Ruleset {
        table,
        inet,
        netdev,
    } = ruleset;
    let desired = Desired {
        table,
        inet: inet.map(|table| lowering.table(table, TableFamily::Inet)),
        netdev: netdev.map(|table| lowering.table(table, TableFamily::Netdev)),
    };
    if lowering.missing.is_empty() {
        Ok(desired)
    } else {
        Err(lowering.missing)
    }
}

struct Lowering<'a> {
    interfaces: &'a Interfaces,
    missing: Vec<MissingInterface>,
}

impl Lowering<'_> {
    fn table(&mut self, table: ruleset::Table, family: TableFamily) -> Table {
        let chains = table
            .chains
            .iter()
            .map(|chain| Chain {
                name: chain.name.clone(),
                hook: chain.hook.as_ref().map(|wanted| {
                    if let ruleset::Hook::Ingress(device) = wanted {
                        self.index(device, || origin_of(chain, &table));
                    }
                    hook(wanted)
                }),
                rules: chain
                    .rules
                    .iter()
                    .map(|rule| {
                        let encoded = super::rule::encode(rule, family);
                        Rule {
                            body: RuleBody {
                                expressions: encoded.expressions,
                                protocols: encoded.protocols,
                            },
                            origin: rule.origin,
                        }
                    })
                    .collect(),
            })
            .collect();
        // Each set goes as it is turned into the other: there are hundreds of thousands of elements.
        let sets = table.sets.into_iter().map(|set| self.set(&set)).collect();
        Table { sets, chains }
    }

    fn set(&mut self, set: &ruleset::Set) -> Set {
        let shape = shape(set);
        let ranges = !shape.fields.is_empty();
        Set {
            name: set.name.clone(),
            shape,
            elements: set
                .elements
                .iter()
                .map(|e| self.element(e, ranges))
                .collect(),
            origin: set.dynamic,
            origins: set.elements.iter().map(|e| e.origin).collect(),
        }
    }

    fn element(&mut self, element: &ruleset::Element, ranges: bool) -> Element {
        let (key, key_end) = key(element.key);
        // A single key among ranges ends where it begins: nft sends it so, and counts on it when it lists.
        let key_end = key_end.or_else(|| ranges.then(|| Box::new(key)));
        let value = |bytes: &[u8]| Data::Value(Bytes::new(bytes).unwrap_or_default());
        let data = match &element.data {
            None => Data::None,
            Some(ruleset::Data::Mark(mark)) => value(&mark.to_ne_bytes()),
            Some(ruleset::Data::Address(address)) => Data::Value(with_address(*address)),
            Some(ruleset::Data::Port(port)) => value(&port.to_be_bytes()),
            Some(ruleset::Data::Mac(mac)) => value(&mac.0),
            Some(ruleset::Data::Interface(name)) => {
                value(&self.index(name, || Some(element.origin)).to_ne_bytes())
            }
            Some(ruleset::Data::Goto(chain)) => {
                Data::Verdict(constant::verdict::GOTO, Some(chain.clone()))
            }
            Some(ruleset::Data::Drop) => Data::Verdict(constant::verdict::DROP, None),
            Some(ruleset::Data::Return) => Data::Verdict(constant::verdict::RETURN, None),
        };
        Element {
            key,
            key_end,
            data,
            comment: element.comment.clone(),
        }
    }

    fn index(&mut self, name: &Arc<str>, origin: impl FnOnce() -> Option<Span>) -> u32 {
        if let Some(index) = self.interfaces.get(name) {
            return *index;
        }
        if !self.missing.iter().any(|missing| missing.name == *name) {
            self.missing.push(MissingInterface {
                name: name.clone(),
                origin: origin(),
            });
        }
        0
    }
}

/// A place in the source that a base chain of a direct-return table comes from: that of the first element of a map
/// that it looks up.
fn origin_of(chain: &ruleset::Chain, table: &ruleset::Table) -> Option<Span> {
    let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    let mut maps = statements.filter_map(|statement| match statement {
        ruleset::Statement::Vmap { map, .. } => Some(map),
        _ => None,
    });
    maps.find_map(|map| {
        let set = table.sets.iter().find(|set| set.name == *map)?;
        Some(set.elements.first()?.origin)
    })
}

fn hook(hook: &ruleset::Hook) -> Hook {
    let (kind, number, priority) = match hook {
        ruleset::Hook::NatPrerouting => ("nat", 0, -150),
        ruleset::Hook::NatOutput => ("nat", 3, -150),
        ruleset::Hook::NatPostrouting => ("nat", 4, 50),
        ruleset::Hook::FilterPrerouting => ("filter", 0, -95),
        ruleset::Hook::FilterOutput => ("filter", 3, -95),
        ruleset::Hook::FilterInput => ("filter", 1, 0),
        ruleset::Hook::RawPrerouting => ("filter", 0, -300),
        ruleset::Hook::Ingress(_) => ("filter", 0, 0),
    };
    Hook {
        kind: kind.into(),
        number,
        priority,
        policy: 1,
        devices: match hook {
            ruleset::Hook::Ingress(device) => vec![device.clone()],
            _ => Vec::new(),
        },
    }
}

const fn address_kind(family: Family) -> u32 {
    match family {
        Family::V4 => kind::IPV4,
        Family::V6 => kind::IPV6,
    }
}

const fn address_length(family: Family) -> u8 {
    family.bits() / 8
}

fn shape(set: &ruleset::Set) -> Shape {
    use constant::set::{CONCATENATION, DYNAMIC, INTERVAL, MAP, TIMEOUT};
    let (kinds, lengths): (Vec<u32>, Vec<u8>) = match set.key {
        KeyType::Mark => (vec![kind::MARK], vec![4]),
        KeyType::Address(family) => (vec![address_kind(family)], vec![address_length(family)]),
        KeyType::AddressProtocol(family) => (
            vec![address_kind(family), kind::PROTOCOL],
            vec![address_length(family), 1],
        ),
        KeyType::AddressPort(family) => (
            vec![address_kind(family), kind::SERVICE],
            vec![address_length(family), 2],
        ),
        KeyType::AddressMark(family) => (
            vec![address_kind(family), kind::MARK],
            vec![address_length(family), 4],
        ),
        KeyType::MarkDirection => (vec![kind::MARK, kind::CT_DIRECTION], vec![4, 1]),
        KeyType::AddressProtocolPort(family) => (
            vec![address_kind(family), kind::PROTOCOL, kind::SERVICE],
            vec![address_length(family), 1, 2],
        ),
        KeyType::Fields(fields) => fields
            .iter()
            .map(|field| match field {
                Field::Address => (kind::IPV4, 4),
                Field::Mark => (kind::MARK, 4),
                Field::Port => (kind::SERVICE, 2),
            })
            .unzip(),
        KeyType::Hashes(hashes) => vec![(kind::INTEGER, 4); hashes.into()].into_iter().unzip(),
        KeyType::HashesMark(hashes) => {
            let hashes = vec![(kind::INTEGER, 4); hashes.into()];
            hashes.into_iter().chain([(kind::MARK, 4)]).unzip()
        }
    };
    let concatenated = kinds.len() > 1;
    let ranges = concatenated && set.interval;
    let mut flags = 0;
    if set.interval {
        flags |= INTERVAL;
    }
    if set.data.is_some() {
        flags |= MAP;
    }
    if ranges {
        flags |= CONCATENATION;
    }
    if set.dynamic.is_some() {
        flags |= DYNAMIC | TIMEOUT;
    }
    if set.key == KeyType::MarkDirection {
        flags |= DYNAMIC;
    }
    let key_length = if concatenated {
        let padded = lengths.iter().map(|l| l.next_multiple_of(4));
        padded.map(u32::from).sum()
    } else {
        lengths.iter().copied().map(u32::from).sum()
    };
    let (data_type, data_length) = match set.data {
        None => (None, 0),
        Some(DataType::Verdict) => (Some(kind::VERDICT), 0),
        Some(DataType::Mark) => (Some(kind::MARK), 4),
        Some(DataType::Address(family)) => {
            (Some(address_kind(family)), address_length(family).into())
        }
        Some(DataType::Port) => (Some(kind::SERVICE), 2),
        Some(DataType::Mac) => (Some(kind::MAC), 6),
        Some(DataType::Interface) => (Some(kind::INTERFACE), 4),
    };
    Shape {
        flags,
        key_type: kind::concatenation(&kinds),
        key_length,
        data_type,
        data_length,
        size: set.size,
        fields: if ranges { lengths } else { Vec::new() },
        statements: if set.counter {
            vec!["counter".into()]
        } else {
            Vec::new()
        },
    }
}

fn with_address(address: IpAddr) -> Bytes {
    let empty = Bytes::default();
    match address {
        IpAddr::V4(address) => empty.then_padded(&address.octets()),
        IpAddr::V6(address) => empty.then_padded(&address.octets()),
    }
}

/// A key that ends in a port; of a range, the first and the last.
fn with_ports(stem: Bytes, ports: Ports) -> (Bytes, Option<Box<Bytes>>) {
    let port = |port: u16| stem.then_padded(&port.to_be_bytes());
    match ports {
        Ports::Any => (stem, None),
        Ports::One(one) => (port(one), None),
        Ports::Range(first, last) => (port(first), Some(Box::new(port(last)))),
    }
}

/// The bytes of a key; of a range, the first and the last.
fn key(key: Key) -> (Bytes, Option<Box<Bytes>>) {
    match key {
        Key::Mark(mark) => (Bytes::new(&mark.to_ne_bytes()).unwrap_or_default(), None),
        Key::Address(address) => (with_address(address), None),
        Key::Vip(address, protocol, ports) => with_ports(
            with_address(address).then_padded(&[protocol.number()]),
            ports,
        ),
        Key::AddressPorts(address, ports) => with_ports(with_address(address), ports),
        Key::AddressMark(address, mark) => {
            (with_address(address).then_padded(&mark.to_ne_bytes()), None)
        }
    }
}

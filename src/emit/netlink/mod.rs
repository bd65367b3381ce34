//! A ruleset in the kernel's own words: nf_tables objects, as they cross a netlink socket.
//!
//! [`desired`] says what the kernel should have. What it has is read into the same [`Shape`]s, [`Element`]s,
//! [`Hook`]s and expressions, so that the two compare byte by byte. Nothing here touches Linux.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Family, Ports};
use crate::ruleset::{self, DataType, Field, Key, KeyType, Ruleset};
use crate::source::Span;

pub(crate) mod attribute;
pub(crate) mod batch;
mod bytes;
pub mod change;
pub(crate) mod constant;
pub(crate) mod expression;
mod rule;
mod shape;

pub use bytes::{Bytes, LONGEST};

/// The fields of a concatenated key are padded to multiples of this.
pub(crate) const KEY_UNIT: u32 = 4;

/// The protocols that have ports: TCP, UDP, SCTP.
pub(crate) const PORT_PROTOCOLS: [u8; 3] = [6, 17, 132];

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TableFamily {
    /// `inet`
    Inet,
    /// `netdev`
    Netdev,
}

impl TableFamily {
    /// Both, in the order in which they are written.
    pub const BOTH: [Self; 2] = [Self::Inet, Self::Netdev];

    /// nft's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Netdev => "netdev",
        }
    }

    /// The kernel's number of it.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Netdev => 5,
        }
    }
}

/// What the kernel should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The name of both tables.
    pub table: Arc<str>,
    /// `inet NAME`
    pub inet: Option<Table>,
    /// `netdev NAME`
    pub netdev: Option<Table>,
}

impl Desired {
    /// No tables at all: what `unload` wants.
    pub const fn nothing(table: Arc<str>) -> Self {
        Self {
            table,
            inet: None,
            netdev: None,
        }
    }

    /// The table of this family.
    pub const fn table(&self, family: TableFamily) -> Option<&Table> {
        match family {
            TableFamily::Inet => self.inet.as_ref(),
            TableFamily::Netdev => self.netdev.as_ref(),
        }
    }

    /// The table of this family, which is then gone from here.
    pub(crate) const fn take_table(&mut self, family: TableFamily) -> Option<Table> {
        match family {
            TableFamily::Inet => self.inet.take(),
            TableFamily::Netdev => self.netdev.take(),
        }
    }
}

/// The contents of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains.
    pub chains: Vec<Chain>,
}

/// A named set or map, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: Arc<str>,
    /// Its declaration.
    pub shape: Shape,
    /// Where a dynamic set comes from; others come from their elements.
    pub origin: Option<Span>,
    /// Its elements.
    pub elements: Vec<Element>,
    /// Where each of the elements comes from.
    pub origins: Vec<Span>,
}

/// The declaration of a set, as the kernel keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Flags: map, interval and so on.
    pub flags: u32,
    /// The type of the key; means something to nft alone.
    pub key_type: u32,
    /// How long a key is.
    pub key_length: u32,
    /// The type of the values; means something to nft alone, but for verdicts.
    pub data_type: Option<u32>,
    /// How long a value is; 0 for verdicts.
    pub data_length: u32,
    /// Room for so many elements.
    pub size: u32,
    /// The lengths of the key's fields, where it is a concatenation with ranges.
    pub fields: Vec<u8>,
    /// What every element carries: `counter`.
    pub statements: Vec<Arc<str>>,
}

impl Shape {
    /// Whether every element carries a counter.
    pub fn counts(&self) -> bool {
        self.statements.iter().any(|name| &**name == "counter")
    }

    /// Whether rules add the elements: then what is in the set is the packets' affair and never compared.
    pub const fn is_dynamic(&self) -> bool {
        self.flags & constant::set::DYNAMIC != 0
    }
}

/// One element of a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Element {
    /// The key, or the first of a range of keys. Empty for the catch-all element, which flbc never makes.
    pub key: Bytes,
    /// The last of a range of keys; where a set has ranges, every element has one.
    pub key_end: Option<Box<Bytes>>,
    /// The value.
    pub data: Data,
    /// Who it stands for.
    pub comment: Option<Arc<str>>,
}

/// What an element counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    /// Look-ups: packets, or new connections in a nat chain.
    pub packets: u64,
    /// The bytes of these packets.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counter {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Data {
    /// None: an element of a set.
    None,
    /// Bytes.
    Value(Bytes),
    /// A verdict, and the chain that it goes to.
    Verdict(i32, Option<Arc<str>>),
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: Arc<str>,
    /// Where packets enter it.
    pub hook: Option<Hook>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where packets enter a base chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hook {
    /// `nat` or `filter`
    pub kind: Arc<str>,
    /// The kernel's number of the hook.
    pub number: u32,
    /// The priority.
    pub priority: i32,
    /// The verdict for what reaches the end: 0 is drop, 1 is accept.
    pub policy: u32,
    /// The interfaces, for a netdev chain.
    pub devices: Vec<Arc<str>>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub body: RuleBody,
    /// Where it comes from.
    pub origin: Option<Span>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleBody {
    /// Its expressions, as a netlink list.
    pub expressions: Vec<u8>,
    /// The members of its anonymous set, one byte each, if it has one.
    pub protocols: Option<Vec<u8>>,
}

/// The interfaces of a network namespace: name to index.
pub type Interfaces = BTreeMap<Arc<str>, u32>;

/// The rules name an interface that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingInterface {
    /// Its name.
    pub name: Arc<str>,
    /// Where it was named.
    pub origin: Option<Span>,
}

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
                        let encoded = rule::encode(rule, family);
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

/// nft's numbers for types.
pub(crate) mod kind {
    pub(crate) const INTEGER: u32 = 4;
    pub(crate) const IPV4: u32 = 7;
    pub(crate) const IPV6: u32 = 8;
    pub(crate) const MAC: u32 = 9;
    pub(crate) const PROTOCOL: u32 = 12;
    pub(crate) const SERVICE: u32 = 13;
    pub(crate) const MARK: u32 = 19;
    pub(crate) const INTERFACE: u32 = 20;
    pub(crate) const CT_DIRECTION: u32 = 27;
    pub(crate) const VERDICT: u32 = 0xffff_ff00;
    /// What is larger is a concatenation, or the verdict.
    pub(crate) const LARGEST_SINGLE: u32 = 63;
    /// How many bits a type takes in the number of a concatenation.
    const BITS: u32 = 6;

    /// The number of a concatenation.
    pub(crate) fn concatenation(fields: &[u32]) -> u32 {
        fields.iter().fold(0, |sum, field| sum << BITS | field)
    }

    /// The fields of a concatenation.
    pub(crate) fn fields(mut of: u32) -> Vec<u32> {
        let mut fields = Vec::new();
        while of > 0 {
            fields.insert(0, of & LARGEST_SINGLE);
            of >>= BITS;
        }
        fields
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

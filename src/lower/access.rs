//! Who may come: `allow` and `deny`.
//!
//! Every prefix of every list is an element of a map for its length, keyed by the prefix and the number of the list;
//! the longest that a client is in decides. So lists take linear time however many services have their own, and the
//! number of maps depends on the lengths alone. Services whose lists come to the same share one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::model::{Access, AccessEntry, AccessList, Family, Mode, Prefix, Service};
use crate::ruleset::{
    Chain, Condition, Data, DataType, Element, Expression, Key, KeyType, MarkOf, Mask, Name, Rule,
    Statement, Table, name,
};
use crate::schedule::jhash;
use crate::source::Span;

use super::layout::Layout;
use super::set::{Counted, SetBuilder};
use super::{Input, empty};

const CLOSED: &str = "access_closed";
const DENIED: &str = "denied";

/// The lists of one table.
pub(super) struct Gates {
    mark: MarkOf,
    /// Every list, by what it comes to.
    lists: BTreeMap<Content, u32>,
    /// What each pair of lists comes to in each family; pairs are known by their places in memory.
    by_place: FxHashMap<ListKey, Admission>,
    /// The number under which those are counted who were turned away from a service.
    services: BTreeMap<Arc<str>, u32>,
}

type ListKey = (*const Vec<AccessEntry>, *const Vec<AccessEntry>, Family);

/// Whom a service admits, of one family.
#[derive(Clone, Copy)]
enum Admission {
    Everybody,
    Nobody,
    /// Those that the list of this number admits.
    Listed(u32),
}

/// What a list comes to: no prefix in it is inside another that says the same, and none says what is so anyway.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    /// Whether clients that no prefix holds are turned away.
    closed: bool,
    entries: Vec<ListEntry>,
}

#[derive(Clone, Copy)]
struct ListEntry {
    prefix: Prefix,
    admitted: bool,
    origin: Span,
}

impl ListEntry {
    fn key(&self) -> (Prefix, bool) {
        (self.prefix, self.admitted)
    }
}

/// Wherever they were written.
impl PartialEq for ListEntry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ListEntry {}

impl PartialOrd for ListEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ListEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Content {
    /// What the lists come to for clients of one family.
    fn of(access: &Access, family: Family) -> Self {
        let everybody = |list: &[ListEntry]| list.iter().any(|entry| entry.prefix.length() == 0);
        let mut allow = merged(&access.allow, family, true);
        let deny = merged(&access.deny, family, false);
        // Who is in none of the allowed prefixes may not come; that they are all of the other family changes nothing.
        let mut closed = !access.allow.is_empty();
        if everybody(&allow) {
            closed = false;
        }
        if everybody(&deny) {
            return Self {
                closed: true,
                entries: Vec::new(),
            };
        }
        if !closed {
            allow.clear();
        }
        let mut all = [allow, deny].concat();
        // A shorter prefix before those inside it, and what is denied before what is allowed.
        all.sort_unstable();
        let inside = |outer: Option<Prefix>, inner: Prefix| {
            outer.is_some_and(|outer| outer.contains(inner.address()))
        };
        let (mut allowed, mut denied) = (None, None);
        all.retain(|entry| {
            let prefix = entry.prefix;
            if entry.admitted {
                let kept = !inside(denied, prefix);
                allowed = if kept { Some(prefix) } else { allowed };
                kept
            } else {
                denied = Some(prefix);
                !closed || inside(allowed, prefix)
            }
        });
        Self {
            closed,
            entries: all,
        }
    }

    /// A number that follows from the content alone.
    fn hash(&self) -> u32 {
        let mut bytes = vec![u8::from(self.closed)];
        for entry in &self.entries {
            match entry.prefix.address() {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
            bytes.extend([entry.prefix.length(), u8::from(entry.admitted)]);
        }
        jhash::jhash(&bytes, jhash::SEED)
    }
}

/// The prefixes of one family: none inside another, no two that make up a larger one.
fn merged(list: &AccessList, family: Family, admitted: bool) -> Vec<ListEntry> {
    let mut entries: Vec<ListEntry> = list
        .iter()
        .filter(|entry| entry.prefix.family() == family)
        .map(|entry| ListEntry {
            prefix: entry.prefix,
            admitted,
            origin: entry.span,
        })
        .collect();
    entries.sort();
    let mut merged: Vec<ListEntry> = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let before = merged.last();
        if before.is_some_and(|before| before.prefix.contains(entry.prefix.address())) {
            continue;
        }
        while let Some(last) = merged.last()
            && let Some(both) = last.prefix.joined(entry.prefix)
        {
            entry = ListEntry {
                prefix: both,
                ..*last
            };
            merged.pop();
        }
        merged.push(entry);
    }
    merged
}

/// Numbers that follow from hashes, and are 0 for nobody and the same for no two. A refusal goes out while the connection
/// still has one of them for its mark: so they leave to others what servers' numbers do.
fn numbered<T: Ord>(all: impl Iterator<Item = (u32, T)>, layout: Layout) -> BTreeMap<T, u32> {
    let by_hash: BTreeSet<(u32, T)> = all.collect();
    let mut taken = FxHashSet::default();
    let mut numbers = BTreeMap::new();
    for (hash, one) in by_hash {
        let step = layout.spread(1);
        let mut number = layout.spread(hash).max(step);
        while !taken.insert(number) {
            number = number.wrapping_add(step).max(step);
        }
        numbers.insert(one, number);
    }
    numbers
}

impl Gates {
    /// The lists of the services of this mode.
    pub(super) fn of(input: &Input<'_>, wanted: fn(&Mode) -> bool, mark: MarkOf) -> Self {
        let guarded = || {
            let services = input.services(wanted);
            services.filter(|plan| !plan.service.access.is_open())
        };
        let mut contents: FxHashMap<ListKey, Content> = FxHashMap::default();
        for plan in guarded() {
            let access = &plan.service.access;
            for (family, _) in &plan.families {
                let place = place(access, *family);
                let content = contents.entry(place);
                content.or_insert_with(|| Content::of(access, *family));
            }
        }
        let layout = input.layout();
        let listed = contents.values().filter(|content| content.is_list());
        let lists = numbered(
            listed.map(|content| (content.hash(), content.clone())),
            layout,
        );
        let admission = |content: &Content| match lists.get(content) {
            Some(number) => Admission::Listed(*number),
            None if content.closed => Admission::Nobody,
            None => Admission::Everybody,
        };
        let by_place = contents.iter().map(|(at, is)| (*at, admission(is)));
        let by_place = by_place.collect();
        let names = guarded().map(|plan| {
            let name = &plan.service.name;
            (jhash::jhash(name.as_bytes(), jhash::SEED), name.clone())
        });
        let services = numbered(names, layout);
        Self {
            mark,
            lists,
            by_place,
            services,
        }
    }

    /// What the chain of a service asks first.
    ///
    /// ```text
    /// ct mark set 0x2b3c4d5e jump access4
    /// ct mark 0x00000000 ct mark set 0x6f708192 goto away
    /// ```
    pub(super) fn rules(&self, service: &Service, family: Family) -> Vec<Rule> {
        let admission = self.by_place.get(&place(&service.access, family));
        let Some(number) = self.services.get(&service.name) else {
            return Vec::new();
        };
        let set = |number| Statement::Set {
            target: self.mark.target(),
            value: Expression::Mark(number),
        };
        let origin = service.span;
        let away = [set(*number), Statement::Goto(name::AWAY.into())];
        match admission {
            None | Some(Admission::Everybody) => Vec::new(),
            Some(Admission::Nobody) => vec![Rule::of(origin, away)],
            Some(Admission::Listed(list)) => {
                let denied = Statement::Match(Condition::MarkIs(self.mark.expression(), 0));
                vec![
                    Rule::of(origin, [set(*list), Statement::Jump(access_chain(family))]),
                    Rule::of(origin, [&[denied][..], &away].concat()),
                ]
            }
        }
    }

    /// The chains that look into the lists, and the maps that hold them.
    pub(super) fn lower(&self, input: &Input<'_>, table: &mut Table) {
        if self.services.is_empty() {
            return;
        }
        self.lower_away(input, table);
        if self.lists.is_empty() {
            return;
        }
        // ct mark set 0x00000000 return
        table.chains.push(Chain {
            name: DENIED.into(),
            hook: None,
            purpose: "this client may not come",
            rules: vec![Rule::fixed([
                Statement::Set {
                    target: self.mark.target(),
                    value: Expression::Mark(0),
                },
                Statement::Return,
            ])],
        });
        let closed = self.closed();
        for family in Family::BOTH {
            self.lower_family(family, &closed, table);
        }
        table.sets.extend(closed.finish());
    }

    /// Chain and map `away`: who was turned away is counted, and gets what `on-empty` says.
    ///
    /// ```text
    /// ct mark vmap @away
    /// ```
    fn lower_away(&self, input: &Input<'_>, table: &mut Table) {
        let mut map = SetBuilder::by_mark(
            name::AWAY,
            Some(DataType::Verdict),
            "what those get who may not come to a service; counts them",
        )
        .counted();
        for plan in &input.plan.services {
            let service = plan.service;
            let Some(number) = self.services.get(&service.name) else {
                continue;
            };
            map.push(if input.scope.has_service(&service.name) {
                Counted::from(Element {
                    key: Key::Mark(*number),
                    data: Some(empty::verdict(service.on_empty)),
                    comment: Some(service.name.clone()),
                    origin: service.span,
                })
            } else {
                Counted::OUTSIDE
            });
        }
        let decide = Rule::fixed([Statement::Vmap {
            key: self.mark.expression(),
            map: map.name(),
        }]);
        table.chains.push(Chain {
            name: name::AWAY.into(),
            hook: None,
            purpose: "the mark is a service that this client may not use",
            rules: vec![decide, Rule::fixed([Statement::Drop])],
        });
        table.sets.extend(map.finish());
    }

    /// The numbers of the lists that turn everybody away whom they do not admit.
    fn closed(&self) -> SetBuilder {
        let purpose = "lists that admit nobody else";
        let mut set = SetBuilder::by_mark(CLOSED, None, purpose);
        for (content, number) in &self.lists {
            if let Some(entry) = content.entries.first().filter(|_| content.closed) {
                set.push(Element {
                    key: Key::Mark(*number),
                    data: None,
                    comment: None,
                    origin: entry.origin,
                });
            }
        }
        set
    }

    /// ```text
    /// ip saddr . ct mark vmap @access4_32
    /// ip saddr & 255.255.255.0 . ct mark vmap @access4_24
    /// ct mark @access_closed goto denied
    /// ```
    fn lower_family(&self, family: Family, closed: &SetBuilder, table: &mut Table) {
        let mut maps: BTreeMap<u8, SetBuilder> = BTreeMap::new();
        let mut has_closed = false;
        for (content, number) in &self.lists {
            if content.family() != Some(family) {
                continue;
            }
            has_closed |= content.closed;
            for entry in &content.entries {
                let length = entry.prefix.length();
                let map = maps.entry(length).or_insert_with(|| map(family, length));
                map.push(Element {
                    key: Key::AddressMark(entry.prefix.address(), *number),
                    data: Some(if entry.admitted {
                        Data::Return
                    } else {
                        Data::Goto(DENIED.into())
                    }),
                    comment: None,
                    origin: entry.origin,
                });
            }
        }
        if maps.is_empty() {
            return;
        }
        // The longest prefix first.
        let longest_first = maps.iter().rev();
        let mut rules: Vec<Rule> = longest_first
            .map(|(length, map)| {
                let source = if *length == family.bits() {
                    Expression::Source(family)
                } else {
                    Expression::Masked(
                        Box::new(Expression::Source(family)),
                        Mask::prefix(family, *length),
                    )
                };
                Rule::fixed([Statement::Vmap {
                    key: Expression::Concat(vec![source, self.mark.expression()]),
                    map: map.name(),
                }])
            })
            .collect();
        if has_closed {
            rules.push(Rule::fixed([
                Statement::Match(Condition::InSet(self.mark.expression(), closed.name())),
                Statement::Goto(DENIED.into()),
            ]));
        }
        table.chains.push(Chain {
            name: access_chain(family),
            hook: None,
            purpose: "the mark is a list: may this client come?",
            rules,
        });
        let maps = maps.into_values().rev();
        table.sets.extend(maps.filter_map(SetBuilder::finish));
    }
}

impl Content {
    /// Whether a packet must be looked up in the list: it does not let everybody in, nor nobody.
    fn is_list(&self) -> bool {
        !self.entries.is_empty()
    }

    fn family(&self) -> Option<Family> {
        Some(self.entries.first()?.prefix.family())
    }
}

fn place(access: &Access, family: Family) -> ListKey {
    (
        Arc::as_ptr(&access.allow),
        Arc::as_ptr(&access.deny),
        family,
    )
}

fn access_chain(family: Family) -> Name {
    name::per_family(name::ACCESS, family, "")
}

fn map(family: Family, length: u8) -> SetBuilder {
    SetBuilder::new(
        &name::per_family(name::ACCESS, family, &format!("_{length}")),
        KeyType::AddressMark(family),
        Some(DataType::Verdict),
        "prefixes of allow and deny, by the number of their list",
    )
}

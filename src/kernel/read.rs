//! From the attributes of a dump to what flbc knows.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::diff::{ObservedChain, ObservedRule, ObservedSet};
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{
    chain, counter, data, element, expr, hook, rule, set, verdict,
};
use crate::emit::netlink::{Bytes, Counter, Data, Element, Hook, RuleBody, Shape, kind};

/// How often a reading that others' changes spoil is begun anew.
pub(super) const ATTEMPTS: usize = 20;

/// The rules of a table.
pub(super) type RulesByChain = HashMap<Arc<str>, Vec<ObservedRule>>;

/// Names that occur again and again, kept once.
#[derive(Default)]
pub(super) struct Names {
    known: FxHashMap<Box<str>, Arc<str>>,
}

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let shared: Arc<str> = name.into();
        self.known.insert(name.into(), shared.clone());
        shared
    }
}

/// A chain, and the name of its table.
pub(super) fn chain(attributes: Attributes<'_>) -> Option<(&str, ObservedChain)> {
    let table = attributes.find(chain::TABLE)?.string()?;
    let chain = ObservedChain {
        name: attributes.find(chain::NAME)?.string()?.into(),
        hook: attributes
            .find(chain::HOOK)
            .map(|at| read_hook(attributes, at.inside())),
        rules: Vec::new(),
    };
    Some((table, chain))
}

fn read_hook(of: Attributes<'_>, at: Attributes<'_>) -> Hook {
    let number = |attributes: Attributes<'_>, kind| attributes.find(kind).and_then(Attribute::u32);
    let name = |attribute: Attribute<'_>| attribute.string().map(Arc::from);
    let several = at.find(hook::DEVICES).map(|devices| {
        let devices = devices.inside().into_iter();
        devices.filter_map(name).collect::<Vec<Arc<str>>>()
    });
    let one = || at.find(hook::DEVICE).and_then(name).into_iter().collect();
    Hook {
        kind: of.find(chain::TYPE).and_then(name).unwrap_or_default(),
        number: number(at, hook::NUMBER).unwrap_or_default(),
        priority: number(at, hook::PRIORITY).unwrap_or_default().cast_signed(),
        policy: number(of, chain::POLICY).unwrap_or_default(),
        devices: several.unwrap_or_else(one),
    }
}

/// A rule, and the chain it stands in.
pub(super) fn rule(attributes: Attributes<'_>) -> Option<(&str, ObservedRule)> {
    let chain = attributes.find(rule::CHAIN)?.string()?;
    let expressions = attributes.find(rule::EXPRESSIONS);
    let rule = ObservedRule {
        handle: attributes.find(rule::HANDLE)?.u64()?,
        body: RuleBody {
            expressions: expressions.map(|e| e.value.to_vec()).unwrap_or_default(),
            protocols: None,
        },
    };
    Some((chain, rule))
}

/// A set without its elements.
pub(super) fn set(attributes: Attributes<'_>) -> Option<ObservedSet> {
    let number = |kind| attributes.find(kind).and_then(Attribute::u32);
    let description = attributes.find(set::DESCRIPTION).map(Attribute::inside);
    let size = description.and_then(|d| d.find(set::SIZE)?.u32());
    let fields = description
        .and_then(|d| Some(d.find(set::FIELDS)?.inside()))
        .into_iter()
        .flatten()
        .filter_map(|field| u8::try_from(field.inside().find(set::FIELD_LENGTH)?.u32()?).ok())
        .collect();
    let data_type = number(set::DATA_TYPE);
    Some(ObservedSet {
        name: attributes.find(set::NAME)?.string()?.into(),
        shape: Shape {
            flags: number(set::FLAGS).unwrap_or_default(),
            key_type: number(set::KEY_TYPE).unwrap_or_default(),
            key_length: number(set::KEY_LENGTH).unwrap_or_default(),
            data_type,
            // The length of a verdict is the kernel's own affair.
            data_length: match data_type {
                Some(kind::VERDICT) | None => 0,
                Some(_) => number(set::DATA_LENGTH).unwrap_or_default(),
            },
            size: size.unwrap_or_default(),
            fields,
            statements: statements(attributes),
        },
        elements: Vec::new(),
        counters: Vec::new(),
    })
}

/// The names of what a set does for each of its elements.
fn statements(attributes: Attributes<'_>) -> Vec<Arc<str>> {
    let one = attributes.find(set::EXPRESSION).map(Attribute::inside);
    let several = attributes.find(set::EXPRESSIONS).map(Attribute::inside);
    let several = several.into_iter().flatten().map(Attribute::inside);
    one.into_iter()
        .chain(several)
        .filter_map(|expression| Some(expression.find(expr::NAME)?.string()?.into()))
        .collect()
}

/// The elements in one part of a dump.
pub(super) fn elements(attributes: Attributes<'_>, names: &mut Names, into: &mut ObservedSet) {
    let counted = into.shape.counts();
    let list = attributes.find(element::LIST).map(Attribute::inside);
    for one in list.into_iter().flatten() {
        if let Some((element, counter)) = read_element(one.inside(), names) {
            into.elements.push(element);
            if counted {
                into.counters.push(counter);
            }
        }
    }
}

/// The elements in one part of a dump, and what each counted.
pub(super) fn counted(attributes: Attributes<'_>, mut each: impl FnMut(Element, Counter)) {
    let mut names = Names::default();
    let list = attributes.find(element::LIST).map(Attribute::inside);
    for one in list.into_iter().flatten() {
        if let Some((element, counter)) = read_element(one.inside(), &mut names) {
            each(element, counter);
        }
    }
}

fn read_element(attributes: Attributes<'_>, names: &mut Names) -> Option<(Element, Counter)> {
    let mut element = Element {
        key: Bytes::default(),
        key_end: None,
        data: Data::None,
        comment: None,
    };
    let mut counter = Counter::default();
    let value = |attribute: Attribute<'_>| Bytes::new(attribute.inside().find(data::VALUE)?.value);
    for attribute in attributes {
        match attribute.kind {
            element::KEY => element.key = value(attribute)?,
            element::KEY_END => element.key_end = Some(Box::new(value(attribute)?)),
            element::DATA => element.data = read_data(attribute.inside(), names)?,
            element::USERDATA => element.comment = comment(attribute.value),
            element::EXPRESSION => counter = read_counter(attribute.inside()).unwrap_or_default(),
            element::EXPRESSIONS => {
                let mut all = attribute.inside().into_iter().map(Attribute::inside);
                counter = all.find_map(read_counter).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some((element, counter))
}

fn read_data(attributes: Attributes<'_>, names: &mut Names) -> Option<Data> {
    let attribute = attributes.into_iter().next()?;
    if attribute.kind == data::VALUE {
        return Some(Data::Value(Bytes::new(attribute.value)?));
    }
    let verdict = attribute.inside();
    let code = verdict.find(verdict::CODE)?.u32()?.cast_signed();
    let chain = verdict.find(verdict::CHAIN).and_then(Attribute::string);
    Some(Data::Verdict(code, chain.map(|chain| names.share(chain))))
}

/// The comment in the userdata of an element or of a table: pieces of type, length and value.
pub(super) fn comment(mut userdata: &[u8]) -> Option<Arc<str>> {
    while let [kind, length, rest @ ..] = userdata {
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        if *kind == element::COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into());
        }
        userdata = after;
    }
    None
}

fn read_counter(expression: Attributes<'_>) -> Option<Counter> {
    if expression.find(expr::NAME)?.string()? != "counter" {
        return None;
    }
    let inside = expression.find(expr::DATA)?.inside();
    Some(Counter {
        packets: inside.find(counter::PACKETS)?.u64()?,
        bytes: inside.find(counter::BYTES)?.u64()?,
    })
}

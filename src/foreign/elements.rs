//! What rules look up in sets, and what maps of verdicts lead to.

use std::collections::BTreeMap;

use super::decoded::{Lookup, value, verdict_of};
use super::{Ask, ForeignRule, Subject};
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{data, element};

/// More elements of a set are not looked at.
const ELEMENTS: usize = 65_536;

/// A rule with what it looks up: one for each end of a map of verdicts.
pub(crate) fn whole(
    rule: &ForeignRule,
    lookups: &[Lookup],
    sets: &BTreeMap<String, Elements>,
) -> Vec<ForeignRule> {
    let mut rule = rule.clone();
    let mut ends = None;
    for one in lookups {
        match sets.get(&one.set) {
            Some(elements) if one.verdict => ends = Some(elements.verdicts(one)),
            Some(elements) => rule.asks.push(elements.ask(one)),
            None => rule.asks.push(Ask::UNKNOWN),
        }
    }
    // What is not in a map goes on at the next rule.
    let Some(ends) = ends else {
        return vec![rule];
    };
    let ends = ends.into_iter().map(|end| {
        let mut one = rule.clone();
        one.asks.extend(end.asks);
        one.deeds.extend(end.deeds);
        one.then = end.then;
        one
    });
    ends.collect()
}

/// What is in a set.
#[derive(Default)]
pub(crate) struct Elements {
    all: Vec<Element>,
}

struct Element {
    key: Option<Vec<u8>>,
    /// It ends a range, and is not of it.
    end: bool,
    /// It is one value, and no ranges of several fields, nor what stands for all others.
    is_simple: bool,
    /// What it leads to, in a map of verdicts.
    rule: ForeignRule,
}

impl Elements {
    /// One more, as the kernel tells it.
    pub(crate) fn add(&mut self, one: Attributes<'_>) {
        /// A flag: it is the first value behind a range.
        const END: u32 = 0x1;
        if self.all.len() > ELEMENTS {
            return;
        }
        let value = |kind| one.find(kind).map(Attribute::inside);
        let flags = one.find(element::FLAGS).and_then(Attribute::u32);
        let flags = flags.unwrap_or(0);
        let key = value(element::KEY).and_then(|key| key.find(data::VALUE));
        self.all.push(Element {
            key: key.map(|key| key.value.to_vec()),
            end: flags & END != 0,
            is_simple: flags & !END == 0 && one.find(element::KEY_END).is_none(),
            rule: value(element::DATA).map_or_else(ForeignRule::default, verdict_of),
        });
    }

    /// The ranges of values in order, each with the element that begins it; `None`: it is not understood.
    fn ranges(&self, lookup: &Lookup) -> Option<Vec<((u128, u128), &ForeignRule)>> {
        let (subject, length) = lookup.of?;
        if self.all.len() > ELEMENTS {
            return None;
        }
        let mut values = Vec::with_capacity(self.all.len());
        for one in &self.all {
            let key = one.key.as_deref().filter(|key| key.len() == length);
            let value = value(subject, key.filter(|_| one.is_simple)?)?;
            values.push((value, !one.end, &one.rule));
        }
        values.sort_by_key(|(value, starts, _)| (*value, *starts));
        let has_ranges = values.iter().any(|(_, starts, _)| !starts);
        let most = u128::MAX;
        let mut ranges: Vec<((u128, u128), &ForeignRule)> = Vec::new();
        let mut open = false;
        for (value, starts, rule) in values {
            if open && let Some(((_, last), _)) = ranges.last_mut() {
                *last = value.saturating_sub(1);
            }
            open = starts && has_ranges;
            if starts {
                let last = if has_ranges { most } else { value };
                ranges.push(((value, last), rule));
            }
        }
        Some(ranges)
    }

    /// What a rule asks that looks a value up.
    fn ask(&self, lookup: &Lookup) -> Ask {
        match (lookup.of, self.ranges(lookup)) {
            (Some((subject, _)), Some(ranges)) => Ask {
                subject,
                ranges: ranges.into_iter().map(|(range, _)| range).collect(),
                other: lookup.other,
            },
            _ => Ask::UNKNOWN,
        }
    }

    /// What becomes of packets, as rules: one for each end that there is.
    fn verdicts(&self, lookup: &Lookup) -> Vec<ForeignRule> {
        let mut ends: BTreeMap<ForeignRule, Option<Vec<(u128, u128)>>> = BTreeMap::new();
        match (lookup.of, self.ranges(lookup)) {
            (Some(_), Some(ranges)) => {
                for (range, end) in ranges {
                    let of = ends.entry(end.clone()).or_insert_with(|| Some(Vec::new()));
                    of.get_or_insert_default().push(range);
                }
            }
            _ => ends.extend(self.all.iter().map(|one| (one.rule.clone(), None))),
        }
        let subject = lookup.of.map_or(Subject::Else, |(subject, _)| subject);
        let rules = ends.into_iter().map(|(mut rule, ranges)| {
            rule.asks.push(ranges.map_or(Ask::UNKNOWN, |ranges| Ask {
                subject,
                ranges,
                other: false,
            }));
            rule
        });
        rules.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(key: &[u8], end: bool) -> Element {
        Element {
            key: Some(key.to_vec()),
            end,
            is_simple: true,
            rule: ForeignRule::default(),
        }
    }

    #[test]
    fn ranges_of_a_set_end_where_the_next_begins() {
        let lookup = Lookup {
            set: String::new(),
            of: Some((Subject::ToPort, 2)),
            verdict: false,
            other: false,
        };
        let cases = [
            (
                vec![element(&[0, 80], false), element(&[1, 187], false)],
                vec![(80, 80), (443, 443)],
            ),
            (
                // As the kernel dumps them: the highest first.
                vec![
                    element(&[0, 90], true),
                    element(&[0, 80], false),
                    element(&[0, 0], true),
                ],
                vec![(80, 89)],
            ),
            (
                vec![
                    element(&[0, 0], true),
                    element(&[0, 80], false),
                    element(&[0, 90], true),
                    element(&[0, 90], false),
                ],
                vec![(80, 89), (90, u128::MAX)],
            ),
        ];
        for (all, ranges) in cases {
            assert_eq!(Elements { all }.ask(&lookup).ranges, ranges);
        }
        // A key of several fields is not understood.
        let all = vec![element(&[0, 80, 0, 0, 10, 0, 0, 1], false)];
        assert_eq!(Elements { all }.ask(&lookup), Ask::UNKNOWN);
    }
}

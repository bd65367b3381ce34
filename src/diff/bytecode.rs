//! Whether a rule in the kernel is the rule that was sent.
//!
//! The kernel gives a rule back in its own order, numbers its anonymous set, and tells more than it was told. And nft
//! picks the registers in which values wait for their use, each version others. So expressions are compared one by one,
//! each register by what was put into it, whatever its number.

use crate::emit::netlink::RuleBody;
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{byteorder, expr};
use crate::emit::netlink::expression::ANONYMOUS_STEM;

use super::registers::{Access, Registers, Sets, accesses};

/// Whether `observed` does what `wanted` says, where the sets that they look up have the lengths that `sets` tells.
pub(super) fn same(observed: &RuleBody, wanted: &RuleBody, sets: Sets<'_>) -> bool {
    observed == wanted
        || observed.protocols == wanted.protocols
            && same_list(&observed.expressions, &wanted.expressions, sets)
}

fn same_list(observed: &[u8], wanted: &[u8], sets: Sets<'_>) -> bool {
    let mut lists = [observed, wanted].map(|list| effective(Attributes::new(list)));
    let mut registers = [Registers::default(); 2];
    for step in 0.. {
        let pair = lists.each_mut().map(Iterator::next);
        let [Some(observed), Some(wanted)] = pair else {
            return pair == [None, None];
        };
        if !same_expression([observed, wanted], &mut registers, step, sets) {
            return false;
        }
    }
    true
}

/// The expressions that do something.
fn effective(list: Attributes<'_>) -> impl Iterator<Item = Attribute<'_>> {
    list.into_iter().filter(|expression| !is_idle(*expression))
}

/// `byteorder hton(reg 1, 2, 1)`: nft 1.0 swaps the bytes of a field of one byte beside a range. Kernels of 2026 and later
/// refuse that, older ones do nothing.
fn is_idle(expression: Attribute<'_>) -> bool {
    let inside = Attributes::new(inside(expression));
    let number = |kind| inside.find(kind).and_then(Attribute::u32);
    name(expression) == Some("byteorder")
        && number(byteorder::FROM) == number(byteorder::TO)
        && number(byteorder::LENGTH) < number(byteorder::SIZE)
}

/// Whether two expressions do the same with the same values. Both then leave theirs as the value of this `step`.
fn same_expression(
    [observed, wanted]: [Attribute<'_>; 2],
    registers: &mut [Registers; 2],
    step: usize,
    sets: Sets<'_>,
) -> bool {
    let [Some(name), Some(other)] = [name(observed), name(wanted)] else {
        return false;
    };
    let attributes = [observed, wanted].map(|expression| Attributes::new(inside(expression)));
    if name != other {
        return false;
    }
    let [Some(observed), Some(wanted)] = attributes.map(|list| accesses(name, list, sets)) else {
        // What it reads is not known: the same only where every register has the same value.
        return registers[0] == registers[1] && covers(attributes, &[]);
    };
    let same_values = observed.len() == wanted.len()
        && observed.iter().zip(&wanted).all(|(observed, wanted)| {
            let values = [observed, wanted].into_iter().zip(&*registers);
            let mut values = values.map(|(access, registers)| registers.read(access));
            observed.kind == wanted.kind && values.next() == values.next()
        });
    if !same_values || !covers(attributes, &wanted) {
        return false;
    }
    for (registers, accesses) in registers.iter_mut().zip([&observed, &wanted]) {
        for access in accesses {
            registers.write(access, step);
        }
    }
    true
}

fn name(expression: Attribute<'_>) -> Option<&str> {
    expression.inside().find(expr::NAME)?.string()
}

/// An expression's own attributes. One that has none may lack the list.
fn inside(expression: Attribute<'_>) -> &[u8] {
    let data = expression.inside().find(expr::DATA);
    data.map(|data| data.value).unwrap_or_default()
}

/// Whether the first list has all of the second, in any order, and beside it nothing that does anything. `registers` are
/// compared elsewhere.
fn covers([observed, wanted]: [Attributes<'_>; 2], registers: &[Access]) -> bool {
    let compared = |attribute: &Attribute<'_>| {
        let mut registers = registers.iter();
        registers.all(|access| access.kind != attribute.kind)
    };
    let mut every = wanted.into_iter().filter(compared);
    let mut rest = observed.into_iter().filter(compared);
    every.all(|wanted| {
        let found = observed.find(wanted.kind);
        found.is_some_and(|found| same_value(found, wanted))
    }) && rest.all(|extra| wanted.find(extra.kind).is_some() || is_default(extra))
}

fn same_value(observed: Attribute<'_>, wanted: Attribute<'_>) -> bool {
    if observed.value == wanted.value {
        return true;
    }
    let anonymous = |a: Attribute<'_>| a.string().is_some_and(|s| s.starts_with(ANONYMOUS_STEM));
    if anonymous(wanted) {
        return anonymous(observed);
    }
    // Not the same bytes: the same only if both are lists of the same attributes.
    let lists = [observed.value, wanted.value];
    lists.into_iter().all(is_list) && covers(lists.map(Attributes::new), &[])
}

/// Whether the bytes are attributes from end to end.
fn is_list(bytes: &[u8]) -> bool {
    let read: usize = Attributes::new(bytes)
        .into_iter()
        .map(|attribute| (attribute.value.len() + 4).next_multiple_of(4))
        .sum();
    !bytes.is_empty() && read == bytes.len().next_multiple_of(4)
}

/// Zero is what the kernel takes where nothing is said.
fn is_default(attribute: Attribute<'_>) -> bool {
    attribute.value.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use crate::emit::netlink::Shape;
    use crate::emit::netlink::attribute::Writer;
    use crate::emit::netlink::constant::{bitwise, dynset, lookup, meta, payload};

    use super::*;

    /// `payload load LENGTHb @ network header + OFFSET => reg TO`
    fn load((offset, length): (u32, u32), to: u32) -> (&'static str, Vec<(u16, u32)>) {
        let attributes = vec![
            (payload::TO, to),
            (payload::BASE, payload::NETWORK),
            (payload::OFFSET, offset),
            (payload::LENGTH, length),
        ];
        ("payload", attributes)
    }

    /// `hton(reg REGISTER, SIZE, LENGTH)`
    fn swap(register: u32, size: u32, length: u32) -> (&'static str, Vec<(u16, u32)>) {
        let attributes = vec![
            (byteorder::FROM, register),
            (byteorder::TO, register),
            (byteorder::OPERATION, byteorder::TO_NETWORK),
            (byteorder::LENGTH, length),
            (byteorder::SIZE, size),
        ];
        ("byteorder", attributes)
    }

    fn mark(to: u32) -> (&'static str, Vec<(u16, u32)>) {
        ("meta", vec![(meta::KEY, meta::MARK), (meta::TO, to)])
    }

    /// `dynset update reg_key KEY set persist4 sreg_data DATA`; the name is written beside.
    fn update(key: u32, data: u32) -> (&'static str, Vec<(u16, u32)>) {
        let attributes = vec![
            (dynset::KEY, key),
            (dynset::DATA, data),
            (dynset::OPERATION, dynset::UPDATE),
        ];
        ("dynset", attributes)
    }

    fn rule(expressions: &[(&'static str, Vec<(u16, u32)>)]) -> RuleBody {
        let mut writer = Writer::default();
        for (name, attributes) in expressions {
            writer.nested(expr::ELEMENT, |w| {
                w.string(expr::NAME, name);
                w.nested(expr::DATA, |w| {
                    match *name {
                        "dynset" => w.string(dynset::SET, "persist4"),
                        "lookup" => w.string(lookup::SET, "persist4"),
                        _ => {}
                    }
                    for (kind, value) in attributes {
                        w.u32(*kind, *value);
                    }
                });
            });
        }
        RuleBody {
            expressions: writer.into_bytes(),
            protocols: None,
        }
    }

    /// Where `persist4` has keys of 8 bytes and values of 4.
    fn compared(
        observed: &[(&'static str, Vec<(u16, u32)>)],
        wanted: &[(&'static str, Vec<(u16, u32)>)],
    ) -> bool {
        let persist = Shape {
            flags: 0,
            key_type: 0,
            key_length: 8,
            data_type: None,
            data_length: 4,
            size: 0,
            fields: Vec::new(),
            statements: Vec::new(),
        };
        let sets = |name: &str| (name == "persist4").then_some(&persist);
        same(&rule(observed), &rule(wanted), &sets)
    }

    const CLIENT: (u32, u32) = (12, 4);
    const VIP: (u32, u32) = (16, 4);

    /// What nft 1.0.6 makes, and 1.1.3, of `update @persist4 { ip saddr . meta mark : meta mark }`.
    #[test]
    fn the_same_values_in_other_registers_are_the_same_rule() {
        let old = [load(CLIENT, 1), mark(9), mark(2), update(1, 2)];
        let new = [load(CLIENT, 1), mark(9), mark(10), update(1, 10)];
        assert!(compared(&old, &new) && compared(&new, &old));
        // A whole register, and the four small ones that it is.
        let small = [load(CLIENT, 8), mark(9), mark(10), update(8, 10)];
        assert!(compared(&old, &small));
    }

    #[test]
    fn other_values_in_the_same_registers_are_another_rule() {
        let rule = [load(CLIENT, 1), mark(9), mark(2), update(1, 2)];
        // The mark where the client was: only the second field of the key differs, or only the value.
        let other_field = [load(CLIENT, 1), mark(2), load(VIP, 9), update(1, 2)];
        let other_client = [load(VIP, 1), mark(9), mark(2), update(1, 2)];
        let other_order = [load(CLIENT, 9), mark(1), mark(2), update(1, 2)];
        let other_value = [load(CLIENT, 1), mark(9), mark(2), update(1, 9)];
        let no_value = [load(CLIENT, 1), mark(9), mark(2), update(1, 3)];
        let shorter = [load(CLIENT, 1), mark(9), update(1, 2)];
        for other in [
            &other_field[..],
            &other_client,
            &other_order,
            &other_value,
            &no_value,
            &shorter,
        ] {
            assert!(!compared(other, &rule), "{other:?}");
            assert!(!compared(&rule, other), "{other:?}");
        }
    }

    #[test]
    fn a_byte_that_is_swapped_with_itself_counts_for_nothing() {
        let look_up = |from| ("lookup", vec![(lookup::FROM, from), (lookup::TO, 0)]);
        let plain = [load(CLIENT, 1), mark(9), look_up(1)];
        let swapped = [load(CLIENT, 1), mark(9), swap(9, 2, 1), look_up(1)];
        assert!(compared(&swapped, &plain) && compared(&plain, &swapped));
        let another = [load(CLIENT, 1), mark(9), swap(9, 4, 4), look_up(1)];
        assert!(!compared(&another, &plain) && !compared(&plain, &another));
    }

    #[test]
    fn what_is_not_known_is_the_same_where_all_registers_are() {
        let unknown = ("unheard", vec![(1, 9)]);
        let rule = [load(CLIENT, 9), unknown.clone()];
        assert!(compared(&rule, &rule));
        assert!(!compared(&[load(CLIENT, 1), unknown.clone()], &rule));
        assert!(!compared(&[load(VIP, 9), ("other", vec![(1, 9)])], &rule));
        // A bitwise operation over two registers, of newer kernels: flbc has none, and what it reads is not hidden.
        let both = |second| {
            let attributes = vec![
                (bitwise::FROM, 1),
                (bitwise::TO, 1),
                (bitwise::LENGTH, 4),
                (7, second),
            ];
            [load(CLIENT, 1), load(VIP, 9), ("bitwise", attributes)]
        };
        assert!(compared(&both(9), &both(9)));
        assert!(!compared(&both(2), &both(9)));
    }
}

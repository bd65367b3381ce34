//! Whether a rule in the kernel is the rule that was sent.
//!
//! The kernel gives a rule back in its own order, numbers its anonymous set, and tells more than it was told.

use crate::emit::netlink::RuleBody;
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::expr;
use crate::emit::netlink::expression::ANONYMOUS_STEM;

/// Whether `observed` does what `wanted` says.
pub(super) fn same(observed: &RuleBody, wanted: &RuleBody) -> bool {
    observed == wanted
        || observed.protocols == wanted.protocols
            && same_list(&observed.expressions, &wanted.expressions)
}

fn same_list(observed: &[u8], wanted: &[u8]) -> bool {
    let mut observed = Attributes::new(observed).into_iter();
    let all = Attributes::new(wanted).into_iter().all(|wanted| {
        observed
            .next()
            .is_some_and(|observed| same_expression(observed, wanted))
    });
    all && observed.next().is_none()
}

fn same_expression(observed: Attribute<'_>, wanted: Attribute<'_>) -> bool {
    name(observed) == name(wanted) && covers(inside(observed), inside(wanted))
}

fn name(expression: Attribute<'_>) -> Option<&[u8]> {
    Some(expression.inside().find(expr::NAME)?.value)
}

/// An expression's own attributes. One that has none may lack the list.
fn inside(expression: Attribute<'_>) -> &[u8] {
    let data = expression.inside().find(expr::DATA);
    data.map(|data| data.value).unwrap_or_default()
}

/// Whether `observed` has all of `wanted`, in any order, and beside it nothing that does anything.
fn covers(observed: &[u8], wanted: &[u8]) -> bool {
    let (observed, wanted) = (Attributes::new(observed), Attributes::new(wanted));
    let mut every = wanted.into_iter();
    let mut rest = observed.into_iter();
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
    is_list(observed.value) && is_list(wanted.value) && covers(observed.value, wanted.value)
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

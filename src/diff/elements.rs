//! The difference between two sets of elements.

use rustc_hash::FxHashMap;

use crate::emit::netlink::{Element, Set};
use crate::source::Span;

use super::observed::{ElementKey, identity};

/// What makes the elements of one set into those of another.
#[derive(Debug, Default)]
pub(super) struct ElementChanges {
    /// Elements to remove, as they are.
    pub(super) gone: Vec<Element>,
    /// Elements to add.
    pub(super) new: Vec<Element>,
    /// Where each of those comes from.
    pub(super) origins: Vec<Span>,
}

/// What is to be done to elements that are `old` so that they are those of `wanted`. An element that changed is
/// removed and added.
pub(super) fn difference(old: &[Element], wanted: Set) -> ElementChanges {
    let mut difference = ElementChanges::default();
    // Both lists are mostly the same, and in the same order if flbc wrote the first itself.
    let front = old
        .iter()
        .zip(&wanted.elements)
        .take_while(|(old, new)| old == new)
        .count();
    let old = old.get(front..).unwrap_or_default();
    let new = wanted.elements.into_iter().zip(wanted.origins).skip(front);
    let mut rest: FxHashMap<ElementKey, &Element> = old.iter().map(|e| (identity(e), e)).collect();
    for (element, origin) in new {
        let found = rest.remove(&identity(&element));
        if found == Some(&element) {
            continue;
        }
        difference.gone.extend(found.cloned());
        difference.new.push(element);
        difference.origins.push(origin);
    }
    // In the order of the old list, so that the same difference always reads the same.
    difference.gone.extend(
        old.iter()
            .filter(|e| rest.contains_key(&identity(e)))
            .cloned(),
    );
    difference
}

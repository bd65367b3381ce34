//! Sets and maps, filled while blocks and services are lowered.

use crate::ruleset::{DataType, Element, KeyType, Name, Set};
use crate::source::Span;

/// Room for so many elements and as many again: a full map refuses more, and one without a size grows step
/// by step while it loads.
pub fn room(elements: usize) -> u32 {
    let wanted = elements.saturating_mul(2).next_power_of_two().max(1024);
    u32::try_from(wanted).unwrap_or(u32::MAX)
}

/// An element; `None`: there is one, but it is outside of the scope.
pub(super) struct Counted(Option<Element>);

impl Counted {
    /// An element that counts towards the size of the set and is not made, as the scope leaves it out.
    pub(super) const OUTSIDE: Self = Self(None);
}

impl From<Element> for Counted {
    fn from(element: Element) -> Self {
        Self(Some(element))
    }
}

/// A set or map whose elements are of one kind, filled while blocks are lowered.
pub(super) struct SetBuilder {
    set: Set,
    expected: usize,
    /// How many elements there are, made or not.
    count: usize,
}

impl SetBuilder {
    /// A map from a mark.
    pub(super) fn by_mark(name: &str, data: Option<DataType>, purpose: &'static str) -> Self {
        Self::new(name, KeyType::Mark, data, purpose)
    }

    pub(super) fn new(
        name: &str,
        key: KeyType,
        data: Option<DataType>,
        purpose: &'static str,
    ) -> Self {
        Self {
            set: Set {
                name: name.into(),
                key,
                data,
                size: 0,
                members: 0,
                interval: false,
                counter: false,
                dynamic: None,
                purpose,
                elements: Vec::new(),
            },
            expected: 0,
            count: 0,
        }
    }

    /// Every element counts its look-ups.
    pub(super) fn counted(mut self) -> Self {
        self.set.counter = true;
        self
    }

    /// Keys are ranges.
    pub(super) fn of_ranges(mut self) -> Self {
        self.set.interval = true;
        self
    }

    /// Room for so many elements as soon as there is one: a large set that grows is copied many times.
    pub(super) fn expecting(mut self, elements: usize) -> Self {
        self.expected = elements;
        self
    }

    pub(super) fn push(&mut self, element: impl Into<Counted>) {
        self.count += 1;
        let Counted(Some(element)) = element.into() else {
            return;
        };
        if self.set.elements.is_empty() {
            self.set.elements.reserve_exact(self.expected);
        }
        self.set.elements.push(element);
    }

    /// So many elements more, which are outside of the scope.
    pub(super) fn count(&mut self, elements: usize) {
        self.count += elements;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn name(&self) -> Name {
        self.set.name.clone()
    }

    /// The set, if anything is in it.
    pub(super) fn finish(self) -> Option<Set> {
        (self.count > 0).then(|| self.always())
    }

    /// The set for rules to fill, with room for so many elements; `origin` is what asked for it first.
    pub(super) fn dynamic(self, room: u32, origin: Span) -> Set {
        Set {
            size: room,
            dynamic: Some(origin),
            ..self.set
        }
    }

    /// The set, even if nothing is in it.
    pub(super) fn always(self) -> Set {
        let mut set = self.set;
        set.size = room(self.count);
        set.members = self.count;
        set
    }
}

//! What a transaction does, one step after the other.

use std::fmt;
use std::sync::Arc;

use crate::source::Span;

use super::{Counter, Element, Hook, RuleBody, Shape, TableFamily};

/// One step, in one of the two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which table.
    pub family: TableFamily,
    /// What is done.
    pub step: Step,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes the table.
    AddTable {
        /// A random text that the table carries as its comment, so that it can be known again.
        id: Arc<str>,
    },
    /// Lets packets meet the rules of a table again that somebody has made dormant.
    WakeTable,
    /// Removes the table and all that is in it.
    DeleteTable,
    /// Declares a set.
    AddSet {
        /// Its name.
        set: Arc<str>,
        /// Its declaration.
        shape: Shape,
        /// Where it comes from.
        origin: Option<Span>,
    },
    /// Removes a set that no rule uses.
    DeleteSet {
        /// Its name.
        set: Arc<str>,
    },
    /// Adds elements.
    AddElements {
        /// The set.
        set: Arc<str>,
        /// The elements.
        elements: Vec<Element>,
        /// Where each comes from.
        origins: Vec<Span>,
        /// What each has counted already. Those that have none begin at 0.
        counters: Vec<Counter>,
    },
    /// Removes elements.
    DeleteElements {
        /// The set.
        set: Arc<str>,
        /// The elements, as they are in the kernel.
        elements: Vec<Element>,
    },
    /// Adds elements with what they had under another number.
    CarryElements {
        /// The set.
        set: Arc<str>,
        /// The elements.
        elements: Vec<Carried>,
    },
    /// Removes elements that may be there or not: what rules put there.
    ClearElements {
        /// The set.
        set: Arc<str>,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Makes a chain.
    AddChain {
        /// Its name.
        chain: Arc<str>,
        /// Where packets enter it.
        hook: Option<Hook>,
        /// Where it comes from.
        origin: Option<Span>,
    },
    /// Removes all rules of a chain.
    FlushChain {
        /// Its name.
        chain: Arc<str>,
    },
    /// Removes a chain that nothing goes to.
    DeleteChain {
        /// Its name.
        chain: Arc<str>,
    },
    /// Adds a rule.
    AddRule {
        /// The chain.
        chain: Arc<str>,
        /// The handle of the rule that it goes before; without it, it goes to the end.
        before: Option<u64>,
        /// What it does.
        body: RuleBody,
        /// Where it comes from.
        origin: Option<Span>,
    },
    /// Removes a rule.
    DeleteRule {
        /// The chain.
        chain: Arc<str>,
        /// The rule.
        handle: u64,
    },
}

/// An element with what it had under another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The element.
    pub element: Element,
    /// How long it lives after a packet, and how long it has to live, in milliseconds.
    pub lifetime: [u64; 2],
}

impl Change {
    /// Where it comes from; of elements, the one at this place.
    pub fn origin(&self, element: Option<usize>) -> Option<Span> {
        match &self.step {
            Step::AddSet { origin, .. }
            | Step::AddChain { origin, .. }
            | Step::AddRule { origin, .. } => *origin,
            Step::AddElements { origins, .. } => origins.get(element.unwrap_or_default()).copied(),
            Step::AddTable { .. }
            | Step::WakeTable
            | Step::DeleteTable
            | Step::DeleteSet { .. }
            | Step::DeleteElements { .. }
            | Step::CarryElements { .. }
            | Step::ClearElements { .. }
            | Step::FlushChain { .. }
            | Step::DeleteChain { .. }
            | Step::DeleteRule { .. } => None,
        }
    }

    /// Whether it is about a table, a chain or a rule, and not about a set or what is in it.
    pub const fn is_structure(&self) -> bool {
        !matches!(
            self.step,
            Step::AddSet { .. }
                | Step::DeleteSet { .. }
                | Step::AddElements { .. }
                | Step::DeleteElements { .. }
                | Step::CarryElements { .. }
                | Step::ClearElements { .. }
        )
    }

    /// Whether rules come or go, so that the kernel numbers some anew.
    pub const fn touches_rules(&self) -> bool {
        matches!(
            self.step,
            Step::AddRule { .. } | Step::DeleteRule { .. } | Step::FlushChain { .. }
        )
    }
}

/// `add map svc4 of inet`, for messages about the kernel's answer.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize| if n == 1 { "element" } else { "elements" };
        match &self.step {
            Step::AddTable { .. } => write!(f, "add the table"),
            Step::WakeTable => write!(f, "wake the dormant table"),
            Step::DeleteTable => write!(f, "delete the table"),
            Step::AddSet { set, .. } => write!(f, "add set `{set}`"),
            Step::DeleteSet { set } => write!(f, "delete set `{set}`"),
            Step::AddElements { set, elements, .. } => write!(
                f,
                "add {} {} to set `{set}`",
                elements.len(),
                plural(elements.len())
            ),
            Step::DeleteElements { set, elements } => write!(
                f,
                "delete {} {} from set `{set}`",
                elements.len(),
                plural(elements.len())
            ),
            Step::ClearElements { set, elements } => write!(
                f,
                "clear {} {} of set `{set}`",
                elements.len(),
                plural(elements.len())
            ),
            Step::CarryElements { set, elements } => write!(
                f,
                "carry over {} {} of set `{set}`",
                elements.len(),
                plural(elements.len())
            ),
            Step::AddChain { chain, .. } => write!(f, "add chain `{chain}`"),
            Step::FlushChain { chain } => write!(f, "empty chain `{chain}`"),
            Step::DeleteChain { chain } => write!(f, "delete chain `{chain}`"),
            Step::AddRule { chain, .. } => write!(f, "add a rule to chain `{chain}`"),
            Step::DeleteRule { chain, .. } => write!(f, "delete a rule of chain `{chain}`"),
        }?;
        write!(f, " in {}", self.family.name())
    }
}

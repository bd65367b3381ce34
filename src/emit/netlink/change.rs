//! What a transaction does, one step after the other.

use std::fmt;
use std::sync::Arc;

use crate::source::Span;

use super::{Counter, Element, Hook, RuleBody, Shape, TableFamily};

/// One step, in one of the two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The family of the table that is changed.
    pub family: TableFamily,
    /// What is done to the table.
    pub step: Step,
}

/// What a step of a transaction does.
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
        /// The set's name.
        set: Arc<str>,
        /// The set's declaration.
        shape: Shape,
        /// The place in the source that asked for the step.
        origin: Option<Span>,
    },
    /// Removes a set that no rule uses.
    DeleteSet {
        /// The set's name.
        set: Arc<str>,
    },
    /// Adds elements.
    AddElements {
        /// The name of the set that the elements are in.
        set: Arc<str>,
        /// The elements.
        elements: Vec<Element>,
        /// The place in the source of each element.
        origins: Vec<Span>,
        /// What each has counted already. Those that have none begin at 0.
        counters: Vec<Counter>,
    },
    /// Removes elements.
    DeleteElements {
        /// The name of the set that the elements are in.
        set: Arc<str>,
        /// The elements, as they are in the kernel.
        elements: Vec<Element>,
    },
    /// Adds elements with what they had under another number.
    CarryElements {
        /// The name of the set that the elements are in.
        set: Arc<str>,
        /// The elements.
        elements: Vec<Carried>,
    },
    /// Removes elements that may be there or not: what rules put there.
    ClearElements {
        /// The name of the set that the elements are in.
        set: Arc<str>,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Makes a chain.
    AddChain {
        /// The chain's name.
        chain: Arc<str>,
        /// Where packets enter the chain; `None`: rules lead to it.
        hook: Option<Hook>,
        /// The place in the source that asked for the step.
        origin: Option<Span>,
    },
    /// Removes all rules of a chain.
    FlushChain {
        /// The chain's name.
        chain: Arc<str>,
    },
    /// Removes a chain that nothing goes to.
    DeleteChain {
        /// The chain's name.
        chain: Arc<str>,
    },
    /// Adds a rule.
    AddRule {
        /// The name of the chain that the rule is in.
        chain: Arc<str>,
        /// The handle of the rule that it goes before; without it, it goes to the end.
        before: Option<u64>,
        /// What the rule does.
        body: RuleBody,
        /// The place in the source that asked for the step.
        origin: Option<Span>,
    },
    /// Removes a rule.
    DeleteRule {
        /// The name of the chain that the rule is in.
        chain: Arc<str>,
        /// The kernel's number of the rule.
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
    /// The place in the source that asked for the change; of elements, for the one at this place.
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

//! What NAT and direct return share: blocks of slots, and the rule that draws one.

use std::ops::Deref;

use crate::model::{Family, HashKey, Mode, RealServer};
use crate::ruleset::{
    Chain, Data, DataType, Element, Expression, Key, KeyType, Name, Rule, Set, Statement, Target,
    name,
};
use crate::schedule::{Block, Choice, Draw, ServicePlan, jhash};

use super::access::Gates;
use super::number::BlockNumbers;
use super::{Input, empty, identity, persist, track};

/// Room for so many elements and as many again: a full map refuses more, and one without a size grows step
/// by step while it loads.
pub(super) fn room(elements: usize) -> u32 {
    let wanted = elements.saturating_mul(2).next_power_of_two().max(1024);
    u32::try_from(wanted).unwrap_or(u32::MAX)
}

/// An element; `None`: there is one, but it is outside of the scope.
pub(super) struct Counted(Option<Element>);

impl Counted {
    /// An element that is outside of the scope.
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

    /// The set, even if nothing is in it.
    pub(super) fn always(self) -> Set {
        let mut set = self.set;
        set.size = room(self.count);
        set
    }
}

/// One real server of a block, ready to become elements.
#[derive(Clone, Copy)]
pub(super) struct NumberedServer<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) server: &'a RealServer,
    pub(super) number: u32,
    /// Whether it is in the scope.
    made: bool,
}

impl NumberedServer<'_> {
    /// The element that maps this server's number to `data`, or holds it where there is none.
    pub(super) fn element(&self, data: Option<Data>) -> Counted {
        if self.made {
            self.with(data, None).into()
        } else {
            Counted::OUTSIDE
        }
    }

    fn with(&self, data: Option<Data>, comment: Option<String>) -> Element {
        Element {
            key: Key::Mark(self.number),
            data,
            comment: comment.map(Into::into),
            origin: self.server.span,
        }
    }
}

/// The numbers of a block.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    of: &'a BlockNumbers,
    /// Whether the block is in the scope.
    made: bool,
}

impl Deref for Numbers<'_> {
    type Target = BlockNumbers;

    fn deref(&self) -> &BlockNumbers {
        self.of
    }
}

/// The set of every real server, with a comment that says who it is and how it stands.
pub(super) fn server_set<'a>(
    input: &Input<'a>,
    blocks: impl Iterator<Item = (&'a Block<'a>, Numbers<'a>)>,
) -> SetBuilder {
    let purpose = "every real server: weight, state, name";
    let mut set = SetBuilder::by_mark(name::SERVERS, None, purpose).expecting(input.servers());
    for (block, numbers) in blocks {
        for server in servers(block, numbers) {
            if server.made {
                let comment = identity::comment(input.model, block, server.server);
                set.push(server.with(None, Some(comment)));
            } else {
                set.push(Counted::OUTSIDE);
            }
        }
    }
    set
}

/// The blocks of one kind of mode, with their numbers.
pub(super) fn blocks<'a>(
    input: &Input<'a>,
    wanted: impl Fn(&Mode) -> bool + 'a,
) -> impl Iterator<Item = (&'a Block<'a>, Numbers<'a>)> {
    let scope = input.scope;
    let blocks = input.plan.blocks.iter().zip(&input.numbers.blocks);
    let numbered = blocks.enumerate().map(move |(at, (block, of))| {
        let made = scope.has_block(at);
        (block, Numbers { of, made })
    });
    numbered.filter(move |(block, _)| wanted(block.mode))
}

/// The servers of a block, in the order of their numbers.
pub(super) fn servers<'a>(block: &'a Block<'a>, numbers: Numbers<'a>) -> Vec<NumberedServer<'a>> {
    let mut servers: Vec<NumberedServer<'a>> = block
        .servers
        .iter()
        .zip(&numbers.of.servers)
        .map(|(server, number)| NumberedServer {
            block,
            server,
            number: *number,
            made: numbers.made,
        })
        .collect();
    if numbers.made {
        servers.sort_by_key(|server| server.number);
    }
    servers
}

/// The map from slots to servers: `0x01000000 : 0x00000001`
pub(super) fn slot_map<'a>(
    input: &Input<'a>,
    blocks: impl Iterator<Item = (&'a Block<'a>, Numbers<'a>)>,
) -> SetBuilder {
    let mut map = SetBuilder::by_mark("slot", Some(DataType::Mark), "slot to real server")
        .expecting(input.slots());
    for (block, numbers) in blocks {
        let Choice::Slots { owners, .. } = &block.choice else {
            continue;
        };
        if !numbers.made {
            map.count(owners.len());
            continue;
        }
        for (slot, owner) in (numbers.first_slot..=u32::MAX).zip(owners) {
            if let Some(number) = numbers.servers.get(*owner as usize) {
                map.push(Element {
                    key: Key::Mark(slot),
                    data: Some(Data::Mark(*number)),
                    comment: None,
                    origin: block.service.span,
                });
            }
        }
    }
    map
}

/// Where a service's chain leaves the choice of a server, and which chain goes on.
#[derive(Clone, Copy)]
pub(super) struct Onward {
    /// `ct mark` or `meta mark`
    pub(super) mark: Target,
    /// The chain that turns a block's slot into a server.
    pub(super) slotted: fn(&Block<'_>) -> &'static str,
    /// The chain that sends to a server.
    pub(super) chosen: &'static str,
    /// The same two for a service that remembers its clients.
    pub(super) kept: [&'static str; 2],
}

/// The chains of one service, one a family. The last rules choose, and that before them asks whether the client is
/// remembered, if the service does so:
///
/// ```text
/// ct mark set 0x80000000 jump return4_32
/// ct mark set numgen inc mod 7 offset 0x01000000
/// goto slotted
/// ```
///
/// or `ct mark set 0x00000001` and `goto translate`, or `goto refuse` alone. What goes somewhere is a rule of its own:
/// the kernel walks all chains after each transaction that touches such a rule, and the draw changes more often.
pub(super) fn service_chains(
    input: &Input<'_>,
    plan: &ServicePlan<'_>,
    onward: Onward,
    gates: &Gates,
) -> Vec<Chain> {
    let service = plan.service;
    if !input.scope.has_service(&service.name) {
        return Vec::new();
    }
    let chain = |(family, place): &(Family, Option<usize>)| {
        let block = place.and_then(|at| {
            let block = input.plan.blocks.get(at)?;
            Some((block, input.numbers.blocks.get(at)?))
        });
        let each = |statements: Vec<Statement>| -> Vec<Rule> {
            let rules = statements.into_iter();
            rules
                .map(|statement| Rule::of(service.span, [statement]))
                .collect()
        };
        let choosing = block.and_then(|(block, numbers)| {
            let tracked = track::choosing(service, block, numbers, onward);
            tracked.or_else(|| choose(block, numbers, onward).map(each))
        });
        let mut rules = gates.rules(service, *family);
        rules.extend(block.and_then(|_| track::asking(service, *family)));
        let empty = || each(vec![empty::statement(service.on_empty)]);
        let returning = block
            .and_then(|(block, numbers)| persist::returning(block, numbers.region, onward.mark));
        rules.extend(returning.map(|returning| Rule::of(service.span, returning)));
        rules.extend(choosing.unwrap_or_else(empty));
        Chain {
            name: name::service_chain(&service.name, *family),
            hook: None,
            purpose: "",
            rules,
        }
    };
    plan.families.iter().map(chain).collect()
}

/// The rules that choose a server, of one statement each; `None` where no server takes clients.
fn choose(block: &Block<'_>, numbers: &BlockNumbers, onward: Onward) -> Option<Vec<Statement>> {
    let [slotted, chosen] = match numbers.region {
        Some(_) => onward.kept,
        None => [(onward.slotted)(block), onward.chosen],
    };
    let (value, next) = match &block.choice {
        Choice::Empty => return None,
        Choice::Only(at) => (Expression::Mark(*numbers.servers.get(*at)?), chosen),
        Choice::Slots { draw, owners } => {
            let slots = u32::try_from(owners.len()).unwrap_or(u32::MAX);
            let value = draw_slot(*draw, block.family, slots, numbers.first_slot);
            (value, slotted)
        }
    };
    Some(vec![
        Statement::Set {
            target: onward.mark,
            value,
        },
        Statement::Goto(next.into()),
    ])
}

pub(super) fn draw_slot(draw: Draw, family: Family, modulus: u32, offset: u32) -> Expression {
    match draw {
        Draw::InTurn => Expression::Increment { modulus, offset },
        Draw::AtRandom => Expression::Random { modulus, offset },
        Draw::Hashed(key) => Expression::Jhash {
            key: Box::new(match key {
                HashKey::Source => Expression::Source(family),
                HashKey::SourcePort => {
                    Expression::Concat(vec![Expression::Source(family), Expression::SourcePort])
                }
            }),
            modulus,
            seed: jhash::SEED,
            offset,
        },
    }
}

/// The chain `name`, which makes a real server of the slot in the mark and goes on with `next`:
/// `ct mark set ct mark map @slot goto translate`, `drop`
pub(super) fn slotted(
    mark: Target,
    slots: &SetBuilder,
    name: &str,
    next: Statement,
    purpose: &'static str,
) -> Chain {
    let slot = match mark {
        Target::CtMark => Expression::CtMark,
        _ => Expression::MetaMark,
    };
    let server = Statement::Set {
        target: mark,
        value: Expression::Map(Box::new(slot), slots.name()),
    };
    Chain {
        name: name.into(),
        hook: None,
        purpose,
        rules: vec![Rule::fixed([server, next]), Rule::fixed([Statement::Drop])],
    }
}

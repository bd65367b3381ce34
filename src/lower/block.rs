//! Blocks of slots: their servers as elements, and the rule that draws a slot.

use std::ops::Deref;

use crate::model::{Family, HashKey, Mode, RealServer};
use crate::ruleset::{
    Chain, Data, DataType, Element, Expression, Key, MarkOf, Rule, Statement, name,
};
use crate::schedule::{Block, Choice, Draw, jhash};

use super::number::BlockNumbers;
use super::set::{Counted, SetBuilder};
use super::{Input, identity};

/// One real server of a block, ready to become elements.
#[derive(Clone, Copy)]
pub(super) struct NumberedServer<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) server: &'a RealServer,
    pub(super) number: u32,
    /// Whether elements are made for the server, or are only counted.
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
                let comment = identity::comment(input.model, block, server.server).to_string();
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
    let mut map = SetBuilder::by_mark(name::SLOTS, Some(DataType::Mark), "slot to real server")
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
    pub(super) mark: MarkOf,
    /// The chain that turns a block's slot into a server.
    pub(super) slotted: fn(&Block<'_>) -> &'static str,
    /// The chain that sends to a server.
    pub(super) chosen: &'static str,
    /// `slotted` and `chosen` of a service that remembers its clients: these remember the client first.
    pub(super) kept: [&'static str; 2],
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
    mark: MarkOf,
    slots: &SetBuilder,
    name: &str,
    next: Statement,
    purpose: &'static str,
) -> Chain {
    let server = Statement::Set {
        target: mark.target(),
        value: Expression::Map(Box::new(mark.expression()), slots.name()),
    };
    Chain {
        name: name.into(),
        hook: None,
        purpose,
        rules: vec![Rule::fixed([server, next]), Rule::fixed([Statement::Drop])],
    }
}

//! Changes as one netlink batch: a transaction.

use super::attribute::{Attributes, Writer};
use super::builder::{Builder, FIRST, MessagePart};
use super::change::{Change, Step};
use super::constant::{element, expr, message, rule};
use super::header::{ACK, BATCH_BEGIN, BATCH_END, BATCH_GENERATION, HEADER};
use super::{Data, Element};

/// Whether the kernel is to keep the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The kernel keeps the changes.
    Commit,
    /// The kernel checks all and keeps nothing: a batch without its end.
    Check,
}

/// One netlink batch.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The bytes that are sent to the kernel.
    pub(crate) bytes: Vec<u8>,
    messages: Vec<MessagePart>,
}

/// What a refused message was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Culprit {
    /// The change, by its place.
    pub(crate) change: usize,
    /// The element of it, if the kernel said which.
    pub(crate) element: Option<usize>,
    /// The expression of a rule, if the kernel said which.
    pub(crate) expression: Option<String>,
}

impl Batch {
    /// The batch that makes these changes to the tables called `table`, refused unless the kernel is at this
    /// generation.
    pub(crate) fn new(
        table: &str,
        changes: &[Change],
        generation: Option<u32>,
        ending: Ending,
    ) -> Self {
        let mut builder = Builder {
            table,
            writer: Writer::with_capacity(changes.iter().map(room).sum()),
            messages: Vec::new(),
            change: 0,
            anonymous: 0,
        };
        builder.control(BATCH_BEGIN, |w| {
            if let Some(generation) = generation {
                w.u32(BATCH_GENERATION, generation);
            }
        });
        for (at, change) in changes.iter().enumerate() {
            builder.change = at;
            builder.change(change);
        }
        let messages = builder.messages.clone();
        if ending == Ending::Commit {
            builder.control(BATCH_END, |_| {});
        }
        let mut bytes = builder.writer.into_bytes();
        // The last message's answer follows all others. A failed commit is told at the first message, whose own
        // answer tells it from a refusal.
        for place in [messages.first(), messages.last()].into_iter().flatten() {
            acknowledge(&mut bytes, place.start);
        }
        Self { bytes, messages }
    }

    /// The sequence number of the message that begins the batch.
    pub(crate) const fn begin() -> u32 {
        FIRST
    }

    /// The sequence number of the last message that changes something; that of the beginning where none does.
    pub(crate) fn last(&self) -> u32 {
        FIRST + u32::try_from(self.messages.len()).unwrap_or(u32::MAX - FIRST)
    }

    /// What the message of this number was about. `offset` is the byte of it that the kernel blames.
    pub(crate) fn culprit(&self, sequence: u32, offset: Option<u32>) -> Option<Culprit> {
        let at = usize::try_from(sequence.checked_sub(FIRST + 1)?).ok()?;
        let place = self.messages.get(at)?;
        let end = self
            .messages
            .get(at + 1)
            .map_or(self.bytes.len(), |p| p.start);
        let message = self.bytes.get(place.start..end)?;
        let mut culprit = Culprit {
            change: place.change,
            element: None,
            expression: None,
        };
        let kind = message.get(4).copied().unwrap_or_default();
        if let Some(offset) = offset {
            let offset = offset as usize;
            match kind {
                message::NEW_ELEMENTS | message::DELETE_ELEMENTS => {
                    culprit.element = blamed(message, offset, element::LIST)
                        .map(|(at, _)| place.first_element + at);
                }
                message::NEW_RULE => {
                    culprit.expression =
                        blamed(message, offset, rule::EXPRESSIONS).and_then(|(_, expression)| {
                            let name = Attributes::new(expression).find(expr::NAME)?.string()?;
                            Some(name.to_owned())
                        });
                }
                _ => {}
            }
        }
        Some(culprit)
    }
}

/// About how many bytes a change becomes. Room that is not used costs nothing; too little is copied to a larger place,
/// all of it, while the kernel clears memory for both.
fn room(change: &Change) -> usize {
    /// A message's header, and names.
    const MESSAGE: usize = 128;
    /// Headers of attributes, and numbers.
    const ELEMENT: usize = 64;
    let inside = match &change.step {
        Step::AddElements { elements, .. } | Step::DeleteElements { elements, .. } => {
            let bytes = |one: &Element| {
                let text = one.comment.as_ref().map_or(0, |comment| comment.len());
                let data = match &one.data {
                    Data::Verdict(_, Some(chain)) => chain.len() + 16,
                    Data::Verdict(_, None) | Data::Value(_) | Data::None => 16,
                };
                ELEMENT + one.key.as_slice().len() + data + text
            };
            // Those of a set are alike.
            elements.iter().take(16).map(bytes).max().unwrap_or(0) * elements.len()
        }
        Step::CarryElements { elements, .. } => 2 * ELEMENT * elements.len(),
        Step::AddRule { body, .. } => body.expressions.len() + MESSAGE,
        _ => MESSAGE,
    };
    MESSAGE + inside
}

/// The member of the list `wanted` of a message in which `offset` lies: its place and its value.
fn blamed(message: &[u8], offset: usize, wanted: u16) -> Option<(usize, &[u8])> {
    let list = Attributes::new(message.get(HEADER..)?).find(wanted)?.value;
    let place = |part: &[u8]| part.as_ptr().addr() - message.as_ptr().addr();
    Attributes::new(list)
        .into_iter()
        .map(|member| member.value)
        .enumerate()
        .find(|(_, value)| (place(value) - 4..place(value) + value.len()).contains(&offset))
}

fn acknowledge(bytes: &mut [u8], start: usize) {
    if let Some(flags) = bytes.get_mut(start + 6..start + 8) {
        for (byte, flag) in flags.iter_mut().zip(ACK.to_ne_bytes()) {
            *byte |= flag;
        }
    }
}

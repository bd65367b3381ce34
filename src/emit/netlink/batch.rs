//! Changes as one netlink batch: a transaction.

use super::attribute::{Attributes, Writer};
use super::change::{Change, Step};
use super::constant::{chain, data, element, expr, hook, lookup, message, rule, set, table};
use super::expression::{ANONYMOUS, ANONYMOUS_STEM};
use super::shape::{
    number_userdata, text_userdata, userdata, write_carried, write_element, write_shape,
};
use super::{Counter, Data, Element, Hook, RuleBody, TableFamily, kind};

/// The bytes of a message before its attributes: `nlmsghdr` and `nfgenmsg`.
pub(crate) const HEADER: usize = 20;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENERATION: u16 = 1;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// How elements come, and how they go.
const NEW_ELEMENTS: (u8, u16) = (message::NEW_ELEMENTS, CREATE);
const DELETE_ELEMENTS: (u8, u16) = (message::DELETE_ELEMENTS, 0);

/// A list of elements ends when it is this long: its length has 16 bits.
const FULL: usize = 60_000;

/// The sequence number of a batch's first message; the others follow.
const FIRST: u32 = 1;

/// Whether the kernel is to keep the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is.
    Commit,
    /// It checks all and keeps nothing: a batch without its end.
    Check,
}

/// One netlink batch.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    messages: Vec<Place>,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Its first byte in the batch.
    start: usize,
    /// The change.
    change: usize,
    /// The first element in it.
    first_element: usize,
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

/// The type of a message to nf_tables.
pub(crate) const fn of_rules(kind: u8) -> u16 {
    SUBSYSTEM << 8 | kind as u16
}

/// A message that asks for one thing, or with `dump` for a list.
pub(crate) fn request(
    kind: u16,
    family: u8,
    dump: bool,
    sequence: u32,
    inside: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let mut writer = Writer::default();
    let flags = if dump { REQUEST | DUMP } else { REQUEST };
    let header = Header {
        kind,
        flags,
        sequence,
        family,
        resource: 0,
    };
    header.write(&mut writer, inside);
    writer.into_bytes()
}

/// A message that asks for several things, and for a word when that was all.
pub(crate) fn acknowledged(
    kind: u16,
    family: u8,
    sequence: u32,
    inside: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let mut writer = Writer::default();
    let header = Header {
        kind,
        flags: REQUEST | ACK,
        sequence,
        family,
        resource: 0,
    };
    header.write(&mut writer, inside);
    writer.into_bytes()
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
}

impl Header {
    fn write(&self, w: &mut Writer, inside: impl FnOnce(&mut Writer)) {
        let start = w.len();
        let mut header = [0; HEADER];
        let fields: [(usize, &[u8]); 5] = [
            (4, &self.kind.to_ne_bytes()),
            (6, &self.flags.to_ne_bytes()),
            (8, &self.sequence.to_ne_bytes()),
            (16, &[self.family]),
            (18, &self.resource.to_be_bytes()),
        ];
        for (place, value) in fields {
            for (to, from) in header.iter_mut().skip(place).zip(value) {
                *to = *from;
            }
        }
        w.raw(&header);
        inside(w);
        let length = u32::try_from(w.len() - start).unwrap_or(u32::MAX);
        w.patch(start, &length.to_ne_bytes());
    }
}

struct Builder<'a> {
    table: &'a str,
    writer: Writer,
    messages: Vec<Place>,
    /// The change that is being written.
    change: usize,
    /// How many anonymous sets there are so far.
    anonymous: u32,
}

impl Builder<'_> {
    fn control(&mut self, kind: u16, inside: impl FnOnce(&mut Writer)) {
        let header = Header {
            kind,
            flags: REQUEST,
            sequence: self.next_sequence(),
            family: 0,
            resource: SUBSYSTEM,
        };
        header.write(&mut self.writer, inside);
    }

    fn next_sequence(&self) -> u32 {
        // The beginning has the first number, and no message of its own here.
        let begun = u32::from(self.writer.len() > 0);
        FIRST + begun + u32::try_from(self.messages.len()).unwrap_or(u32::MAX / 2)
    }

    fn message(
        &mut self,
        kind: u8,
        flags: u16,
        family: TableFamily,
        first_element: usize,
        inside: impl FnOnce(&mut Writer),
    ) {
        let header = Header {
            kind: of_rules(kind),
            flags: REQUEST | flags,
            sequence: self.next_sequence(),
            family: family.number(),
            resource: 0,
        };
        self.messages.push(Place {
            start: self.writer.len(),
            change: self.change,
            first_element,
        });
        header.write(&mut self.writer, inside);
    }

    fn change(&mut self, change: &Change) {
        let family = change.family;
        let name = self.table;
        let create = CREATE | EXCLUSIVE;
        match &change.step {
            Step::AddTable { id } => {
                self.message(message::NEW_TABLE, create, family, 0, |w| {
                    w.string(table::NAME, name);
                    w.u32(table::FLAGS, 0);
                    w.bytes(table::USERDATA, &text_userdata(table::COMMENT, id));
                });
            }
            Step::WakeTable => self.message(message::NEW_TABLE, 0, family, 0, |w| {
                w.string(table::NAME, name);
                w.u32(table::FLAGS, 0);
            }),
            Step::DeleteTable => self.message(message::DELETE_TABLE, 0, family, 0, |w| {
                w.string(table::NAME, name);
            }),
            Step::AddSet { set: of, shape, .. } => {
                self.message(message::NEW_SET, create, family, 0, |w| {
                    w.string(set::TABLE, name);
                    w.string(set::NAME, of);
                    write_shape(w, shape);
                });
            }
            Step::DeleteSet { set: of } => self.message(message::DELETE_SET, 0, family, 0, |w| {
                w.string(set::TABLE, name);
                w.string(set::NAME, of);
            }),
            Step::AddElements {
                set,
                elements,
                counters,
                ..
            } => self.elements(NEW_ELEMENTS, family, set, elements, counters),
            Step::DeleteElements { set, elements } => {
                self.elements(DELETE_ELEMENTS, family, set, elements, &[]);
            }
            Step::CarryElements { set, elements } => {
                self.list(NEW_ELEMENTS, family, set, elements, |w, _, one| {
                    write_carried(w, one);
                });
            }
            // None is refused for not being there: each is, as soon as it has been added.
            Step::ClearElements { set, elements } => {
                self.elements(NEW_ELEMENTS, family, set, elements, &[]);
                self.elements(DELETE_ELEMENTS, family, set, elements, &[]);
            }
            Step::AddChain {
                chain: of, hook, ..
            } => self.message(message::NEW_CHAIN, create, family, 0, |w| {
                w.string(chain::TABLE, name);
                w.string(chain::NAME, of);
                if let Some(hook) = hook {
                    write_hook(w, hook);
                }
            }),
            Step::FlushChain { chain } => self.message(message::DELETE_RULE, 0, family, 0, |w| {
                w.string(rule::TABLE, name);
                w.string(rule::CHAIN, chain);
            }),
            Step::DeleteChain { chain: of } => {
                self.message(message::DELETE_CHAIN, 0, family, 0, |w| {
                    w.string(chain::TABLE, name);
                    w.string(chain::NAME, of);
                });
            }
            Step::AddRule {
                chain,
                before,
                body,
                ..
            } => self.rule(family, chain, *before, body),
            Step::DeleteRule { chain, handle } => {
                self.message(message::DELETE_RULE, 0, family, 0, |w| {
                    w.string(rule::TABLE, name);
                    w.string(rule::CHAIN, chain);
                    w.u64(rule::HANDLE, *handle);
                });
            }
        }
    }

    fn elements(
        &mut self,
        way: (u8, u16),
        family: TableFamily,
        set: &str,
        elements: &[Element],
        counters: &[Counter],
    ) {
        let delete = way == DELETE_ELEMENTS;
        self.list(way, family, set, elements, |w, at, one| {
            write_element(w, one, counters.get(at), delete);
        });
    }

    /// A list of elements, each as `write` writes it; it is told the place of each.
    fn list<E>(
        &mut self,
        (kind, flags): (u8, u16),
        family: TableFamily,
        set: &str,
        elements: &[E],
        write: impl Fn(&mut Writer, usize, &E),
    ) {
        let name = self.table;
        let mut first = 0;
        while let Some(rest) = elements.get(first..)
            && !rest.is_empty()
        {
            let mut written = 0;
            self.message(kind, flags, family, first, |w| {
                w.string(element::TABLE, name);
                w.string(element::SET, set);
                w.nested(element::LIST, |w| {
                    let start = w.len();
                    for one in rest {
                        if w.len() - start > FULL {
                            break;
                        }
                        write(w, first + written, one);
                        written += 1;
                    }
                });
            });
            first += written;
        }
    }

    fn rule(&mut self, family: TableFamily, chain: &str, before: Option<u64>, body: &RuleBody) {
        let name = self.table;
        if let Some(protocols) = &body.protocols {
            self.anonymous += 1;
            self.anonymous_set(family, protocols);
        }
        let id = self.anonymous;
        // Without a place to go before, at the end.
        let flags = if before.is_some() {
            CREATE
        } else {
            CREATE | APPEND
        };
        self.message(message::NEW_RULE, flags, family, 0, |w| {
            w.string(rule::TABLE, name);
            w.string(rule::CHAIN, chain);
            w.nested(rule::EXPRESSIONS, |w| {
                if body.protocols.is_some() {
                    write_with_set_id(w, &body.expressions, id);
                } else {
                    w.raw(&body.expressions);
                }
            });
            if let Some(before) = before {
                w.u64(rule::POSITION, before);
            }
        });
    }

    /// The set that a rule brings with it, and that goes with it.
    fn anonymous_set(&mut self, family: TableFamily, protocols: &[u8]) {
        let name = self.table;
        let id = self.anonymous;
        self.message(message::NEW_SET, CREATE, family, 0, |w| {
            w.string(set::TABLE, name);
            w.string(set::NAME, ANONYMOUS);
            w.u32(set::FLAGS, set::ANONYMOUS | set::CONSTANT);
            w.u32(set::KEY_TYPE, kind::PROTOCOL);
            w.u32(set::KEY_LENGTH, 1);
            w.u32(set::ID, id);
            w.nested(set::DESCRIPTION, |w| {
                w.u32(
                    set::SIZE,
                    u32::try_from(protocols.len()).unwrap_or(u32::MAX),
                );
            });
            w.bytes(
                set::USERDATA,
                &number_userdata(userdata::KEY_ORDER, userdata::HOST),
            );
        });
        self.message(message::NEW_ELEMENTS, CREATE, family, 0, |w| {
            w.string(element::TABLE, name);
            w.string(element::SET, ANONYMOUS);
            w.u32(element::SET_ID, id);
            w.nested(element::LIST, |w| {
                for protocol in protocols {
                    w.nested(element::ELEMENT, |w| {
                        w.nested(element::KEY, |w| w.u8(data::VALUE, *protocol));
                    });
                }
            });
        });
    }
}

/// A list of expressions whose look-up in an anonymous set says which.
fn write_with_set_id(w: &mut Writer, expressions: &[u8], id: u32) {
    for expression in Attributes::new(expressions) {
        let inside = expression.inside().find(expr::DATA);
        let anonymous = inside.is_some_and(|data| {
            let set = data.inside().find(lookup::SET);
            set.and_then(|set| set.string().map(|name| name.starts_with(ANONYMOUS_STEM)))
                .unwrap_or(false)
        });
        w.nested(expr::ELEMENT, |w| {
            if anonymous && let Some(data) = inside {
                w.string(expr::NAME, "lookup");
                w.nested(expr::DATA, |w| {
                    // A rule that was read back names the set of the rule that it was.
                    w.string(lookup::SET, ANONYMOUS);
                    let others = data.inside().into_iter();
                    for other in others.filter(|other| other.kind != lookup::SET) {
                        w.bytes(other.kind, other.value);
                    }
                    w.u32(lookup::SET_ID, id);
                });
            } else {
                w.raw(expression.value);
            }
        });
    }
}

fn write_hook(w: &mut Writer, wanted: &Hook) {
    w.string(chain::TYPE, &wanted.kind);
    w.u32(chain::POLICY, wanted.policy);
    w.nested(chain::HOOK, |w| {
        w.u32(hook::NUMBER, wanted.number);
        w.bytes(hook::PRIORITY, &wanted.priority.to_be_bytes());
        match wanted.devices.as_slice() {
            [] => {}
            [one] => w.string(hook::DEVICE, one),
            many => w.nested(hook::DEVICES, |w| {
                for device in many {
                    w.string(hook::DEVICE_NAME, device);
                }
            }),
        }
    });
}

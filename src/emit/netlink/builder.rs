//! Changes, as the messages that make them.

use super::attribute::{Attributes, Writer};
use super::change::{Change, Step};
use super::constant::{chain, data, element, expr, hook, lookup, message, rule, set, table};
use super::expression::{ANONYMOUS, ANONYMOUS_STEM};
use super::header::{APPEND, CREATE, EXCLUSIVE, Header, REQUEST, SUBSYSTEM, of_rules};
use super::shape::{
    number_userdata, text_userdata, userdata, write_carried, write_element, write_shape,
};
use super::{Counter, Element, Hook, RuleBody, TableFamily, kind};

/// What becomes of elements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ElementStep {
    Come,
    Go,
}

impl ElementStep {
    /// The message that says so, and its flags.
    const fn message(self) -> (u8, u16) {
        match self {
            Self::Come => (message::NEW_ELEMENTS, CREATE),
            Self::Go => (message::DELETE_ELEMENTS, 0),
        }
    }
}

/// A list of elements ends when it is this long: its length has 16 bits.
const FULL: usize = 60_000;

/// The sequence number of a batch's first message; the others follow.
pub(super) const FIRST: u32 = 1;

/// Which change a message makes, or which part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessagePart {
    /// The first byte of the message in the batch.
    pub(super) start: usize,
    /// The change that the message makes, by its place.
    pub(super) change: usize,
    /// The first element in the message, by its place in the change.
    pub(super) first_element: usize,
}

/// Writes changes, message by message.
pub(super) struct Builder<'a> {
    pub(super) table: &'a str,
    pub(super) writer: Writer,
    pub(super) messages: Vec<MessagePart>,
    /// The change that is being written.
    pub(super) change: usize,
    /// How many anonymous sets there are so far.
    pub(super) anonymous: u32,
}

impl Builder<'_> {
    /// The beginning of a batch, or its end.
    pub(super) fn control(&mut self, kind: u16, inside: impl FnOnce(&mut Writer)) {
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
        self.messages.push(MessagePart {
            start: self.writer.len(),
            change: self.change,
            first_element,
        });
        header.write(&mut self.writer, inside);
    }

    /// The messages that make one change.
    pub(super) fn change(&mut self, change: &Change) {
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
            } => self.elements(ElementStep::Come, family, set, elements, counters),
            Step::DeleteElements { set, elements } => {
                self.elements(ElementStep::Go, family, set, elements, &[]);
            }
            Step::CarryElements { set, elements } => {
                self.list(ElementStep::Come, family, set, elements, |w, _, one| {
                    write_carried(w, one);
                });
            }
            // None is refused for not being there: each is, as soon as it has been added.
            Step::ClearElements { set, elements } => {
                self.elements(ElementStep::Come, family, set, elements, &[]);
                self.elements(ElementStep::Go, family, set, elements, &[]);
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
        fate: ElementStep,
        family: TableFamily,
        set: &str,
        elements: &[Element],
        counters: &[Counter],
    ) {
        let delete = fate == ElementStep::Go;
        self.list(fate, family, set, elements, |w, at, one| {
            write_element(w, one, counters.get(at), delete);
        });
    }

    /// A list of elements, each as `write` writes it; it is told the place of each.
    fn list<E>(
        &mut self,
        fate: ElementStep,
        family: TableFamily,
        set: &str,
        elements: &[E],
        write: impl Fn(&mut Writer, usize, &E),
    ) {
        let name = self.table;
        let (kind, flags) = fate.message();
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

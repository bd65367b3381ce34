//! Sets and their elements as attributes, with what nft writes down to print them again.

use super::attribute::Writer;
use super::change::Carried;
use super::constant::{counter, data, element, expr, set};
use super::expression::write_verdict;
use super::{Counter, Data, Element, Shape, kind};

/// What nft remembers about a set beside what the kernel needs: how to print it.
pub(super) mod userdata {
    pub(in super::super) const KEY_ORDER: u8 = 0;
    pub(in super::super) const DATA_ORDER: u8 = 1;
    pub(in super::super) const KEY_TYPE: u8 = 3;
    pub(in super::super) const DATA_IS_RANGE: u8 = 6;
    /// A byte order: the host's.
    pub(in super::super) const HOST: u32 = 1;
    /// A byte order: the network's.
    pub(in super::super) const NETWORK: u32 = 2;
    /// A byte order: it has none.
    pub(in super::super) const NONE: u32 = 0;
    pub(in super::super) const DATA_TYPEOF: u8 = 4;
    /// nft's number for an expression that is a concatenation.
    pub(in super::super) const CONCATENATION: u32 = 13;
    /// nft's number for `meta`, and for its key `mark`.
    pub(in super::super) const META: (u32, u32) = (9, 3);
    /// nft's number for `numgen`.
    pub(in super::super) const NUMGEN: u32 = 23;
}

/// One piece of userdata: type, length, value.
fn piece(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    let value = value.iter().take(usize::from(length));
    [kind, length].iter().chain(value).copied().collect()
}

pub(super) fn number_userdata(kind: u8, value: u32) -> Vec<u8> {
    piece(kind, &value.to_ne_bytes())
}

pub(super) fn text_userdata(kind: u8, text: &str) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    piece(kind, &value)
}

fn byte_order(of: u32) -> u32 {
    match of {
        kind::MARK | kind::INTERFACE => userdata::HOST,
        kind::IPV4 | kind::IPV6 | kind::MAC | kind::SERVICE => userdata::NETWORK,
        _ => userdata::NONE,
    }
}

pub(super) fn write_shape(w: &mut Writer, shape: &Shape) {
    w.u32(set::FLAGS, shape.flags);
    w.u32(set::KEY_TYPE, shape.key_type);
    w.u32(set::KEY_LENGTH, shape.key_length);
    if let Some(data_type) = shape.data_type {
        w.u32(set::DATA_TYPE, data_type);
        w.u32(set::DATA_LENGTH, shape.data_length);
    }
    // Names say which set is meant; a number is wanted all the same.
    w.u32(set::ID, 0);
    w.nested(set::DESCRIPTION, |w| {
        w.u32(set::SIZE, shape.size);
        if !shape.fields.is_empty() {
            w.nested(set::FIELDS, |w| {
                for field in &shape.fields {
                    w.nested(element::ELEMENT, |w| {
                        w.u32(set::FIELD_LENGTH, u32::from(*field));
                    });
                }
            });
        }
    });
    w.bytes(set::USERDATA, &shape_userdata(shape));
    for name in &shape.statements {
        w.nested(set::EXPRESSION, |w| {
            w.string(expr::NAME, name);
            w.nested(expr::DATA, |_| {});
        });
    }
}

fn shape_userdata(shape: &Shape) -> Vec<u8> {
    let mut all = number_userdata(userdata::KEY_ORDER, byte_order(shape.key_type));
    let Some(data_type) = shape.data_type else {
        return all;
    };
    all.extend(number_userdata(userdata::DATA_ORDER, byte_order(data_type)));
    let fields = kind::fields(shape.key_type);
    if shape.is_dynamic() && fields.contains(&kind::INTEGER) {
        let fields = (0..).zip(&fields);
        let fields = fields.flat_map(|(at, field)| piece(at, &typeof_userdata(*field)));
        let mut typeof_key = number_userdata(0, userdata::CONCATENATION);
        typeof_key.extend(piece(1, &fields.collect::<Vec<u8>>()));
        all.extend(piece(userdata::KEY_TYPE, &typeof_key));
        all.extend(piece(userdata::DATA_TYPEOF, &typeof_userdata(data_type)));
    } else if shape.key_type > kind::LARGEST_SINGLE {
        let mut typeof_key = number_userdata(0, userdata::CONCATENATION);
        typeof_key.extend(piece(1, &[]));
        all.extend(piece(userdata::KEY_TYPE, &typeof_key));
    }
    all.extend(number_userdata(userdata::DATA_IS_RANGE, 0));
    all
}

/// An expression of this type, as nft writes down what stood behind `typeof`.
fn typeof_userdata(of: u32) -> Vec<u8> {
    let (number, inside) = if of == kind::INTEGER {
        // numgen inc mod 2
        let pieces = [(0, 0), (1, 2), (2, 0)].map(|(kind, value)| number_userdata(kind, value));
        (userdata::NUMGEN, pieces.concat())
    } else {
        // meta mark
        let (meta, key) = userdata::META;
        (meta, number_userdata(0, key))
    };
    let mut all = number_userdata(0, number);
    all.extend(piece(1, &inside));
    all
}

/// An element that is added with what it had under another number.
pub(super) fn write_carried(w: &mut Writer, one: &Carried) {
    w.nested(element::ELEMENT, |w| {
        write_inside(w, &one.element, false);
        let [timeout, left] = one.lifetime;
        w.u64(element::TIMEOUT, timeout);
        w.u64(element::EXPIRATION, left);
    });
}

/// An element, with what it has `counted` already.
pub(super) fn write_element(
    w: &mut Writer,
    one: &Element,
    counted: Option<&Counter>,
    delete: bool,
) {
    w.nested(element::ELEMENT, |w| {
        write_inside(w, one, delete);
        if let Some(counted) = counted.filter(|counted| **counted != Counter::default()) {
            w.nested(element::EXPRESSION, |w| {
                w.string(expr::NAME, "counter");
                w.nested(expr::DATA, |w| {
                    w.u64(counter::BYTES, counted.bytes);
                    w.u64(counter::PACKETS, counted.packets);
                });
            });
        }
    });
}

fn write_inside(w: &mut Writer, one: &Element, delete: bool) {
    let key = one.key.as_slice();
    if key.is_empty() {
        w.u32(element::FLAGS, element::CATCH_ALL);
    } else {
        w.nested(element::KEY, |w| w.bytes(data::VALUE, key));
    }
    if let Some(end) = &one.key_end {
        w.nested(element::KEY_END, |w| w.bytes(data::VALUE, end.as_slice()));
    }
    if delete {
        return;
    }
    match &one.data {
        Data::None => {}
        Data::Value(value) => {
            w.nested(element::DATA, |w| w.bytes(data::VALUE, value.as_slice()));
        }
        Data::Verdict(code, chain) => w.nested(element::DATA, |w| {
            write_verdict(w, *code, chain.as_deref());
        }),
    }
    if let Some(comment) = &one.comment {
        w.bytes(element::USERDATA, &text_userdata(element::COMMENT, comment));
    }
}

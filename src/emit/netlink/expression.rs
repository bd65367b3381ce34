//! Expressions over registers, of which the kernel's rules are made.

use std::net::IpAddr;

use crate::model::{Family, Protocol};
use crate::ruleset::{Expression, Mask};

use super::attribute::Writer;
use super::constant::{
    bitwise, cmp, ct, data, expr, exthdr, hash, immediate, lookup, meta, numgen, payload, verdict,
};
use super::{KEY_UNIT, TableFamily};

/// The name under which a rule looks up its own anonymous set, until the kernel numbers it.
pub(crate) const ANONYMOUS: &str = "__set%d";

/// How names of anonymous sets begin, before and after.
pub(crate) const ANONYMOUS_STEM: &str = "__set";

/// A rule, encoded.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The list of expressions.
    pub(super) expressions: Vec<u8>,
    /// The protocols in the rule's anonymous set, if it has one.
    pub(super) protocols: Option<Vec<u8>>,
}

/// A register, counted in steps of 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Register(u32);

/// Where the verdict goes.
pub(super) const VERDICT: u32 = 0;

impl Register {
    /// How many steps a whole register of 16 bytes has.
    const WHOLE: u32 = 4;

    /// The kernel's number: of 16 bytes where it can be, else of 4.
    pub(super) const fn number(self) -> u32 {
        if self.0.is_multiple_of(Self::WHOLE) {
            1 + self.0 / Self::WHOLE
        } else {
            8 + self.0
        }
    }

    const fn after(self, length: u32) -> Self {
        Self(self.0 + length.div_ceil(KEY_UNIT))
    }
}

/// Writes the expressions of one rule.
pub(super) struct Encoder {
    family: TableFamily,
    writer: Writer,
    free: u32,
    /// The network protocol that the rule has made sure of.
    network: Option<Family>,
    /// Whether the rule has made sure of Ethernet.
    ethernet: bool,
    protocols: Option<Vec<u8>>,
}

/// How many bytes an expression has.
fn length(expression: &Expression) -> u32 {
    match expression {
        Expression::Mark(_)
        | Expression::CtMark
        | Expression::MetaMark
        | Expression::Iif
        | Expression::Map(..)
        | Expression::Increment { .. }
        | Expression::Random { .. }
        | Expression::Jhash { .. } => 4,
        Expression::L4Proto | Expression::CtDirection => 1,
        Expression::Source(family)
        | Expression::Destination(family)
        | Expression::OriginalDestination(family) => u32::from(family.bits()) / 8,
        Expression::SourcePort
        | Expression::SourcePortOf(_)
        | Expression::DestinationPort
        | Expression::DestinationPortOf(_) => 2,
        Expression::Transport(_, bits) => u32::from(bits / 8),
        Expression::Masked(value, _) => length(value),
        Expression::EtherDestination | Expression::Mac(_) => 6,
        Expression::Concat(fields) => fields
            .iter()
            .map(|field| length(field).next_multiple_of(KEY_UNIT))
            .sum(),
    }
}

impl Encoder {
    pub(super) fn new(family: TableFamily) -> Self {
        Self {
            family,
            writer: Writer::default(),
            free: 0,
            network: None,
            ethernet: false,
            protocols: None,
        }
    }

    pub(super) fn finish(self) -> Encoded {
        Encoded {
            expressions: self.writer.into_bytes(),
            protocols: self.protocols,
        }
    }
}

impl Encoder {
    /// Frees all registers: they live as long as a statement.
    pub(super) const fn release(&mut self) {
        self.free = 0;
    }

    /// Frees the registers behind this one.
    pub(super) const fn release_behind(&mut self, register: Register) {
        self.free = register.0 + Register::WHOLE;
    }

    /// Looks a register up among the protocols that have ports.
    pub(super) fn look_up_protocol(&mut self, register: Register) {
        self.look_up(ANONYMOUS, register, None);
        self.protocols = Some(super::PORT_PROTOCOLS.to_vec());
    }

    /// One expression: its name, and what `inside` writes.
    pub(super) fn expr(&mut self, name: &str, inside: impl FnOnce(&mut Writer)) {
        self.writer.nested(expr::ELEMENT, |element| {
            element.string(expr::NAME, name);
            element.nested(expr::DATA, inside);
        });
    }

    /// Registers for one expression: those of a concatenation as it needs, others a whole one.
    pub(super) fn take(&mut self, expression: Option<&Expression>) -> Register {
        let register = Register(self.free);
        self.free = match expression {
            Some(concat @ Expression::Concat(_)) => register.after(length(concat)).0,
            _ => self.free + Register::WHOLE,
        };
        register
    }

    /// `& MASK`, in place.
    pub(super) fn mask(&mut self, register: Register, mask: &[u8]) {
        self.replace(register, mask, &vec![0; mask.len()]);
    }

    /// `& MASK ^ BITS`, in place.
    pub(super) fn replace(&mut self, register: Register, mask: &[u8], bits: &[u8]) {
        let number = register.number();
        self.expr("bitwise", |w| {
            w.u32(bitwise::FROM, number);
            w.u32(bitwise::TO, number);
            w.u32(
                bitwise::LENGTH,
                u32::try_from(mask.len()).unwrap_or(u32::MAX),
            );
            let value = |w: &mut Writer, kind, value: &[u8]| {
                w.nested(kind, |w| w.bytes(data::VALUE, value));
            };
            value(w, bitwise::MASK, mask);
            value(w, bitwise::XOR, bits);
        });
    }

    /// An expression, in a register of its own.
    pub(super) fn value(&mut self, expression: &Expression) -> Register {
        self.depend(expression);
        let register = self.take(Some(expression));
        self.load(expression, register);
        register
    }

    pub(super) fn look_up(&mut self, map: &str, from: Register, to: Option<u32>) {
        self.expr("lookup", |w| {
            w.string(lookup::SET, map);
            w.u32(lookup::FROM, from.number());
            if let Some(to) = to {
                w.u32(lookup::TO, to);
            }
        });
    }

    pub(super) fn meta(&mut self, key: u32, to: Register) {
        self.expr("meta", |w| {
            w.u32(meta::KEY, key);
            w.u32(meta::TO, to.number());
        });
    }

    pub(super) fn ct(&mut self, key: u32, to: Register, direction: Option<u8>) {
        self.expr("ct", |w| {
            w.u32(ct::KEY, key);
            w.u32(ct::TO, to.number());
            if let Some(direction) = direction {
                w.u8(ct::DIRECTION, direction);
            }
        });
    }

    pub(super) fn payload(&mut self, base: u32, offset: u32, length: u32, to: Register) {
        self.expr("payload", |w| {
            w.u32(payload::TO, to.number());
            w.u32(payload::BASE, base);
            w.u32(payload::OFFSET, offset);
            w.u32(payload::LENGTH, length);
        });
    }

    pub(super) fn later_fragment(&mut self, family: Family) {
        self.need_network(family);
        let register = self.take(None);
        // The offset in units of 8 bytes: the last 13 bits in IPv4, the first 13 in IPv6.
        let offset: u16 = match family {
            Family::V4 => {
                self.payload(payload::NETWORK, 6, 2, register);
                0x1fff
            }
            Family::V6 => {
                self.fragment_header(2, 2, register);
                0xfff8
            }
        };
        self.mask(register, &offset.to_be_bytes());
        self.compare(cmp::DIFFERENT, register, &[0; 2]);
    }

    fn fragment_header(&mut self, offset: u32, length: u32, to: Register) {
        self.expr("exthdr", |w| {
            w.u32(exthdr::TO, to.number());
            w.u8(exthdr::TYPE, exthdr::FRAGMENT);
            w.u32(exthdr::OFFSET, offset);
            w.u32(exthdr::LENGTH, length);
            w.u32(exthdr::FLAGS, 0);
            w.u32(exthdr::OPERATION, exthdr::IPV6);
        });
    }

    pub(super) fn compare(&mut self, operator: u32, register: Register, value: &[u8]) {
        self.expr("cmp", |w| {
            w.u32(cmp::FROM, register.number());
            w.u32(cmp::OPERATOR, operator);
            w.nested(cmp::DATA, |w| w.bytes(data::VALUE, value));
        });
    }

    pub(super) fn load(&mut self, expression: &Expression, to: Register) {
        match expression {
            Expression::Mark(mark) => self.expr("immediate", |w| {
                w.u32(immediate::TO, to.number());
                w.nested(immediate::DATA, |w| {
                    w.bytes(data::VALUE, &mark.to_ne_bytes());
                });
            }),
            Expression::CtMark => self.ct(ct::MARK, to, None),
            Expression::CtDirection => self.ct(ct::DIRECTION_KEY, to, None),
            Expression::MetaMark => self.meta(meta::MARK, to),
            Expression::L4Proto => self.meta(meta::L4PROTO, to),
            Expression::Iif => self.meta(meta::IIF, to),
            Expression::Source(Family::V4) => self.payload(payload::NETWORK, 12, 4, to),
            Expression::Source(Family::V6) => self.payload(payload::NETWORK, 8, 16, to),
            Expression::Destination(Family::V4) => self.payload(payload::NETWORK, 16, 4, to),
            Expression::Destination(Family::V6) => self.payload(payload::NETWORK, 24, 16, to),
            Expression::OriginalDestination(family) => {
                let key = match family {
                    Family::V4 => ct::DESTINATION_V4,
                    Family::V6 => ct::DESTINATION_V6,
                };
                self.ct(key, to, Some(ct::ORIGINAL));
            }
            Expression::SourcePort | Expression::SourcePortOf(_) => {
                self.payload(payload::TRANSPORT, 0, 2, to);
            }
            Expression::DestinationPort | Expression::DestinationPortOf(_) => {
                self.payload(payload::TRANSPORT, 2, 2, to);
            }
            Expression::EtherDestination => self.payload(payload::LINK, 0, 6, to),
            Expression::Mac(mac) => self.expr("immediate", |w| {
                w.u32(immediate::TO, to.number());
                w.nested(immediate::DATA, |w| w.bytes(data::VALUE, &mac.0));
            }),
            Expression::Transport(offset, length) => {
                let (offset, length) = (u32::from(offset / 8), u32::from(length / 8));
                self.payload(payload::TRANSPORT, offset, length, to);
            }
            Expression::Masked(value, mask) => {
                self.load(value, to);
                match mask {
                    Mask::Address(IpAddr::V4(mask)) => self.mask(to, &mask.octets()),
                    Mask::Address(IpAddr::V6(mask)) => self.mask(to, &mask.octets()),
                    Mask::Mark(mask) => self.mask(to, &mask.to_ne_bytes()),
                    Mask::Packet(mask) => self.mask(to, &mask.to_be_bytes()),
                }
            }
            Expression::Concat(fields) => {
                let mut place = to;
                for field in fields {
                    self.load(field, place);
                    place = place.after(length(field));
                }
            }
            Expression::Map(key, map) => {
                // The key goes where the value comes; nft keeps registers for it nevertheless, so that what hashes in
                // it uses the next ones.
                let before = self.free;
                let _kept = self.take(Some(key));
                self.load(key, to);
                self.free = before;
                self.look_up(map, to, Some(to.number()));
            }
            Expression::Increment { modulus, offset } => {
                self.numgen(numgen::INCREMENT, *modulus, *offset, to);
            }
            Expression::Random { modulus, offset } => {
                self.numgen(numgen::RANDOM, *modulus, *offset, to);
            }
            Expression::Jhash {
                key,
                modulus,
                seed,
                offset,
            } => {
                let before = self.free;
                let from = self.take(Some(key));
                self.load(key, from);
                // What the hash reads is free again for another in the same key.
                self.free = before;
                let hashed = length(key);
                self.expr("hash", |w| {
                    w.u32(hash::FROM, from.number());
                    w.u32(hash::TO, to.number());
                    w.u32(hash::LENGTH, hashed);
                    w.u32(hash::MODULUS, *modulus);
                    w.u32(hash::SEED, *seed);
                    // The kernel does not give back an offset of 0.
                    if *offset > 0 {
                        w.u32(hash::OFFSET, *offset);
                    }
                    w.u32(hash::TYPE, hash::JENKINS);
                });
            }
        }
    }

    fn numgen(&mut self, kind: u32, modulus: u32, offset: u32, to: Register) {
        self.expr("numgen", |w| {
            w.u32(numgen::TO, to.number());
            w.u32(numgen::MODULUS, modulus);
            w.u32(numgen::TYPE, kind);
            w.u32(numgen::OFFSET, offset);
        });
    }

    /// What the rule has to make sure of before it looks at this field.
    pub(super) fn depend(&mut self, expression: &Expression) {
        match expression {
            Expression::Source(family) | Expression::Destination(family) => {
                self.need_network(*family);
            }
            Expression::EtherDestination => self.need_ethernet(),
            Expression::SourcePortOf(protocol) | Expression::DestinationPortOf(protocol) => {
                self.need_protocol(*protocol);
            }
            Expression::Concat(fields) => fields.iter().for_each(|field| self.depend(field)),
            Expression::Map(key, _)
            | Expression::Masked(key, _)
            | Expression::Jhash { key, .. } => self.depend(key),
            Expression::Mark(_)
            | Expression::Mac(_)
            | Expression::CtMark
            | Expression::CtDirection
            | Expression::MetaMark
            | Expression::L4Proto
            | Expression::Iif
            | Expression::OriginalDestination(_)
            | Expression::SourcePort
            | Expression::DestinationPort
            | Expression::Transport(..)
            | Expression::Increment { .. }
            | Expression::Random { .. } => {}
        }
    }

    pub(super) fn need_network(&mut self, family: Family) {
        if self.network == Some(family) {
            return;
        }
        self.network = Some(family);
        // The comparison is done before the registers are used again.
        let register = Register(0);
        match self.family {
            TableFamily::Inet => {
                self.meta(meta::NFPROTO, register);
                self.compare(cmp::EQUAL, register, &[nfproto(family)]);
            }
            TableFamily::Netdev => {
                self.meta(meta::PROTOCOL, register);
                let ether_type: u16 = match family {
                    Family::V4 => 0x0800,
                    Family::V6 => 0x86dd,
                };
                self.compare(cmp::EQUAL, register, &ether_type.to_be_bytes());
            }
        }
    }

    /// `meta l4proto tcp`
    pub(super) fn need_protocol(&mut self, protocol: Protocol) {
        let register = Register(0);
        self.meta(meta::L4PROTO, register);
        self.compare(cmp::EQUAL, register, &[protocol.number()]);
    }

    pub(super) fn need_ethernet(&mut self) {
        if self.ethernet {
            return;
        }
        self.ethernet = true;
        let register = Register(0);
        self.meta(meta::INTERFACE_TYPE, register);
        self.compare(
            cmp::EQUAL,
            register,
            &meta::INTERFACE_ETHERNET.to_ne_bytes(),
        );
    }
}

/// A verdict as data.
pub(super) fn write_verdict(w: &mut Writer, code: i32, chain: Option<&str>) {
    w.nested(data::VERDICT, |w| {
        w.bytes(verdict::CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            w.string(verdict::CHAIN, chain);
        }
    });
}

/// The kernel's number of a network protocol.
pub(super) const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

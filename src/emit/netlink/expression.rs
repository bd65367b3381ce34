//! Rules in the kernel's own words: expressions over registers.
//!
//! Register by register what nft 1.0.6 makes of the same rule, so that a rule loaded as text and one sent as
//! netlink are the same rule.

use std::net::IpAddr;

use crate::model::{Family, Protocol};
use crate::ruleset::{Condition, Expression, Mask, Rule, Statement, Target};

use super::attribute::Writer;
use super::constant::{
    bitwise, byteorder, cmp, ct, data, dynset, expr, exthdr, fib, fwd, hash, immediate, lookup,
    meta, nat, numgen, payload, reject, verdict,
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

/// Whether a map of this name holds ranges.
pub(super) type IsInterval<'a> = &'a dyn Fn(&str) -> bool;

/// Encodes one rule of a table of this family.
pub(super) fn rule(rule: &Rule, family: TableFamily, is_interval: IsInterval<'_>) -> Encoded {
    let mut encoder = Encoder {
        family,
        is_interval,
        writer: Writer::default(),
        free: 0,
        network: None,
        ethernet: false,
        protocols: None,
    };
    for statement in &rule.statements {
        // Registers live as long as a statement.
        encoder.free = 0;
        encoder.statement(statement);
    }
    Encoded {
        expressions: encoder.writer.into_bytes(),
        protocols: encoder.protocols,
    }
}

/// A register, counted in steps of 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Register(u32);

/// Where the verdict goes.
const VERDICT: u32 = 0;

impl Register {
    /// How many steps a whole register of 16 bytes has.
    const WHOLE: u32 = 4;

    /// The kernel's number: of 16 bytes where it can be, else of 4.
    const fn number(self) -> u32 {
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

struct Encoder<'a> {
    family: TableFamily,
    is_interval: IsInterval<'a>,
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
        Expression::SourcePort | Expression::DestinationPort => 2,
        Expression::Transport(_, bits) => u32::from(bits / 8),
        Expression::Masked(value, _) => length(value),
        Expression::EtherDestination => 6,
        Expression::Concat(fields) => fields
            .iter()
            .map(|field| length(field).next_multiple_of(KEY_UNIT))
            .sum(),
    }
}

impl Encoder<'_> {
    /// One expression: its name, and what `inside` writes.
    fn expr(&mut self, name: &str, inside: impl FnOnce(&mut Writer)) {
        self.writer.nested(expr::ELEMENT, |element| {
            element.string(expr::NAME, name);
            element.nested(expr::DATA, inside);
        });
    }

    /// Registers for one expression: those of a concatenation as it needs, others a whole one.
    fn take(&mut self, expression: Option<&Expression>) -> Register {
        let register = Register(self.free);
        self.free = match expression {
            Some(concat @ Expression::Concat(_)) => register.after(length(concat)).0,
            _ => self.free + Register::WHOLE,
        };
        register
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match(condition) => self.condition(condition),
            Statement::Vmap { key, map } => {
                self.depend(key);
                let register = self.take(Some(key));
                self.key(key, register, map);
                self.look_up(map, register, Some(VERDICT));
            }
            Statement::Update {
                map,
                key,
                timeout,
                value,
            } => self.dynset(map, dynset::UPDATE, key, Some(value), *timeout),
            Statement::Delete { map, key, value } => {
                self.dynset(map, dynset::DELETE, key, Some(value), 0);
            }
            Statement::Count { set, key } => self.dynset(set, dynset::ADD, key, None, 0),
            Statement::Set { target, value } => self.set(*target, value),
            Statement::Dnat {
                family,
                address,
                port,
            } => self.translate(nat::DESTINATION, *family, address, port.as_ref()),
            Statement::Snat { family, address } => {
                self.translate(nat::SOURCE, *family, address, None);
            }
            Statement::Masquerade => self.expr("masq", |_| {}),
            Statement::Fwd { device } => {
                let device = self.value(device);
                self.expr("fwd", |w| w.u32(fwd::DEVICE, device.number()));
            }
            Statement::FwdNeighbour {
                family,
                address,
                device,
            } => {
                let device = self.value(device);
                let address = self.value(address);
                self.expr("fwd", |w| {
                    w.u32(fwd::DEVICE, device.number());
                    w.u32(fwd::ADDRESS, address.number());
                    w.u32(fwd::FAMILY, nfproto(*family).into());
                });
            }
            Statement::RejectTcpReset => {
                self.expr("reject", |w| w.u32(reject::TYPE, reject::TCP_RESET));
            }
            Statement::RejectPortUnreachable => self.expr("reject", |w| {
                w.u32(reject::TYPE, reject::ICMPX);
                w.u8(reject::CODE, reject::PORT_UNREACHABLE);
            }),
            Statement::Accept => self.verdict(verdict::ACCEPT, None),
            Statement::Drop => self.verdict(verdict::DROP, None),
            Statement::Goto(chain) => self.verdict(verdict::GOTO, Some(chain)),
            Statement::Jump(chain) => self.verdict(verdict::JUMP, Some(chain)),
            Statement::Return => self.verdict(verdict::RETURN, None),
        }
    }

    /// A change of one element of a dynamic set or map. nft takes one whole register for the key, however long it is.
    fn dynset(
        &mut self,
        map: &str,
        operation: u32,
        key: &Expression,
        value: Option<&Expression>,
        timeout: u32,
    ) {
        self.depend(key);
        let from = self.take(None);
        self.load(key, from, false);
        // What hashes in the key used is free again.
        self.free = from.0 + Register::WHOLE;
        let data = value.map(|value| self.value(value));
        self.expr("dynset", |w| {
            w.u32(dynset::KEY, from.number());
            if let Some(data) = data {
                w.u32(dynset::DATA, data.number());
            }
            w.u32(dynset::OPERATION, operation);
            w.string(dynset::SET, map);
            if timeout > 0 {
                w.u64(dynset::TIMEOUT, u64::from(timeout) * 1000);
            }
        });
    }

    /// `ct KEY & BIT != 0`
    fn flag(&mut self, key: u32, bit: u32) {
        let register = self.take(None);
        self.ct(key, register, None);
        self.mask(register, &bit.to_ne_bytes());
        self.compare(cmp::DIFFERENT, register, &[0; 4]);
    }

    /// `& MASK`, in place.
    fn mask(&mut self, register: Register, mask: &[u8]) {
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
            value(w, bitwise::XOR, &vec![0; mask.len()]);
        });
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expr("immediate", |w| {
            w.u32(immediate::TO, VERDICT);
            w.nested(immediate::DATA, |w| write_verdict(w, code, chain));
        });
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::InSet(key, set) => {
                self.depend(key);
                let register = self.take(Some(key));
                self.key(key, register, set);
                self.look_up(set, register, None);
            }
            Condition::MarkIs(left, mark) => {
                let register = self.value(left);
                self.compare(cmp::EQUAL, register, &mark.to_ne_bytes());
            }
            Condition::TransportIs(offset, value) => {
                let register = self.take(None);
                self.load(&Expression::Transport(*offset, 8), register, false);
                self.compare(cmp::EQUAL, register, &[*value]);
            }
            Condition::IcmpType(family, number) => {
                self.need_network(*family);
                let protocol = match family {
                    Family::V4 => meta::ICMP,
                    Family::V6 => meta::ICMPV6,
                };
                let register = self.take(None);
                self.meta(meta::L4PROTO, register);
                self.compare(cmp::EQUAL, register, &[protocol]);
                self.payload(payload::TRANSPORT, 0, 1, register);
                self.compare(cmp::EQUAL, register, &[*number]);
            }
            Condition::LaterFragment(family) => self.later_fragment(*family),
            Condition::TcpSyn => {
                let register = self.take(None);
                self.meta(meta::L4PROTO, register);
                self.compare(cmp::EQUAL, register, &[Protocol::Tcp.number()]);
                self.payload(payload::TRANSPORT, 13, 1, register);
                // fin, syn, rst, ack
                self.mask(register, &[0x17]);
                self.compare(cmp::EQUAL, register, &[0x02]);
            }
            Condition::Protocol(protocol) => {
                let register = self.take(None);
                self.meta(meta::L4PROTO, register);
                self.compare(cmp::EQUAL, register, &[protocol.number()]);
            }
            Condition::HasPorts => {
                let register = self.take(None);
                self.meta(meta::L4PROTO, register);
                self.look_up(ANONYMOUS, register, None);
                self.protocols = Some(super::PORT_PROTOCOLS.to_vec());
            }
            Condition::Dnatted => self.flag(ct::STATUS, ct::DESTINATION_TRANSLATED),
            Condition::NewConnection => self.flag(ct::STATE, ct::NEW),
            Condition::Marked(mark) => {
                let register = self.take(None);
                self.meta(meta::MARK, register);
                self.compare(cmp::EQUAL, register, &mark.to_ne_bytes());
            }
            Condition::FromClient => {
                let register = self.take(None);
                self.ct(ct::DIRECTION_KEY, register, None);
                self.compare(cmp::EQUAL, register, &[ct::ORIGINAL]);
            }
            Condition::CtMarkFrom(mark) => {
                let register = self.take(None);
                self.ct(ct::MARK, register, None);
                // Bytes compare as a number where the highest comes first.
                self.expr("byteorder", |w| {
                    w.u32(byteorder::FROM, register.number());
                    w.u32(byteorder::TO, register.number());
                    w.u32(byteorder::OPERATION, byteorder::TO_NETWORK);
                    w.u32(byteorder::LENGTH, 4);
                    w.u32(byteorder::SIZE, 4);
                });
                self.compare(cmp::AT_LEAST, register, &mark.to_be_bytes());
            }
            Condition::ForThisHost => {
                let register = self.take(None);
                self.meta(meta::PACKET_TYPE, register);
                self.compare(cmp::EQUAL, register, &[meta::PACKET_HOST]);
            }
            Condition::FromThisHost => {
                let register = self.take(None);
                self.expr("fib", |w| {
                    w.u32(fib::TO, register.number());
                    w.u32(fib::RESULT, fib::ADDRESS_TYPE);
                    w.u32(fib::FLAGS, fib::OF_SOURCE);
                });
                self.compare(cmp::EQUAL, register, &fib::LOCAL.to_ne_bytes());
            }
        }
    }

    fn set(&mut self, target: Target, value: &Expression) {
        if matches!(target, Target::EtherSource | Target::EtherDestination) {
            self.need_ethernet();
        }
        let from = self.value(value).number();
        match target {
            Target::CtMark => self.expr("ct", |w| {
                w.u32(ct::KEY, ct::MARK);
                w.u32(ct::FROM, from);
            }),
            Target::MetaMark => self.expr("meta", |w| {
                w.u32(meta::KEY, meta::MARK);
                w.u32(meta::FROM, from);
            }),
            Target::EtherSource | Target::EtherDestination => self.expr("payload", |w| {
                let offset = if target == Target::EtherSource { 6 } else { 0 };
                w.u32(payload::FROM, from);
                w.u32(payload::BASE, payload::LINK);
                w.u32(payload::OFFSET, offset);
                w.u32(payload::LENGTH, 6);
                w.u32(payload::CHECKSUM_TYPE, 0);
                w.u32(payload::CHECKSUM_OFFSET, 0);
            }),
        }
    }

    fn translate(
        &mut self,
        kind: u32,
        family: Family,
        address: &Expression,
        port: Option<&Expression>,
    ) {
        let address = self.value(address).number();
        let port = port.map(|port| self.value(port).number());
        self.expr("nat", |w| {
            w.u32(nat::TYPE, kind);
            w.u32(nat::FAMILY, nfproto(family).into());
            w.u32(nat::ADDRESS_FIRST, address);
            w.u32(nat::ADDRESS_LAST, address);
            let mut flags = nat::MAP_ADDRESS;
            if let Some(port) = port {
                w.u32(nat::PORT_FIRST, port);
                w.u32(nat::PORT_LAST, port);
                flags |= nat::PORT_GIVEN;
            }
            w.u32(nat::FLAGS, flags);
        });
    }

    /// An expression, in a register of its own.
    fn value(&mut self, expression: &Expression) -> Register {
        self.depend(expression);
        let register = self.take(Some(expression));
        self.load(expression, register, false);
        register
    }

    /// The key of a look-up in `map`.
    fn key(&mut self, key: &Expression, register: Register, map: &str) {
        let ranges = (self.is_interval)(map);
        self.load(key, register, ranges);
    }

    fn look_up(&mut self, map: &str, from: Register, to: Option<u32>) {
        self.expr("lookup", |w| {
            w.string(lookup::SET, map);
            w.u32(lookup::FROM, from.number());
            if let Some(to) = to {
                w.u32(lookup::TO, to);
            }
        });
    }

    fn meta(&mut self, key: u32, to: Register) {
        self.expr("meta", |w| {
            w.u32(meta::KEY, key);
            w.u32(meta::TO, to.number());
        });
    }

    fn ct(&mut self, key: u32, to: Register, direction: Option<u8>) {
        self.expr("ct", |w| {
            w.u32(ct::KEY, key);
            w.u32(ct::TO, to.number());
            if let Some(direction) = direction {
                w.u8(ct::DIRECTION, direction);
            }
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, to: Register) {
        self.expr("payload", |w| {
            w.u32(payload::TO, to.number());
            w.u32(payload::BASE, base);
            w.u32(payload::OFFSET, offset);
            w.u32(payload::LENGTH, length);
        });
    }

    fn later_fragment(&mut self, family: Family) {
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

    fn compare(&mut self, operator: u32, register: Register, value: &[u8]) {
        self.expr("cmp", |w| {
            w.u32(cmp::FROM, register.number());
            w.u32(cmp::OPERATOR, operator);
            w.nested(cmp::DATA, |w| w.bytes(data::VALUE, value));
        });
    }

    fn load(&mut self, expression: &Expression, to: Register, ranges: bool) {
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
            Expression::L4Proto => {
                self.meta(meta::L4PROTO, to);
                if ranges {
                    // What nft adds to fields of one byte beside a range; it changes nothing.
                    self.expr("byteorder", |w| {
                        w.u32(byteorder::FROM, to.number());
                        w.u32(byteorder::TO, to.number());
                        w.u32(byteorder::OPERATION, byteorder::TO_NETWORK);
                        w.u32(byteorder::LENGTH, 1);
                        w.u32(byteorder::SIZE, 2);
                    });
                }
            }
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
            Expression::SourcePort => self.payload(payload::TRANSPORT, 0, 2, to),
            Expression::DestinationPort => self.payload(payload::TRANSPORT, 2, 2, to),
            Expression::EtherDestination => self.payload(payload::LINK, 0, 6, to),
            Expression::Transport(offset, length) => {
                let (offset, length) = (u32::from(offset / 8), u32::from(length / 8));
                self.payload(payload::TRANSPORT, offset, length, to);
            }
            Expression::Masked(value, mask) => {
                self.load(value, to, ranges);
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
                    self.load(field, place, ranges);
                    place = place.after(length(field));
                }
            }
            Expression::Map(key, map) => {
                // The key goes where the value comes; nft keeps registers for it nevertheless, so that what hashes in
                // it uses the next ones.
                let before = self.free;
                let _kept = self.take(Some(key));
                self.key(key, to, map);
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
                self.load(key, from, false);
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
    fn depend(&mut self, expression: &Expression) {
        match expression {
            Expression::Source(family) | Expression::Destination(family) => {
                self.need_network(*family);
            }
            Expression::EtherDestination => self.need_ethernet(),
            Expression::Concat(fields) => fields.iter().for_each(|field| self.depend(field)),
            Expression::Map(key, _)
            | Expression::Masked(key, _)
            | Expression::Jhash { key, .. } => self.depend(key),
            Expression::Mark(_)
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

    fn need_network(&mut self, family: Family) {
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

    fn need_ethernet(&mut self) {
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
const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

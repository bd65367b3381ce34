//! Rules in the kernel's own words.
//!
//! Register by register what nft 1.0.6 makes of the same rule, so that a rule loaded as text and one sent as
//! netlink are the same rule.

use crate::model::{Family, Protocol};
use crate::ruleset::{Condition, Expression, Header, Rule, Statement, Target, Word, chance};

use super::TableFamily;
use super::constant::{
    byteorder, cmp, ct, data, dynset, fib, fwd, immediate, meta, nat, payload, reject, tcp, verdict,
};
use super::expression::{Encoded, Encoder, VERDICT, nfproto, write_verdict};

/// Encodes one rule of a table of this family.
pub(super) fn encode(rule: &Rule, family: TableFamily) -> Encoded {
    let mut encoder = Encoder::new(family);
    for statement in &rule.statements {
        encoder.release();
        encoder.statement(statement);
    }
    encoder.finish()
}

impl Encoder {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match(condition) => self.condition(condition),
            Statement::Vmap { key, map } => {
                self.depend(key);
                let register = self.take(Some(key));
                self.load(key, register);
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
            Statement::SetHopLimit { family, hops } => self.set_hop_limit(*family, *hops),
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
        self.load(key, from);
        // What hashes in the key used is free again.
        self.release_behind(from);
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

    /// Which of fin, syn, rst and ack are set.
    fn tcp_flags(&mut self, flags: u8) {
        let register = self.take(None);
        self.meta(meta::L4PROTO, register);
        self.compare(cmp::EQUAL, register, &[Protocol::Tcp.number()]);
        self.payload(payload::TRANSPORT, tcp::FLAGS, 1, register);
        self.mask(register, &[tcp::FIN | tcp::SYN | tcp::RST | tcp::ACK]);
        self.compare(cmp::EQUAL, register, &[flags]);
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
                self.load(key, register);
                self.look_up(set, register, None);
            }
            Condition::MarkIs(left, mark) => {
                let register = self.value(left);
                self.compare(cmp::EQUAL, register, &mark.to_ne_bytes());
            }
            Condition::TransportIs(offset, value) => {
                let register = self.take(None);
                self.load(&Expression::Transport(*offset, 8), register);
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
            Condition::TcpSyn => self.tcp_flags(tcp::SYN),
            Condition::TcpSynAck => self.tcp_flags(tcp::SYN | tcp::ACK),
            Condition::Protocol(protocol) => {
                let register = self.take(None);
                self.meta(meta::L4PROTO, register);
                self.compare(cmp::EQUAL, register, &[protocol.number()]);
            }
            Condition::HasPorts => {
                let register = self.take(None);
                self.meta(meta::L4PROTO, register);
                self.look_up_protocol(register);
            }
            Condition::Dnatted => self.flag(ct::STATUS, ct::DESTINATION_TRANSLATED),
            Condition::NewConnection => self.flag(ct::STATE, ct::NEW),
            Condition::InvalidOrNew => self.flag(ct::STATE, ct::INVALID | ct::NEW),
            Condition::Followed => self.flag(ct::STATUS, ct::CONFIRMED),
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
            Condition::ForOthers => {
                let register = self.take(None);
                self.meta(meta::PACKET_TYPE, register);
                self.compare(cmp::DIFFERENT, register, &[meta::PACKET_HOST]);
            }
            Condition::OneOfPower(power) => {
                let register = self.take(None);
                self.meta(meta::RANDOM, register);
                self.mask(register, &chance(*power).to_be_bytes());
                self.compare(cmp::EQUAL, register, &[0; 4]);
            }
            Condition::FromEthernet => self.ethernet(),
            Condition::WordIs(word, value) => self.word(*word, cmp::EQUAL, *value),
            Condition::WordIsNot(word, value) => self.word(*word, cmp::DIFFERENT, *value),
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

    /// `@nh,OFFSET,32 & MASK == VALUE`
    fn word(&mut self, word: Word, operator: u32, value: u32) {
        let base = match word.header {
            Header::Link => payload::LINK,
            Header::Network => payload::NETWORK,
            Header::Transport => payload::TRANSPORT,
        };
        let register = self.take(None);
        let length = u32::from(word.bits) / 8;
        self.payload(base, (word.offset / 8).into(), length, register);
        let bytes = |number: u32| number.to_be_bytes().into_iter().skip(4 - length as usize);
        if word.mask != u32::MAX {
            self.mask(register, &bytes(word.mask).collect::<Vec<_>>());
        }
        self.compare(operator, register, &bytes(value).collect::<Vec<_>>());
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

    /// `ip ttl set HOPS`, `ip6 hoplimit set HOPS`
    fn set_hop_limit(&mut self, family: Family, hops: u8) {
        self.need_network(family);
        let register = self.take(None);
        let (offset, length, checksum) = match family {
            Family::V4 => {
                // The header's checksum counts words of two bytes: the TTL is written with the protocol behind it.
                self.payload(payload::NETWORK, 8, 2, register);
                self.replace(register, &[0, 0xff], &[hops, 0]);
                (8, 2, Some(10))
            }
            Family::V6 => {
                self.expr("immediate", |w| {
                    w.u32(immediate::TO, register.number());
                    w.nested(immediate::DATA, |w| w.bytes(data::VALUE, &[hops]));
                });
                (7, 1, None)
            }
        };
        self.expr("payload", |w| {
            w.u32(payload::FROM, register.number());
            w.u32(payload::BASE, payload::NETWORK);
            w.u32(payload::OFFSET, offset);
            w.u32(payload::LENGTH, length);
            w.u32(
                payload::CHECKSUM_TYPE,
                checksum.map_or(0, |_| payload::INTERNET),
            );
            w.u32(payload::CHECKSUM_OFFSET, checksum.unwrap_or(0));
        });
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
}

//! `vip`: addresses x protocols x ports.

use super::claims::{Claim, Claims};
use super::reader::Reader;
use super::values::{address, choice, impossible_vip, ports};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{Ports, Protocol, Vip};
use crate::source::Span;
use crate::syntax::tree::List;

/// How many VIPs one statement may make.
const MOST: usize = 100_000;

const PROTOCOLS: [(&str, Protocol); 3] = [
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("sctp", Protocol::Sctp),
];

/// The words of a `vip` statement.
pub(super) struct VipWords<'a> {
    pub(super) addresses: &'a List,
    pub(super) protocols: &'a List,
    pub(super) ports: &'a List,
}

/// Reads a `vip` into `vips`. Returns whether all of it could be read.
pub(super) fn read_vip(
    words: &VipWords<'_>,
    span: Span,
    service: usize,
    vips: &mut Vec<Vip>,
    claims: &mut Claims,
    reader: &mut Reader<'_>,
) -> bool {
    let mut addresses = reader.read_all(words.addresses, address);
    let protocols = reader.read_all(words.protocols, |text| {
        choice(text, "a protocol", &PROTOCOLS)
    });
    let ports = reader.read_all(words.ports, ports);
    let mut complete = !(addresses.damaged || protocols.damaged || ports.damaged);

    addresses.values.retain(|(address, value)| {
        let Some((why, help)) = impossible_vip(*address) else {
            return true;
        };
        let message = format!("{} cannot be a VIP: it {why}", quote(value.text));
        let mut fault = Diagnostic::new(Code::ImpossibleVip, value.place(), message);
        fault.help = help;
        reader.report(fault);
        complete = false;
        false
    });

    let tcp = protocols.values.iter().any(|(p, _)| *p == Protocol::Tcp);
    let any = ports.values.iter().find(|(ports, _)| *ports == Ports::Any);
    if let Some((_, value)) = any.filter(|_| tcp) {
        let message = "`tcp any` takes every TCP port, that of SSH to this address too";
        let fault = Diagnostic::new(Code::TakesSsh, value.place(), message);
        reader.report(fault.help("make sure that the balancer can be reached at another address"));
    }

    let count = [protocols.values.len(), ports.values.len()]
        .iter()
        .try_fold(addresses.values.len(), |count, n| count.checked_mul(*n));
    if count.is_none_or(|count| count > MOST) {
        let message = format!("This makes more than {MOST} VIPs");
        let fault = Diagnostic::new(Code::ListTooLong, span, message);
        reader.report(fault.help("use ranges of ports, or several services"));
        return false;
    }
    for (address, _) in &addresses.values {
        for (protocol, _) in &protocols.values {
            for (ports, value) in &ports.values {
                vips.push(Vip {
                    address: *address,
                    protocol: *protocol,
                    ports: *ports,
                    span,
                });
                claims.add(Claim {
                    address: *address,
                    protocol: *protocol,
                    ports: *ports,
                    service,
                    statement: span,
                    place: value.place(),
                });
            }
        }
    }
    complete
}

//! `vip`: addresses x protocols x ports.

use super::claims::{Claim, Claims};
use super::reader::Reader;
use super::values::{Wrong, address, choice, impossible_vip, ports};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{Ports, Protocol, Vip};
use crate::source::Span;
use crate::syntax::tree::{List, WordKind};
use crate::syntax::vip_in_order;

/// How many VIPs one statement may make.
const MOST: usize = 100_000;

/// The port by which most balancers are administered.
const SSH: u16 = 22;

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
    let disordered = disorder(
        (words.addresses, words.protocols, words.ports),
        span,
        reader,
    );
    if let Some(fault) = disordered {
        reader.report(fault);
        return false;
    }
    let mut addresses = reader.read_all(words.addresses, address);
    let protocols = reader.read_all(words.protocols, protocol);
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
    // Who names the port alone means it.
    let with_ssh = ports.values.iter().find(|(ports, _)| match *ports {
        Ports::One(_) => false,
        Ports::Range(first, last) => (first..=last).contains(&SSH),
        Ports::Any => true,
    });
    if let Some((ports, value)) = with_ssh.filter(|_| tcp) {
        let message = match *ports {
            Ports::Any | Ports::One(_) => {
                "`tcp any` takes every TCP port, that of SSH to this address too".to_owned()
            }
            Ports::Range(first, last) => {
                format!("`tcp {first}-{last}` takes the port of SSH to this address too")
            }
        };
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

/// The fault of a `vip` that has its words in another order: one, and not one for each word.
fn disorder(
    (addresses, protocols, ports): (&List, &List, &List),
    span: Span,
    reader: &Reader<'_>,
) -> Option<Diagnostic> {
    let texts =
        |words: &List| -> Vec<&str> { words.iter().map(|word| reader.text(*word)).collect() };
    // Asked of every VIP of every file: the quick look comes first.
    let is_usual = protocols.iter().all(|word| {
        word.kind != WordKind::Bare
            || PROTOCOLS
                .iter()
                .any(|(name, _)| *name == reader.text(*word))
    }) && addresses
        .iter()
        .all(|word| reader.text(*word).contains(['.', ':']) || word.kind != WordKind::Bare);
    if is_usual {
        return None;
    }
    let words = (texts(addresses), texts(protocols), texts(ports));
    let (why, help) = vip_in_order(reader.source(span), [&words.0, &words.1, &words.2])?;
    Some(Diagnostic::new(Code::BadStatement, span, why).help(help))
}

/// One protocol.
fn protocol(text: &str) -> Result<Protocol, Wrong> {
    choice(text, "a protocol", &PROTOCOLS).map_err(|wrong| {
        // `tcp/udp`, `tcp+udp`
        let names: Option<Vec<&str>> = text
            .split(['/', '+', '|', '&'])
            .map(|part| {
                let mut names = PROTOCOLS.iter().map(|(name, _)| *name);
                names.find(|name| name.eq_ignore_ascii_case(part))
            })
            .collect();
        match names.as_deref() {
            None => wrong,
            Some([name]) => Wrong {
                help: Some(format!("write {name}")),
                ..wrong
            },
            Some(names) => Wrong {
                help: Some(format!("write {}", names.join(", "))),
                ..wrong
            },
        }
    })
}

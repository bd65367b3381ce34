//! An explanation in the operator's words: a label and a sentence for each step.

use std::fmt::Write as _;

use super::{
    Admission, Chosen, Explanation, Found, Hashed, Leaves, PassedOver, Question, Source, Unserved,
};
use crate::model::{DurationWords, HashKey, OnEmpty, Ports, RealServer, Service, Vip};
use crate::source::{Sources, Span};

/// So many neighbours of a VIP that nobody has are told.
const TOLD: usize = 6;

/// A place in a file: `lb.flb:12`.
#[derive(Debug, Clone, Copy)]
pub struct Location<'a>(pub &'a Sources, pub Span);

impl std::fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.0.file(self.1.file);
        write!(f, "{}:{}", file.name, self.0.place(self.1).line)
    }
}

/// The steps, in the order in which the rules take them.
pub fn lines(
    explanation: &Explanation<'_>,
    question: Question,
    sources: &Sources,
) -> Vec<(&'static str, String)> {
    match explanation {
        Explanation::Nobody { near } => nobody(near, question, sources),
        Explanation::Found(found) => steps(found, sources),
    }
}

/// A flow: `198.51.100.7:4000 to 192.0.2.10:80 by tcp`.
pub fn short(question: Question) -> String {
    format!(
        "{} to {} by {}",
        question.from,
        question.to,
        question.protocol.name()
    )
}

fn nobody(
    near: &[(&Service, &Vip)],
    question: Question,
    sources: &Sources,
) -> Vec<(&'static str, String)> {
    let mut lines = vec![(
        "service",
        format!(
            "none has port {} of {} by {}: the packet goes on as if flbc were not there",
            question.to.port(),
            question.to.ip(),
            question.protocol.name()
        ),
    )];
    for (service, vip) in near.iter().take(TOLD) {
        let (name, place) = (&service.name, Location(sources, vip.span));
        lines.push(("near", format!("{vip} belongs to {name} ({place})")));
    }
    if near.len() > TOLD {
        lines.push(("near", format!("and {} more", near.len() - TOLD)));
    }
    lines
}

fn steps(found: &Found<'_>, sources: &Sources) -> Vec<(&'static str, String)> {
    // All that a service says, so that nothing new is forgotten: what has no words here says where they are.
    let Service {
        name,
        span,
        // The one that matches is told.
        vips: _,
        // `leaving`
        mode: _,
        // `choice` tells how the server is chosen, and why none is.
        scheduler: _,
        on_empty: _,
        members: _,
        // `memory`
        persistence: _,
        track: _,
        // `admission`
        access: _,
    } = found.service;
    let at = |span| Location(sources, span);
    let mut lines = vec![
        ("service", format!("{name} ({})", at(*span))),
        (
            "matches",
            format!("vip {} ({})", found.vip, at(found.vip.span)),
        ),
    ];
    for (other, vip) in &found.beaten {
        let why = match found.vip.ports {
            Ports::One(_) => "an exact port beats a range and any",
            Ports::Range(..) | Ports::Any => "a range beats any",
        };
        lines.push((
            "",
            format!("before {vip} of {} ({}): {why}", other.name, at(vip.span)),
        ));
    }
    if let Some(words) = admission(found.access, sources) {
        lines.push(("access", words));
    }
    choice(found, sources, &mut lines);
    if let Some(leaves) = found.leaves {
        lines.push(("leaves", leaving(leaves)));
    }
    for (server, why) in &found.passed_over {
        let why = match why {
            PassedOver::Drain => "drain: no new clients",
            PassedOver::Down => "down",
            PassedOver::Backup => "backup: another server is up",
            PassedOver::TooLight => "its weight is less than one slot",
        };
        lines.push(("not", format!("{}: {why}", server_words(server, sources))));
    }
    lines.extend(memory(found));
    lines
}

fn admission(access: Admission<'_>, sources: &Sources) -> Option<String> {
    let place = |span| Location(sources, span);
    match access {
        Admission::Open => None,
        Admission::Allowed(entry) => Some(format!(
            "allowed by {} ({})",
            entry.prefix,
            place(entry.span)
        )),
        Admission::NotDenied => Some("inside no deny".to_owned()),
        Admission::Denied(entry) => Some(format!(
            "denied by {} ({})",
            entry.prefix,
            place(entry.span)
        )),
        Admission::Outside => Some("inside no allow".to_owned()),
    }
}

fn choice(found: &Found<'_>, sources: &Sources, lines: &mut Vec<(&'static str, String)>) {
    let scheduler = found.service.scheduler;
    match &found.choice {
        Chosen::Refused(on_empty, why) => {
            let why = match why {
                Unserved::Client => "the client may not come",
                Unserved::NoServer => "no server takes new clients",
            };
            let what = match on_empty {
                OnEmpty::Reject => "a TCP reset or ICMP port unreachable",
                OnEmpty::Drop => "no answer",
            };
            lines.push(("server", format!("none: {why}; the client gets {what}")));
        }
        Chosen::Only(server) => lines.push((
            "server",
            format!("{}, the only one", server_words(server, sources)),
        )),
        Chosen::Hashed(hashed) => {
            lines.push(("scheduler", format!("{scheduler}, {} slots", hashed.slots)));
            lines.push(("key", key(hashed)));
            lines.push((
                "hash",
                format!(
                    "jhash(key, seed {:#010x}) = {:#010x}",
                    hashed.seed, hashed.hash
                ),
            ));
            lines.push((
                "slot",
                format!("{} = hash * {} >> 32", hashed.slot, hashed.slots),
            ));
            lines.push(("server", server_words(hashed.server, sources)));
        }
        Chosen::Drawn {
            in_turn,
            shares,
            slots,
        } => {
            let how = if *in_turn {
                "whose turn it is is not told by the client"
            } else {
                "any of these"
            };
            lines.push(("scheduler", format!("{scheduler}: {how}")));
            for (server, own) in shares {
                lines.push((
                    "share",
                    format!("{own} of {slots}: {}", server_words(server, sources)),
                ));
            }
        }
    }
}

fn key(hashed: &Hashed<'_>) -> String {
    let mut bytes = String::new();
    for byte in &hashed.bytes {
        let _ = write!(bytes, "{byte:02x} ");
    }
    let what = match hashed.key {
        HashKey::Source => "the client's address",
        HashKey::SourcePort => "the client's address and port, to whole words of 4 bytes",
    };
    format!("{bytes}({what})")
}

fn server_words(server: &RealServer, sources: &Sources) -> String {
    let weight = match server.weight {
        1 => String::new(),
        weight => format!(" weight {weight}"),
    };
    let endpoint = server.endpoint();
    let name = if *server.name == *endpoint {
        String::new()
    } else {
        format!("{} ", server.name)
    };
    format!(
        "{name}{endpoint}{weight} ({})",
        Location(sources, server.span)
    )
}

fn leaving(leaves: Leaves<'_>) -> String {
    match leaves {
        Leaves::Translated {
            source,
            destination,
        } => {
            let source = match source {
                Source::Client(client) => format!("{client}, the source as it was"),
                Source::Fixed(address) => format!("{address} (snat), any free port"),
                Source::Balancer { hairpin: false } => {
                    "the balancer's own address (masquerade), any free port".to_owned()
                }
                Source::Balancer { hairpin: true } => {
                    "the balancer's own address, since the client is a real server itself and would be answered directly"
                        .to_owned()
                }
            };
            format!("to {destination}, from {source}")
        }
        Leaves::Forwarded { interface, server } => {
            let interface = interface.unwrap_or("the interface by which it came");
            let mac = match server.mac {
                Some(mac) => format!("MAC address {mac}"),
                None => format!("the MAC address of {} (neighbour table)", server.address),
            };
            let ttl = if server.mac.is_some() {
                "the packet as it came"
            } else {
                "the packet as it came but for a TTL that is one less"
            };
            format!("by {interface} to {mac}, {ttl}")
        }
    }
}

/// What may send the flow elsewhere than the scheduler would.
fn memory(found: &Found<'_>) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if !found.access.admits() {
        return lines;
    }
    if let Some(persistence) = found.service.persistence {
        lines.push((
            "unless",
            format!(
                "the client (its first {} or {} bits) was here within {}: then it goes back to the server that it had",
                persistence.ipv4_prefix,
                persistence.ipv6_prefix,
                DurationWords(persistence.timeout)
            ),
        ));
    }
    if let Some(track) = found.service.track {
        lines.push((
            "unless",
            format!(
                "the flow is known, seen within {}: then it stays with its server",
                DurationWords(track.timeout)
            ),
        ));
    } else if found.service.mode.kernel_tracks() {
        lines.push((
            "unless",
            "the connection exists: then it stays with its server".to_owned(),
        ));
    }
    lines
}

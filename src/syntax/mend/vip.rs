//! `vip ADDR, ... PROTO, ... PORTS`, in whatever order and with whatever signs it was written.

use super::super::vocabulary::Keyword;
use super::{Located, Mended, Words, is_constant, is_number};

/// What a word of a `vip` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Address,
    Protocol,
    Port,
}

/// Words of other tools, or of the tongue, between the three parts.
const FILLERS: &[&str] = &[
    "address", "addr", "ip", "ipv4", "ipv6", "proto", "protocol", "port", "ports", "dport", "dst",
    "daddr", "and", "on", "for", "to", "in", "listen", "is", ":", "-t", "-u",
];

#[derive(Debug, Default)]
struct Parts {
    addresses: Vec<String>,
    protocols: Vec<String>,
    ports: Vec<String>,
    /// What each word was, in the order written.
    order: Vec<Part>,
    /// The words of each, with what they were.
    sequence: Vec<(Part, String)>,
    /// Address and port were one word.
    glued: Option<String>,
    /// A word that is none of the three.
    stranger: Option<String>,
    /// A word that flb does without.
    filler: Option<String>,
    /// A range of ports with blanks in it.
    loose_range: bool,
}

impl Parts {
    fn add(&mut self, part: Part, text: impl Into<String>) {
        let text = text.into();
        let list = match part {
            Part::Address => &mut self.addresses,
            Part::Protocol => &mut self.protocols,
            Part::Port => &mut self.ports,
        };
        if !list.contains(&text) {
            list.push(text.clone());
        }
        self.order.push(part);
        self.sequence.push((part, text));
    }
}

/// A `vip` whose words the grammar reads, though one that must be a protocol is none, and that means something in another order:
/// why, and what to write.
pub fn in_order(statement: &str, words: [&[&str]; 3]) -> Option<(String, String)> {
    let [addresses, said, _] = words;
    let is_spelling = said.iter().all(|word| protocols(word).is_some())
        && addresses
            .iter()
            .all(|word| protocols(word).is_none() && !is_number(word));
    if is_spelling {
        return None;
    }
    let mended = super::as_statement(Keyword::Vip, statement.strip_prefix("vip")?)?;
    let help = mended.help();
    mended.why.map(|why| (why, help))
}

/// Puts the words of a `vip` in order.
pub(super) fn mend(words: &Words) -> Option<Mended> {
    let mut parts = Parts::default();
    let texts = words.texts();
    let mut at = 0;
    while let Some(text) = texts.get(at) {
        at += 1;
        let lower = text.to_ascii_lowercase();
        if FILLERS.contains(&lower.as_str()) {
            parts.filler.get_or_insert_with(|| (*text).to_owned());
            continue;
        }
        if matches!(lower.as_str(), "fwmark" | "mark" | "-f") {
            let mark = texts.get(at).copied().unwrap_or_default();
            let mut sample = Mended::new("vip 192.0.2.10 tcp 80").because(format!(
                "A VIP is an address: flbc has none by the mark `{}`",
                crate::diagnostic::clip(mark)
            ));
            sample.invented = true;
            return Some(sample);
        }
        if let (Some(first), Some(dash), Some(last)) =
            (ports(text), texts.get(at), texts.get(at + 1))
            && matches!(*dash, "-" | "to" | ".." | ":")
            && let Some(last) = ports(last)
        {
            parts.loose_range = true;
            parts.add(Part::Port, ports(&format!("{first}-{last}"))?);
            at += 2;
        } else {
            take(text, &mut parts)?;
        }
    }
    finish(words, parts)
}

/// Takes one word; `None` if nothing can be said about the statement because of it.
fn take(text: &str, parts: &mut Parts) -> Option<()> {
    let (address, rest) = text.split_once(':').unwrap_or((text, ""));
    if matches!(address, "*" | "" | "0.0.0.0" | "any") && (text.contains(':') || address != "any")
        || matches!(text, "::" | "[::]")
        || text.starts_with("[::]:")
        || text.starts_with(":::")
    {
        // Every address: the operator has to say which.
        parts.stranger.get_or_insert_with(|| text.to_owned());
        if let Some(port) = ports(rest.rsplit(':').next().unwrap_or_default()) {
            parts.add(Part::Port, port);
        }
        return Some(());
    }
    if let Some(protocols) = protocols(text) {
        for protocol in protocols {
            parts.add(Part::Protocol, protocol);
        }
    } else if let Some(ports) = ports(text) {
        parts.add(Part::Port, ports);
    } else if let Some(located) = Located::of(text) {
        parts.add(Part::Address, located.address.clone());
        if let Some(port) = &located.port {
            parts.add(Part::Port, port.clone());
            parts.glued = Some(text.to_owned());
        }
    } else if let Some((one, other)) = text.split_once("://").or_else(|| text.rsplit_once('/')) {
        // `192.0.2.10:80/tcp`, `80/tcp`, `tcp/80`, `tcp://192.0.2.10:80`
        parts.glued = Some(text.to_owned());
        take(one, parts)?;
        take(other, parts)?;
    } else if let Some((one, other)) = text
        .split_once(':')
        .filter(|(one, _)| protocols(one).is_some())
    {
        // `tcp:80`
        parts.glued = Some(text.to_owned());
        take(one, parts)?;
        take(other, parts)?;
    } else if is_constant(text) {
        let part = if parts.addresses.is_empty() {
            Part::Address
        } else if parts.protocols.is_empty() {
            Part::Protocol
        } else {
            Part::Port
        };
        parts.add(part, text);
    } else if parts.stranger.is_none() && parts.addresses.is_empty() && super::is_name(text) {
        parts.stranger = Some(text.to_owned());
    } else {
        return None;
    }
    Some(())
}

/// `vip A tcp 80 udp 53`: a statement for each protocol with its ports.
fn one_for_each(said: &Parts) -> Option<Mended> {
    let addresses = said.addresses.join(", ");
    let mut groups: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for (part, text) in said
        .sequence
        .iter()
        .skip_while(|(part, _)| *part == Part::Address)
    {
        match (part, groups.last_mut()) {
            (Part::Protocol, Some((protocols, ports))) if ports.is_empty() => protocols.push(text),
            (Part::Protocol, _) => groups.push((vec![text], Vec::new())),
            (Part::Port, Some((_, ports))) => ports.push(text),
            (Part::Address, _) | (Part::Port, None) => return None,
        }
    }
    let is_whole = groups.iter().all(|(_, ports)| !ports.is_empty());
    if groups.len() < 2 || !is_whole || addresses.is_empty() || said.stranger.is_some() {
        return None;
    }
    let statements: Vec<String> = groups
        .iter()
        .map(|(protocols, ports)| {
            format!(
                "vip {addresses} {} {}",
                protocols.join(", "),
                ports.join(", ")
            )
        })
        .collect();
    let why =
        "A `vip` has its protocols before all of its ports: others need a statement of their own";
    Some(Mended::new(statements.join("; ")).because(why))
}

fn finish(words: &Words, parts: Parts) -> Option<Mended> {
    if let Some(mended) = one_for_each(&parts) {
        return Some(mended);
    }
    let why = why(words, &parts);
    let Parts {
        mut addresses,
        mut protocols,
        mut ports,
        stranger,
        ..
    } = parts;
    if addresses.is_empty() && protocols.is_empty() && ports.is_empty() && stranger.is_none() {
        return None;
    }
    let mut invented = false;
    let mut fill = |list: &mut Vec<String>, example: &str| {
        if list.is_empty() {
            list.push(example.to_owned());
            invented = true;
        }
    };
    // Where only the protocol is missing, it is the usual one.
    fill(&mut addresses, "192.0.2.10");
    fill(&mut ports, "80");
    if protocols.is_empty() {
        protocols.push("tcp".to_owned());
    }
    let text = format!(
        "vip {} {} {}",
        addresses.join(", "),
        protocols.join(", "),
        ports.join(", ")
    );
    let mut mended = Mended::new(text);
    mended.why = why;
    mended.invented = invented;
    Some(mended)
}

/// What was wrong, where it is more than something that is missing.
fn why(words: &Words, parts: &Parts) -> Option<String> {
    let quote = crate::diagnostic::quote;
    if let Some(stranger) = &parts.stranger {
        return Some(match stranger.as_str() {
            any if !super::is_name(any) => format!(
                "{} names no address: a VIP is one that clients connect to",
                quote(any)
            ),
            _ => format!("{} is no address, and a `vip` has no name", quote(stranger)),
        });
    }
    if let Some(glued) = &parts.glued {
        return Some(format!(
            "{} holds more than one part of a `vip`: address, protocol and ports stand apart",
            quote(glued)
        ));
    }
    if !parts.order.is_sorted() {
        return Some(
            "In a `vip` the address comes first, then the protocol, then the ports".to_owned(),
        );
    }
    if words.braces {
        return Some("A list has commas in flb, and no braces".to_owned());
    }
    if parts.loose_range {
        return Some("A range of ports is written without blanks".to_owned());
    }
    if let Some(filler) = &parts.filler {
        return Some(format!(
            "A `vip` is an address, protocols and ports, without {}",
            quote(filler)
        ));
    }
    if parts.protocols.is_empty() || parts.ports.is_empty() {
        return None;
    }
    let texts = words.texts();
    for (at, pair) in parts.order.windows(2).enumerate() {
        let (Some(word), Some(next)) = (words.all.get(at), texts.get(at + 1)) else {
            continue;
        };
        match pair {
            // The grammar itself says so of ports.
            [one, other] if one == other && !word.comma && *one != Part::Port => {
                return Some(format!(
                    "A comma is missing between {} and {}",
                    quote(&word.text),
                    quote(next)
                ));
            }
            [one, other] if one != other && word.comma => {
                return Some(format!(
                    "No comma stands between {} and {}",
                    quote(&word.text),
                    quote(next)
                ));
            }
            _ => {}
        }
    }
    None
}

/// The protocols that a word names: `TCP`, `tcp/udp`, `tcp+udp`.
fn protocols(word: &str) -> Option<Vec<&'static str>> {
    let lower = word.to_ascii_lowercase();
    let mut protocols = Vec::new();
    for part in lower.split(['/', '+', '|', '&', ';']) {
        protocols.push(match part {
            "tcp" | "tcp4" | "tcp6" => "tcp",
            "udp" | "udp4" | "udp6" => "udp",
            "sctp" => "sctp",
            _ => return None,
        });
    }
    protocols.dedup();
    Some(protocols)
}

/// A number that can be a port.
fn valid(number: &str) -> Option<&str> {
    let is_port = is_number(number) && !number.starts_with('0') && number.parse::<u16>().is_ok();
    is_port.then_some(number)
}

/// A port, a range or `any`, in flb's words: `5000..5999`, `5000:5999`.
fn ports(word: &str) -> Option<String> {
    if matches!(word, "any" | "ANY" | "all" | "*") {
        return (word != "*").then(|| "any".to_owned());
    }
    let word = word.trim_start_matches(':');
    if let Some(one) = valid(word) {
        return Some(one.to_owned());
    }
    let (first, last) = ["...", "..", "-", "~", ":"]
        .iter()
        .find_map(|sign| word.split_once(sign))?;
    let (first, last) = (valid(first)?, valid(last)?);
    let (low, high) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    Some(match low.cmp(&high) {
        std::cmp::Ordering::Less => format!("{low}-{high}"),
        std::cmp::Ordering::Equal => low.to_string(),
        std::cmp::Ordering::Greater => format!("{high}-{low}"),
    })
}

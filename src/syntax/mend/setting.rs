//! The statements other than `vip` and `server`.

use super::super::lookalike::is_foreign_quote;
use super::super::vocabulary::Keyword;
use super::{Located, Mended, Words, is_constant, is_name, is_number};
use crate::diagnostic::quote;

/// `include "PATH"`, with other quotes or none.
pub(super) fn include(arguments: &str) -> Option<Mended> {
    let path = arguments.trim().trim_end_matches([';', ',']);
    let inside = path
        .trim_matches(|c: char| is_foreign_quote(c) || matches!(c, '"' | '<' | '>' | '=' | ' '));
    let is_path = !inside.is_empty()
        && !inside.starts_with('$')
        && !inside.contains(|c: char| matches!(c, '"' | '{' | '}') || c.is_control());
    let why = if path.starts_with(is_foreign_quote) {
        "The path of `include` stands in double quotes, and in no others"
    } else {
        "The path of `include` stands in double quotes"
    };
    is_path.then(|| Mended::new(format!("include \"{inside}\"")).because(why))
}

/// `define NAME = VALUE, ...`
pub(super) fn define(words: &Words) -> Option<Mended> {
    let texts: Vec<&str> = words
        .texts()
        .into_iter()
        .filter(|text| !matches!(*text, "=" | ":"))
        .collect();
    let (name, values) = texts.split_first()?;
    let name = name.trim_start_matches('$').trim_end_matches(':');
    if !is_name(name) || values.is_empty() {
        return None;
    }
    let mut mended = Mended::new(format!("define {name} = {}", values.join(", ")));
    if words.braces {
        mended = mended.because("A list has commas in flb, and no braces");
    }
    Some(mended)
}

/// `service NAME` and `pool NAME`.
pub(super) fn named(statement: Keyword, words: &Words) -> Option<Mended> {
    let texts = words.texts();
    if statement == Keyword::Pool && texts.len() > 1 {
        // Two pools, or one of two words: who knows.
        return None;
    }
    let keyword = statement.text();
    let name: String = texts
        .join("-")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .collect();
    let name = name.trim_matches('-');
    let mut mended = match (name, statement) {
        ("", Keyword::Pool) => Mended::new("pool web"),
        ("", _) => Mended::new("service www"),
        (name, _) if is_name(name) => Mended::new(format!("{keyword} {name}")),
        (name, _) => Mended::new(format!("{keyword} _{name}")),
    };
    mended.invented = name.is_empty();
    if texts.len() > 1 {
        mended = mended.because(format!("The name of a {keyword} is one word"));
    }
    Some(mended)
}

/// What others call a mode, and what flb has for it.
const MODES: &[(&[&str], &str)] = &[
    (
        &[
            "dnat", "masq", "-m", "proxy", "routed", "tcp", "udp", "http", "l4", "local",
        ],
        "nat",
    ),
    (
        &["masquerade", "fullnat", "full-nat", "two-arm", "snat-auto"],
        "nat masquerade",
    ),
    (
        &[
            "dsr",
            "direct",
            "direct-return",
            "droute",
            "direct-routing",
            "directrouting",
            "gate",
            "gatewaying",
            "-g",
            "l2dsr",
            "l2",
            "dr-on",
            "tun",
            "tunnel",
            "ipip",
            "-i",
            "gre",
            "one-arm",
        ],
        "dr",
    ),
];

/// `mode ...`
pub(super) fn mode(words: &Words) -> Option<Mended> {
    let texts = words.texts();
    let (first, rest) = texts.split_first()?;
    let lower = first.to_ascii_lowercase();
    let known = MODES
        .iter()
        .find(|(names, _)| names.contains(&lower.as_str()));
    let why = || {
        match lower.as_str() {
        "tun" | "tunnel" | "ipip" | "-i" | "gre" => {
            "flbc has no mode for tunnels of its own: direct return can leave by the device of a tunnel".to_owned()
        }
        "tcp" | "udp" | "http" => {
            format!("{} is no mode: the protocol stands in the `vip`", quote(first))
        }
        _ => format!("{} is no mode", quote(first)),
    }
    };
    let mended = match (lower.as_str(), known) {
        ("snat", _) => source_nat(rest),
        ("nat", _) => nat(rest)?,
        ("dr", _) | (_, Some((_, "dr"))) => direct(rest)?,
        (_, Some((_, mode))) => Mended::new(format!("mode {mode}")),
        (_, None) => {
            let near = super::meant(&lower, &["nat", "dr"])?;
            let rest = rest.join(" ");
            return mode(&Words::of(&format!("{near} {rest}"), false))
                .map(|mended| mended.because(why()));
        }
    };
    Some(match known {
        Some(_) => mended.because(why()),
        None if lower == "snat" || lower != *first => mended.because(why()),
        None => mended,
    })
}

fn nat(rest: &[&str]) -> Option<Mended> {
    let word = rest.first().map(|word| word.to_ascii_lowercase());
    Some(match word.as_deref() {
        None => Mended::new("mode nat"),
        Some("masquerade" | "masq" | "auto") => Mended::new("mode nat masquerade"),
        Some("snat" | "source" | "from" | "src") => source_nat(rest.get(1..)?),
        Some("on" | "via" | "dev" | "interface") => Mended::new("mode nat")
            .because("`mode nat` names no interface: the kernel's routes find it"),
        Some(word) if Located::of(word).is_some() => source_nat(rest),
        Some(_) => return None,
    })
}

fn source_nat(rest: &[&str]) -> Mended {
    let addresses: Vec<String> = rest
        .iter()
        .filter_map(|word| Located::of(word))
        .map(|located| located.address)
        .collect();
    if addresses.is_empty() {
        return Mended::new("mode nat masquerade");
    }
    Mended::new(format!("mode nat snat {}", addresses.join(", ")))
}

fn direct(rest: &[&str]) -> Option<Mended> {
    let (mut on, mut via, mut from) = (Vec::new(), None, None);
    let mut words = rest.iter();
    let mut target = "on";
    while let Some(word) = words.next() {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "on" | "dev" | "interface" | "iface" | "in" | "iif" => target = "on",
            "via" | "out" | "oif" | "to" => target = "via",
            "from" | "mac" => from = Some(*words.next()?),
            _ if is_name(word) || is_constant(word) => {
                if target == "via" {
                    if via.replace(*word).is_some() {
                        return None;
                    }
                    target = "on";
                } else {
                    on.push(*word);
                }
            }
            _ => return None,
        }
    }
    let invented = on.is_empty();
    if invented {
        on.push("eth0");
    }
    let mut text = format!("mode dr on {}", on.join(", "));
    if let Some(via) = via {
        text = format!("{text} via {via}");
        if let Some(from) = from {
            text = format!("{text} from {from}");
        }
    }
    let mut mended = Mended::new(text);
    mended.invented = invented;
    Some(mended)
}

/// `scheduler NAME [by KEY] [table N]`
pub(super) fn scheduler(words: &Words) -> Option<Mended> {
    let texts = words.texts();
    let (name, rest) = texts.split_first()?;
    if !is_name(name) {
        return None;
    }
    let (mut by, mut table) = (None, None);
    for word in rest {
        match *word {
            "by" | "table" | "size" | "key" | "on" | "src" | "ip" => {}
            "source" | "source-port" if by.is_none() => by = Some(*word),
            word if is_number(word) && table.is_none() => table = Some(word),
            _ => return None,
        }
    }
    let mut text = format!("scheduler {name}");
    if let Some(by) = by {
        text = format!("{text} by {by}");
    }
    if let Some(table) = table {
        text = format!("{text} table {table}");
    }
    Some(Mended::new(text))
}

/// `persist DURATION [by source[/P4[/P6]]]`
pub(super) fn persist(words: &Words) -> Option<Mended> {
    let (mut duration, mut by) = (Vec::new(), None);
    for word in words.texts() {
        match word {
            "timeout" | "for" | "by" | "on" | "and" => {}
            word if (word == "source" || word.starts_with("source/")) && by.is_none() => {
                by = Some(word.to_owned());
            }
            word if word.starts_with('/') && by.as_deref().is_none_or(|by| by == "source") => {
                by = Some(format!("source{word}"));
            }
            word => duration.push(word),
        }
    }
    let mut invented = false;
    let duration = if duration.is_empty() {
        invented = true;
        "5m".to_owned()
    } else {
        of_words(&duration)?
    };
    let mut mended = Mended::new(match by {
        Some(by) => format!("persist {duration} by {by}"),
        None => format!("persist {duration}"),
    });
    mended.invented = invented;
    Some(mended)
}

/// `track DURATION`
pub(super) fn track(words: &Words) -> Option<Mended> {
    let texts = words.texts();
    let texts: Vec<&str> = texts
        .into_iter()
        .filter(|word| !matches!(*word, "timeout" | "for" | "and" | "on"))
        .collect();
    if texts.is_empty() {
        let mut mended = Mended::new("track 5m");
        mended.invented = true;
        return Some(mended);
    }
    Some(Mended::new(format!("track {}", of_words(&texts)?)))
}

/// A duration that stands in several words: `5 m`, `1 hour 30 minutes`.
fn of_words(words: &[&str]) -> Option<String> {
    let glued = words.concat();
    match glued.as_str() {
        "off" => Some(glued),
        constant if is_constant(constant) => Some(glued),
        _ => super::super::duration_words::duration_in_flb(&glued),
    }
}

/// `allow from PREFIX, ...` and `deny from PREFIX, ...`
pub(super) fn access(statement: Keyword, words: &Words) -> Option<Mended> {
    let keyword = statement.text();
    let mut prefixes = Vec::new();
    for word in words.texts() {
        match word {
            "from" | "source" | "src" | "saddr" | "ip" | "ip6" | "to" | "and" | "net" | "only" => {}
            "all" | "any" | "everybody" | "*" => {
                prefixes.extend(["0.0.0.0/0", "::/0"].map(str::to_owned));
            }
            word if is_constant(word) => prefixes.push(word.to_owned()),
            word => {
                let (address, length) = word.split_once('/').unwrap_or((word, ""));
                let is_prefix = address.parse::<std::net::IpAddr>().is_ok()
                    && (length.is_empty() || is_number(length));
                if !is_prefix {
                    return None;
                }
                prefixes.push(word.to_owned());
            }
        }
    }
    if prefixes.is_empty() {
        let mut mended = Mended::new(format!("{keyword} from 198.51.100.0/24"));
        mended.invented = true;
        return Some(mended);
    }
    let mended = Mended::new(format!("{keyword} from {}", prefixes.join(", ")));
    Some(if words.braces {
        mended.because("A list has commas in flb, and no braces")
    } else {
        mended
    })
}

/// `on-empty reject | drop`
pub(super) fn on_empty(words: &Words) -> Option<Mended> {
    let texts = words.texts();
    let word = texts
        .iter()
        .find(|word| matches!(**word, "reject" | "drop"));
    match word {
        Some(word) => Some(Mended::new(format!("on-empty {word}"))),
        None if texts.is_empty() => {
            let mut mended = Mended::new("on-empty reject");
            mended.invented = true;
            Some(mended)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_every_kind_go() {
        for (open, close) in [
            ('\'', '\''),
            ('“', '”'),
            ('„', '“'),
            ('«', '»'),
            ('‘', '’'),
            ('`', '`'),
            ('<', '>'),
        ] {
            let mended = include(&format!(" {open}conf.d/*.flb{close}")).unwrap();
            assert_eq!(mended.text, "include \"conf.d/*.flb\"");
        }
    }
}

//! `server [NAME] ADDR[:PORT] ...`, with the habits of other tools.

use super::super::vocabulary::OptionWord;
use super::{Located, Mended, Words, is_constant, is_name, is_number, meant};
use crate::diagnostic::quote;

/// Words before the address or the port that flb does without.
const FILLERS: &[&str] = &[
    "address", "addr", "ip", "host", "name", "port", "at", ":", "-r",
];

/// Options of nginx, HAProxy, keepalived and ipvsadm that flb has no words for, and how many words follow each.
const FOREIGN: &[(&str, usize)] = &[
    ("max_fails", 1),
    ("fail_timeout", 1),
    ("max_conns", 1),
    ("slow_start", 1),
    ("slowstart", 1),
    ("route", 1),
    ("service", 1),
    ("resolve", 0),
    ("check", 0),
    ("no-check", 0),
    ("agent-check", 0),
    ("check-ssl", 0),
    ("inter", 1),
    ("fastinter", 1),
    ("downinter", 1),
    ("rise", 1),
    ("fall", 1),
    ("maxconn", 1),
    ("minconn", 1),
    ("maxqueue", 1),
    ("cookie", 1),
    ("observe", 1),
    ("on-error", 1),
    ("on-marked-down", 1),
    ("on-marked-up", 1),
    ("error-limit", 1),
    ("resolvers", 1),
    ("init-addr", 1),
    ("source", 1),
    ("track", 1),
    ("id", 1),
    ("verify", 1),
    ("ca-file", 1),
    ("sni", 1),
    ("alpn", 1),
    ("ssl", 0),
    ("send-proxy", 0),
    ("send-proxy-v2", 0),
    ("tfo", 0),
    ("stick", 0),
    ("non-stick", 0),
    ("inhibit_on_failure", 0),
    ("uthreshold", 1),
    ("lthreshold", 1),
    ("-x", 1),
    ("-y", 1),
];

/// Words of others that flb has another word for.
const SYNONYMS: &[(&str, &str)] = &[
    ("disabled", "down"),
    ("disable", "down"),
    ("offline", "down"),
    ("maint", "down"),
    ("maintenance", "down"),
    ("draining", "drain"),
    ("fallback", "backup"),
    ("standby", "backup"),
    ("spare", "backup"),
    ("sorry", "backup"),
    ("reserve", "backup"),
    ("w", "weight"),
    ("-w", "weight"),
    ("priority", "weight"),
    ("ratio", "weight"),
    ("macaddr", "mac"),
    ("lladdr", "mac"),
    ("dev", "via"),
    ("interface", "via"),
    ("iface", "via"),
];

const PORT_BEHIND: &str = "The port of a server stands behind its address, with a `:`";

#[derive(Default)]
struct Parts {
    name: Option<String>,
    address: Option<Located>,
    constant: Option<String>,
    port: Option<String>,
    options: Vec<String>,
    why: Option<String>,
}

/// Puts the words of a `server` in order.
pub(super) fn mend(words: &Words) -> Option<Mended> {
    let mut parts = Parts::default();
    let texts = words.texts();
    let mut at = 0;
    while let Some(text) = texts.get(at) {
        at += 1;
        let next = texts.get(at).copied();
        let (word, glued) = match text.split_once(':') {
            // `weight:3`
            Some((word, value)) if is_name(word) && !value.is_empty() => (word, Some(value)),
            _ => (*text, None),
        };
        let lower = word.to_ascii_lowercase();
        if lower == "port" && glued.is_none() {
            if parts.address.is_some() {
                parts.because(PORT_BEHIND);
            }
            continue;
        }
        if let Some((_, takes)) = FOREIGN.iter().find(|(foreign, _)| *foreign == lower) {
            parts.because(format!("flbc has no option {} of a server", quote(word)));
            at += if glued.is_some() { 0 } else { *takes };
            continue;
        }
        if let Some(option) = option(&lower, parts.address.is_some() || parts.constant.is_some()) {
            let value = if option.is_state() {
                None
            } else {
                Some(glued.or(next)?)
            };
            match (glued, value) {
                (Some(_), _) => parts.because(format!(
                    "`{}` and its value have a blank between them",
                    option.text()
                )),
                (None, Some(_)) => at += 1,
                (None, None) => {}
            }
            at += parts.take_option(option, value, texts.get(at..).unwrap_or_default())?;
            continue;
        }
        if FILLERS.contains(&lower.as_str()) && parts.address.is_none() && next.is_some() {
            parts.because(format!("{} is no word of `server`", quote(word)));
            continue;
        }
        parts.take(text)?;
    }
    parts.finish(words)
}

/// The option that a word is or stands for.
fn option(word: &str, has_address: bool) -> Option<OptionWord> {
    let meant_word = SYNONYMS
        .iter()
        .find(|(foreign, _)| *foreign == word)
        .map(|(_, own)| *own);
    // Before the address a word may be a name.
    match (OptionWord::of(word), meant_word) {
        (Some(option), _) => Some(option),
        (None, Some(own)) if has_address => OptionWord::of(own),
        (None, None) if has_address => {
            let texts: Vec<&str> = OptionWord::texts().collect();
            meant(word, &texts).and_then(OptionWord::of)
        }
        (None, _) => None,
    }
}

/// `$web1`, or `$web1:8080` with its port.
fn constant_of(word: &str) -> Option<(&str, Option<String>)> {
    let (constant, port) = match word.split_once(':') {
        Some((constant, port)) => (constant, Some(super::port_of(port)?)),
        None => (word, None),
    };
    is_constant(constant).then_some((constant, port))
}

impl Parts {
    fn because(&mut self, why: impl Into<String>) {
        self.why.get_or_insert(why.into());
    }

    /// Takes an option and its value; returns how many further words belong to it.
    fn take_option(
        &mut self,
        option: OptionWord,
        value: Option<&str>,
        rest: &[&str],
    ) -> Option<usize> {
        let value = value.unwrap_or_default();
        let mut more = 0;
        let text = match option {
            OptionWord::Weight => {
                let is_value =
                    (is_number(value) && value.parse::<u16>().is_ok()) || is_constant(value);
                if !is_value {
                    return None;
                }
                format!("weight {value}")
            }
            OptionWord::Mac => format!("mac {value}"),
            OptionWord::Via => match rest {
                ["from", mac, ..] => {
                    more = 2;
                    format!("via {value} from {mac}")
                }
                _ => format!("via {value}"),
            },
            OptionWord::Drain | OptionWord::Down | OptionWord::Backup => option.text().to_owned(),
        };
        if self.address.is_none() && self.constant.is_none() {
            self.because("A server's address stands before its options");
        }
        if !self.options.contains(&text) {
            self.options.push(text);
        }
        Some(more)
    }

    /// Takes a name, an address or a port.
    fn take(&mut self, text: &str) -> Option<()> {
        if let Some(located) = Located::of(text) {
            if self.address.is_some() {
                return None;
            }
            self.address = Some(located);
        } else if let Some(port) = super::port_of(text.trim_start_matches(':')) {
            if self.port.is_some() {
                return None;
            }
            if self.address.is_some() {
                self.because(PORT_BEHIND);
            }
            self.port = Some(port);
        } else if let Some((constant, port)) = constant_of(text)
            && self.address.is_none()
            && self.constant.is_none()
        {
            self.constant = Some(constant.to_owned());
            if let Some(port) = port {
                self.port = Some(port);
            }
        } else if is_name(text) && self.name.is_none() && self.address.is_none() {
            self.name = Some(text.to_owned());
        } else {
            return None;
        }
        Some(())
    }

    fn finish(mut self, said: &Words) -> Option<Mended> {
        let mut invented = false;
        let address = match (self.address.clone(), self.constant.clone()) {
            (Some(located), None) => located.endpoint(self.port.as_deref()),
            (None, Some(constant)) => {
                if let Some(port) = &self.port {
                    let name = constant.trim_start_matches('$');
                    // It is more than any other word says.
                    self.why = Some(format!(
                        "A constant of a server holds its port as well: `define {name} = ADDR:{port}`"
                    ));
                }
                constant
            }
            (None, None) if self.name.is_some() || self.port.is_some() => {
                invented = true;
                self.because("`server` needs an address");
                let port = self.port.as_deref().unwrap_or("8080");
                format!("10.20.0.11:{port}")
            }
            _ => return None,
        };
        let name = self.name.map(|name| format!("{name} ")).unwrap_or_default();
        let mut words = vec![format!("server {name}{address}")];
        words.extend(self.options);
        let mut mended = Mended::new(words.join(" "));
        mended.why = self.why;
        if mended.why.is_none() && said.equals {
            mended.why = Some("`server` takes no `=`".to_owned());
        }
        mended.invented = invented;
        Some(mended)
    }
}

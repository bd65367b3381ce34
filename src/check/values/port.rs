//! Ports and ranges of ports.

use super::number::decimal;
use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};
use crate::model::Ports;

/// One port, 1 to 65535.
pub(crate) fn port(text: &str) -> Result<u16, Wrong> {
    if let Some((_, number)) = SERVICES.iter().find(|(name, _)| *name == text) {
        let message = format!("{} is the name of a port, not its number", quote(text));
        return Err(Wrong::new(Code::BadPort, message).help(format!("write {number}")));
    }
    let number = decimal(text, Code::BadPort, "port", &(1..=65535))?;
    u16::try_from(number).map_err(|_| Wrong::new(Code::BadPort, "This is not a port"))
}

/// A port, a range `5000-5999`, or `any`.
pub(crate) fn ports(text: &str) -> Result<Ports, Wrong> {
    if text == "any" {
        return Ok(Ports::Any);
    }
    if matches!(text, "*" | "all" | "ANY" | "Any") {
        let message = format!("{} is not a port", quote(text));
        return Err(Wrong::new(Code::BadPort, message).help("write any"));
    }
    if let Some(wrong) = in_plain_signs(text, Code::BadPort, ports) {
        return Err(wrong);
    }
    let Some((first, last)) = text.split_once('-').filter(|(first, _)| !first.is_empty()) else {
        let parted = ["...", "..", ":", "/", "~"]
            .iter()
            .find_map(|sign| text.split_once(sign));
        return match parted {
            Some((first, last)) if port(first).is_ok() && port(last).is_ok() => {
                let message = format!("{} is not a port", quote(text));
                Err(Wrong::new(Code::BadPort, message).help(format!("write {first}-{last}")))
            }
            _ => Ok(Ports::One(port(text)?)),
        };
    };
    let (first, last) = (port(first)?, port(last)?);
    let wrong = |what: &str| Wrong::new(Code::BadPort, format!("The range {} {what}", quote(text)));
    match first.cmp(&last) {
        std::cmp::Ordering::Less => Ok(Ports::Range(first, last)),
        std::cmp::Ordering::Equal => Err(wrong("has one port only").help(format!("write {first}"))),
        std::cmp::Ordering::Greater => {
            Err(wrong("goes downwards").help(format!("write {last}-{first}")))
        }
    }
}

/// Names that operators write by habit.
const SERVICES: &[(&str, u16)] = &[
    ("dns", 53),
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("ldaps", 636),
    ("mysql", 3306),
    ("ntp", 123),
    ("postgresql", 5432),
    ("sip", 5060),
    ("smtp", 25),
    ("ssh", 22),
    ("syslog", 514),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports() {
        assert_eq!(ports("80"), Ok(Ports::One(80)));
        assert_eq!(ports("65535"), Ok(Ports::One(65535)));
        assert_eq!(ports("1-65535"), Ok(Ports::Range(1, 65535)));
        assert_eq!(ports("any"), Ok(Ports::Any));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, message, help) in [
            ("0", "out of range", "from 1 to 65535"),
            ("65536", "out of range", "from 1 to 65535"),
            ("080", "leading zero", "write 80"),
            ("80-80", "one port only", "write 80"),
            ("90-80", "goes downwards", "write 80-90"),
            ("80-", "is not a port", "from 1 to 65535"),
            ("-80", "is negative", "from 1 to 65535"),
            ("1-2-3", "is not a port", "from 1 to 65535"),
            ("80:90", "is not a port", "write 80-90"),
            ("https", "name of a port", "write 443"),
            ("*", "is not a port", "write any"),
            ("1k", "suffix", "write 1000"),
        ] {
            let wrong = ports(text).unwrap_err();
            assert_eq!(wrong.code, Code::BadPort);
            assert!(wrong.message.contains(message), "{text}: {}", wrong.message);
            assert!(wrong.help.unwrap().contains(help), "{text}");
        }
    }
}

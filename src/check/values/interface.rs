//! Names of network interfaces.

use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};
use crate::model::Interface;

/// The longest name that the kernel takes.
const LONGEST: usize = 15;

/// 1 to 15 of `A-Z a-z 0-9 _ . @ -`.
pub(crate) fn interface(text: &str) -> Result<Interface, Wrong> {
    let bad = text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | '-')));
    let wrong = |what: &str| {
        let message = format!("{} {what}", quote(text));
        Wrong::new(Code::BadInterface, message)
    };
    let wanted = "write eth0; an interface's name has 1 to 15 of A-Z a-z 0-9 _ . @ -";
    if bad.is_some()
        && let Some(wrong) = in_plain_signs(text, Code::BadInterface, interface)
    {
        return Err(wrong);
    }
    match bad {
        Some('*') => Err(wrong("is a pattern, not the name of an interface")
            .help("write eth0; each interface is named, with commas between them")),
        Some(character) => {
            let character = quote(character.encode_utf8(&mut [0; 4]));
            Err(wrong("cannot be the name of an interface")
                .help(format!("{wanted}; {character} is none of them")))
        }
        None if text.is_empty() => Err(wrong("is not the name of an interface").help(wanted)),
        None if text.len() > LONGEST => {
            Err(wrong("is too long for the name of an interface").help(wanted))
        }
        None if matches!(text, "." | "..") => Err(wrong("cannot be the name of an interface")
            .help("write eth0; the kernel takes neither . nor ..")),
        None => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_language_takes() {
        for good in [
            "eth0",
            "eth0.100",
            "veth@if5",
            "bond-1_x",
            "a",
            "123456789012345",
        ] {
            assert_eq!(interface(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            ".",
            "..",
            "1234567890123456",
            "eth 0",
            "eth0/1",
            "eth*",
            "éth0",
            "a\nb",
            "\"",
        ] {
            assert_eq!(
                interface(bad).unwrap_err().code,
                Code::BadInterface,
                "{bad}"
            );
        }
    }
}

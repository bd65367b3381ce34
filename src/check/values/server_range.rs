//! `web[1-3] 10.20.0.[11-13]:8080`: several servers in one statement.

use std::ops::RangeInclusive;

use super::Wrong;
use super::number::{is_digits, without_leading_zeros};
use crate::diagnostic::{Code, quote};

/// How many servers one statement may make.
const MOST: u32 = 1_000;

/// A text with one range in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern<'a> {
    before: &'a str,
    numbers: RangeInclusive<u32>,
    after: &'a str,
}

impl Pattern<'_> {
    /// How many texts it makes.
    pub(crate) fn count(&self) -> u32 {
        self.numbers.end() - self.numbers.start() + 1
    }

    /// The texts, in order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        let numbers = self.numbers.clone();
        numbers.map(|number| format!("{}{number}{}", self.before, self.after))
    }
}

/// The range of a server's name, if it has one.
pub(crate) fn name_pattern(text: &str) -> Result<Option<Pattern<'_>>, Wrong> {
    pattern(text)
}

/// The range of a server's address, if it has one.
pub(crate) fn address_pattern(text: &str) -> Result<Option<Pattern<'_>>, Wrong> {
    // `[2001:db8::1]:80`; a range cannot come first in an IPv4 address.
    if let Some(inside) = text.strip_prefix('[') {
        if inside.contains('[') {
            return Err(wrong(text, "has a range in an IPv6 address")
                .help("only the last number of an IPv4 address can be a range"));
        }
        return Ok(None);
    }
    let Some(pattern) = pattern(text)? else {
        return Ok(None);
    };
    let is_last = pattern.before.ends_with('.')
        && pattern.before.matches('.').count() == 3
        && (pattern.after.is_empty() || pattern.after.starts_with(':'));
    if !is_last {
        return Err(wrong(text, "has a range where none can stand")
            .help("only the last number of an IPv4 address can be a range: 10.20.0.[11-13]"));
    }
    if *pattern.numbers.end() > 255 {
        let number = pattern.numbers.end();
        return Err(wrong(text, "leaves the addresses that there are")
            .help(format!("{number} is greater than 255")));
    }
    Ok(Some(pattern))
}

fn wrong(text: &str, what: &str) -> Wrong {
    Wrong::new(Code::BadServerRange, format!("{} {what}", quote(text)))
}

fn pattern(text: &str) -> Result<Option<Pattern<'_>>, Wrong> {
    let Some((before, rest)) = text.split_once('[') else {
        return Ok(None);
    };
    let help = "write a range as [1-3]";
    let Some((inside, after)) = rest.split_once(']') else {
        return Err(wrong(text, "has a `[` without a `]`").help(help));
    };
    if after.contains(['[', ']']) {
        return Err(wrong(text, "has more than one range").help("one range can stand here"));
    }
    let Some((first, last)) = inside.split_once('-') else {
        return Err(wrong(text, "has no range between its brackets").help(help));
    };
    for number in [first, last] {
        if !is_digits(number) {
            return Err(wrong(text, "has a range that is not of numbers").help(help));
        }
        if let Some(plain) = without_leading_zeros(number).filter(|plain| plain.len() <= 10) {
            return Err(
                wrong(text, "has a number with a leading zero").help(format!(
                    "write {plain}; the names get no leading zeros either"
                )),
            );
        }
    }
    let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
        return Err(wrong(text, "has a number that is too large"));
    };
    if first > last {
        return Err(
            wrong(text, "has a range that goes downwards").help(format!("write [{last}-{first}]"))
        );
    }
    if last - first >= MOST {
        let count = u64::from(last - first) + 1;
        return Err(wrong(text, &format!("makes {count} servers"))
            .help(format!("one statement makes at most {MOST}")));
    }
    Ok(Some(Pattern {
        before,
        numbers: first..=last,
        after,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pattern: &Pattern<'_>) -> Vec<String> {
        pattern.texts().collect()
    }

    #[test]
    fn expands() {
        let names = name_pattern("web[9-11].a").unwrap().unwrap();
        assert_eq!(texts(&names), ["web9.a", "web10.a", "web11.a"]);
        let addresses = address_pattern("10.20.0.[11-12]:8080").unwrap().unwrap();
        assert_eq!(texts(&addresses), ["10.20.0.11:8080", "10.20.0.12:8080"]);
        assert_eq!(name_pattern("web"), Ok(None));
        assert_eq!(address_pattern("[2001:db8::1]:80"), Ok(None));
        assert_eq!(name_pattern("a[1-1000]").unwrap().unwrap().count(), 1000);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, what) in [
            ("web[1-1001]", "makes 1001 servers"),
            ("web[0-4294967295]", "makes 4294967296 servers"),
            ("web[0-4294967296]", "too large"),
            ("web[3-1]", "downwards"),
            ("web[01-03]", "leading zero"),
            ("web[1-3][1-3]", "more than one range"),
            ("web[1-3", "without a `]`"),
            ("web[a-c]", "not of numbers"),
            ("web[13]", "no range"),
            ("web[]", "no range"),
            ("web[-3]", "not of numbers"),
        ] {
            let wrong = name_pattern(text).unwrap_err();
            assert_eq!(wrong.code, Code::BadServerRange);
            assert!(wrong.message.contains(what), "{text}: {}", wrong.message);
        }
        for (text, what) in [
            ("10.20.[1-2].1", "where none can stand"),
            ("10.20.[1-2]", "where none can stand"),
            ("10.20.0.1:[80-90]", "where none can stand"),
            ("2001:db8::[1-3]", "where none can stand"),
            ("10.20.0.[250-256]", "leaves"),
            ("10.20.0.1[1-3]", "where none can stand"),
            ("[2001:db8::[1-3]]:80", "IPv6"),
        ] {
            let wrong = address_pattern(text).unwrap_err();
            assert!(wrong.message.contains(what), "{text}: {}", wrong.message);
        }
    }
}

//! Whole numbers: decimal, without sign, leading zeros or suffix.

use std::ops::RangeInclusive;

use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};

/// A number in a range. `what` it is ("weight") stands in the message.
pub(crate) fn decimal(
    text: &str,
    code: Code,
    what: &str,
    range: &RangeInclusive<u32>,
) -> Result<u32, Wrong> {
    if !is_digits(text) {
        if let Some(wrong) = in_plain_signs(text, code, |plain| decimal(plain, code, what, range)) {
            return Err(wrong);
        }
        return Err(not_decimal(text, code, what, range));
    }
    if let Some(shorter) = without_leading_zeros(text) {
        let message = format!("The {what} {} has a leading zero", quote(text));
        return Err(Wrong::new(code, message).help(format!("write {}", clip(shorter))));
    }
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        read => {
            let nearest = read.map_or(*range.end(), |n: u32| n.clamp(*range.start(), *range.end()));
            let message = format!("The {what} {} is out of range", quote(text));
            Err(Wrong::new(code, message).help(wanted(what, nearest, range)))
        }
    }
}

/// Whether a text is made of decimal digits.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The digits that are left without leading zeros, where there are any.
pub(super) fn without_leading_zeros(digits: &str) -> Option<&str> {
    if digits.len() < 2 || !digits.starts_with('0') {
        return None;
    }
    match digits.trim_start_matches('0') {
        "" => Some("0"),
        shorter => Some(shorter),
    }
}

fn not_decimal(text: &str, code: Code, what: &str, range: &RangeInclusive<u32>) -> Wrong {
    if let Some(digits) = text.strip_prefix('+').filter(|digits| is_digits(digits)) {
        return Wrong::new(code, format!("The {what} {} has a sign", quote(text)))
            .help(format!("write {}", clip(digits)));
    }
    if text.strip_prefix('-').is_some_and(is_digits) {
        return Wrong::new(code, format!("The {what} {} is negative", quote(text))).help(wanted(
            what,
            *range.start(),
            range,
        ));
    }
    if let Some(number) = with_suffix(text) {
        return Wrong::new(code, format!("The {what} {} has a suffix", quote(text)))
            .help(format!("write {number}"));
    }
    if let Some(number) = hexadecimal(text) {
        return Wrong::new(code, format!("The {what} {} is not decimal", quote(text)))
            .help(format!("write {number}"));
    }
    let plain: String = text
        .chars()
        .filter(|c| !matches!(c, '_' | '\'' | '.'))
        .collect();
    let article = if what.starts_with(['I', 'a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    let wrong = Wrong::new(code, format!("{} is not {article} {what}", quote(text)));
    if is_digits(&plain) && !text.contains('.') {
        return wrong.help(format!("write {}", clip(&plain)));
    }
    let usual = if what == "port" { 80 } else { 1 };
    wrong.help(wanted(
        what,
        usual.clamp(*range.start(), *range.end()),
        range,
    ))
}

/// What to write, and what else there could stand.
fn wanted(what: &str, number: u32, range: &RangeInclusive<u32>) -> String {
    let article = if what.starts_with(['I', 'a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!(
        "write {number}; {article} {what} is a whole number from {} to {}",
        range.start(),
        range.end()
    )
}

fn with_suffix(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.strip_prefix(digits)? {
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "ki" | "Ki" | "KiB" => 1 << 10,
        "mi" | "Mi" | "MiB" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// A number in a help, where it is too long to be of any.
fn clip(text: &str) -> &str {
    if text.len() > 20 { "it shorter" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(text: &str) -> Result<u32, (String, String)> {
        decimal(text, Code::BadWeight, "weight", &(0..=65535))
            .map_err(|wrong| (wrong.message, wrong.help.unwrap_or_default()))
    }

    #[test]
    fn reads_plain_numbers() {
        assert_eq!(weight("0"), Ok(0));
        assert_eq!(weight("65535"), Ok(65535));
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            (
                "",
                "`` is not a weight",
                "write 1; a weight is a whole number from 0 to 65535",
            ),
            (
                "65536",
                "The weight `65536` is out of range",
                "write 65535; a weight is a whole number from 0 to 65535",
            ),
            (
                "99999999999999999999",
                "The weight `99999999999999999999` is out of range",
                "write 65535; a weight is a whole number from 0 to 65535",
            ),
            ("007", "The weight `007` has a leading zero", "write 7"),
            ("00", "The weight `00` has a leading zero", "write 0"),
            ("+5", "The weight `+5` has a sign", "write 5"),
            (
                "-5",
                "The weight `-5` is negative",
                "write 0; a weight is a whole number from 0 to 65535",
            ),
            ("3k", "The weight `3k` has a suffix", "write 3000"),
            ("0x1F", "The weight `0x1F` is not decimal", "write 31"),
            (
                "0x+1",
                "`0x+1` is not a weight",
                "write 1; a weight is a whole number from 0 to 65535",
            ),
            ("1_000", "`1_000` is not a weight", "write 1000"),
            (
                "1.5",
                "`1.5` is not a weight",
                "write 1; a weight is a whole number from 0 to 65535",
            ),
            (
                "٣",
                "`٣` is not a weight",
                "write 1; a weight is a whole number from 0 to 65535",
            ),
            (
                "many",
                "`many` is not a weight",
                "write 1; a weight is a whole number from 0 to 65535",
            ),
        ];
        for (text, message, help) in cases {
            assert_eq!(weight(text), Err((message.into(), help.into())), "{text}");
        }
    }
}

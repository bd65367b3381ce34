//! Durations: `90s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

use super::number::{is_digits, without_leading_zeros};
use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};
use crate::syntax::duration_in_flb;

/// The units, longest first, with their seconds.
const UNITS: &[(char, u64)] = &[('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// The longest duration: what 32 bits of seconds hold in whole days.
const LONGEST: u64 = 49_710 * 86_400;

/// A duration of whole seconds, at least one.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    match seconds(text) {
        Some(0) => Err(wrong(text, "is no time at all").help("write `off`")),
        Some(seconds) if seconds <= LONGEST => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(too_long(text)),
        None => Err(explain(text)),
    }
}

fn wrong(text: &str, what: &str) -> Wrong {
    Wrong::new(
        Code::BadDuration,
        format!("The duration {} {what}", quote(text)),
    )
}

fn too_long(text: &str) -> Wrong {
    wrong(text, "is too long").help("write 49710d; longer there is none")
}

/// The seconds of a text of the right form, `u64::MAX` for more than that holds.
fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        if number.is_empty() || without_leading_zeros(number).is_some() {
            return None;
        }
        let unit = after.chars().next()?;
        // Each unit once, longer ones first.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        let number: u64 = number.parse().unwrap_or(u64::MAX);
        total = total.saturating_add(number.saturating_mul(*factor));
        rest = after.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(total)
}

fn explain(text: &str) -> Wrong {
    if let Some(wrong) = in_plain_signs(text, Code::BadDuration, duration) {
        return wrong;
    }
    if is_digits(text) {
        let digits = without_leading_zeros(text).unwrap_or(text);
        return match digits {
            "0" => wrong(text, "is no time at all").help("write `off`"),
            _ if digits.len() > 10 => too_long(text),
            _ => wrong(text, "has no unit")
                .help(format!("write {digits}s; the units are s, m, h and d")),
        };
    }
    let lower = text.to_ascii_lowercase();
    if lower != text && text.len() <= 20 && seconds(&lower).is_some() {
        return wrong(text, "has a unit in capitals").help(format!("write {lower}"));
    }
    if lower.ends_with("ms") || lower.ends_with("us") {
        return wrong(text, "is finer than a second").help("write 1s; the units are s, m, h and d");
    }
    if let Some(weeks) = lower.strip_suffix('w')
        && let Ok(weeks) = weeks.parse::<u32>()
    {
        return wrong(text, "is in weeks")
            .help(format!("write {}d", u64::from(weeks).saturating_mul(7)));
    }
    let has_letters = text.contains(|c: char| c.is_ascii_alphabetic());
    if has_letters
        && let Some(own) = duration_in_flb(text)
        && seconds(&own).is_some_and(|seconds| seconds <= LONGEST)
        && own.len() < text.len()
        && !text.starts_with('0')
    {
        return wrong(text, "has a unit that flb writes with one letter")
            .help(format!("write {own}"));
    }
    if text.len() <= 20 {
        let numbers = text.split(|c: char| !c.is_ascii_digit());
        if numbers.clone().any(|n| without_leading_zeros(n).is_some()) {
            let own = duration_in_flb(text).unwrap_or_else(|| "5m".to_owned());
            return wrong(text, "has a leading zero").help(format!("write {own}"));
        }
    }
    Wrong::new(
        Code::BadDuration,
        format!("{} is not a duration", quote(text)),
    )
    .help("write 5m; a duration is a number and a unit, longer units first: 90s, 5m, 1h30m, 2d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, seconds) in [
            ("1s", 1),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5_400),
            ("2d", 172_800),
            ("1d2h3m4s", 93_784),
            ("0h5m", 300),
            ("49710d", LONGEST),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, what, help) in [
            ("90", "has no unit", "write 90s"),
            ("0", "no time at all", "`off`"),
            ("0s", "no time at all", "`off`"),
            ("0h0m", "no time at all", "`off`"),
            ("49711d", "too long", "49710d"),
            ("99999999999999999999999d", "too long", "49710d"),
            ("99999999999999999999999", "too long", "49710d"),
            ("5M", "capitals", "write 5m"),
            ("500ms", "finer than a second", "s, m, h and d"),
            ("2w", "weeks", "write 14d"),
            ("05m", "leading zero", "write 5m"),
            ("30m1h", "is not a duration", "longer units first"),
            ("5m5m", "is not a duration", "longer units first"),
            ("m", "is not a duration", "a number and a unit"),
            ("-5m", "is not a duration", "a number and a unit"),
            ("5m ", "is not a duration", "a number and a unit"),
            ("", "is not a duration", "a number and a unit"),
            ("5min", "with one letter", "write 5m"),
            ("1hour30min", "with one letter", "write 1h30m"),
            ("5 m", "is not a duration", "a number and a unit"),
        ] {
            let wrong = duration(text).unwrap_err();
            assert!(wrong.message.contains(what), "{text}: {}", wrong.message);
            assert!(wrong.help.unwrap().contains(help), "{text}");
        }
    }
}

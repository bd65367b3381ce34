//! Durations as people say them, in flb's words.

/// What people write for each unit of flb, the longest first.
const UNITS: &[(&str, &[&str])] = &[
    ("d", &["d", "day", "days"]),
    ("h", &["h", "hr", "hrs", "hour", "hours"]),
    ("m", &["m", "mn", "min", "mins", "minute", "minutes"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
];

/// `5min`, `1hour30minutes`, `600sec` as flb writes them; `None` if the text is no number of these units, longer ones first.
///
/// A bare number is one of seconds.
pub fn duration_in_flb(text: &str) -> Option<String> {
    if text.len() > 64 {
        return None;
    }
    let mut rest = text.trim_end_matches('.');
    let mut said = String::new();
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        let number = number.trim_start_matches('0');
        let unit = if unit.is_empty() && after.is_empty() && said.is_empty() {
            "s"
        } else {
            unit
        };
        let unit = unit.to_ascii_lowercase();
        let (own, _) = units.find(|(_, names)| names.contains(&unit.as_str()))?;
        if digits == 0 {
            return None;
        }
        if !number.is_empty() {
            said.push_str(number);
            said.push_str(own);
        }
        rest = after;
    }
    (!said.is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_by_all_their_names() {
        for (text, said) in [
            ("5min", Some("5m")),
            ("5minutes", Some("5m")),
            ("600sec", Some("600s")),
            ("1hour30minutes", Some("1h30m")),
            ("2Days", Some("2d")),
            ("300", Some("300s")),
            ("05m", Some("5m")),
            ("5m1h", None),
            ("m", None),
            ("500ms", None),
            ("0s", None),
            ("", None),
        ] {
            assert_eq!(duration_in_flb(text).as_deref(), said, "{text}");
        }
    }
}

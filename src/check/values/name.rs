//! Names of services, pools, servers and constants.

use crate::model::LONGEST_NAME;

use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};

/// A letter or `_`, then letters, digits, `_`, `-`, `.`; at most 64 characters.
pub(crate) fn name(text: &str) -> Result<&str, Wrong> {
    let wrong = |what: &str, why: &str| {
        let message = format!("{} {what}", quote(text));
        Wrong::new(Code::BadName, message).help(format!("write {}; {why}", like(text)))
    };
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if let Some(bad) = text.chars().find(|c| !goes_on(*c)) {
        if let Some(wrong) =
            in_plain_signs(text, Code::BadName, |plain| name(plain).map(str::to_owned))
        {
            return Err(wrong);
        }
        let bad = quote(bad.encode_utf8(&mut [0; 4]));
        return Err(wrong(
            "cannot be a name",
            &format!("a name is made of A-Z a-z 0-9 _ - .; {bad} is none of them"),
        ));
    }
    if !text.starts_with(starts) {
        return Err(wrong(
            "cannot be a name",
            "a name starts with a letter or `_`",
        ));
    }
    if text.len() > LONGEST_NAME {
        return Err(wrong(
            "is too long for a name",
            "a name has at most 64 characters",
        ));
    }
    Ok(text)
}

/// A name that can be, as near to the text as it gets.
fn like(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let plain: String = text
        .chars()
        .take(LONGEST_NAME)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    if plain.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        plain.to_owned()
    } else if plain.is_empty() {
        "web".to_owned()
    } else {
        let short = plain.get(..LONGEST_NAME - 1).unwrap_or(plain);
        format!("_{short}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_language_takes() {
        let longest = "x".repeat(64);
        for good in ["web", "_", "weight", "a.b-c_9", &longest] {
            assert_eq!(name(good), Ok(good));
        }
        let too_long = "x".repeat(65);
        for bad in [
            "", "1web", "-a", ".a", "wéb", "a b", "a/b", "a\"", &too_long,
        ] {
            assert_eq!(name(bad).unwrap_err().code, Code::BadName, "{bad}");
        }
    }
}

//! Words of which a few are known.

use super::Wrong;
use crate::diagnostic::{Code, quote};

/// One of a few words. `what` they are ("a protocol") stands in the message.
pub(crate) fn choice<T: Copy>(text: &str, what: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names = words.iter().map(|(word, _)| *word);
    let help = match nearest(text, names.clone()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write {}", alternatives(names)),
    };
    let message = format!("{} is not {what}", quote(text));
    Err(Wrong::new(Code::UnknownWord, message).help(help))
}

/// `a`, `b` or `c`
fn alternatives<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// How many candidates are compared: a million names of pools would take seconds.
const COMPARED: usize = 1_000;

/// The known word that was most likely meant, if any comes near.
pub(crate) fn nearest<'w>(
    written: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    // Nothing that long is a slip of the hand, and the distance takes quadratic time.
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase().replace('_', "-");
    let slips = match written.chars().count() {
        0..=1 => 0,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    words
        .into_iter()
        .take(COMPARED)
        .filter(|word| word.len().abs_diff(written.len()) <= slips)
        .map(|word| {
            let folded = word.to_lowercase().replace('_', "-");
            (strsim::damerau_levenshtein(&written, &folded), word)
        })
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest() {
        let words = ["tcp", "udp", "sctp"];
        assert_eq!(nearest("tpc", words), Some("tcp"));
        assert_eq!(nearest("UDP", words), Some("udp"));
        assert_eq!(nearest("icmp", words), None);
        assert_eq!(
            nearest("source_port", ["source", "source-port"]),
            Some("source-port")
        );
        assert_eq!(nearest(&"x".repeat(100_000), words), None);
    }

    #[test]
    fn lists_the_alternatives() {
        let words = [("reject", 1), ("drop", 2)];
        assert_eq!(choice("drop", "an action", &words), Ok(2));
        let wrong = choice("nothing", "an action", &words).unwrap_err();
        assert_eq!(wrong.message, "`nothing` is not an action");
        assert_eq!(wrong.help.unwrap(), "write `reject` or `drop`");
    }
}

//! Words of which a few are known.

use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, listed, nearest, quote};

/// One of a few words. `what` they are ("a protocol") stands in the message.
pub(crate) fn choice<T: Copy>(text: &str, what: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    if let Some(wrong) = in_plain_signs(text, Code::UnknownWord, |plain| choice(plain, what, words))
    {
        return Err(wrong);
    }
    let names = words.iter().map(|(word, _)| *word);
    let help = match nearest(text, names.clone()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write {}", listed(names, "or")),
    };
    let message = format!("{} is not {what}", quote(text));
    Err(Wrong::new(Code::UnknownWord, message).help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_the_alternatives() {
        let words = [("reject", 1), ("drop", 2)];
        assert_eq!(choice("drop", "an action", &words), Ok(2));
        let wrong = choice("nothing", "an action", &words).unwrap_err();
        assert_eq!(wrong.message, "`nothing` is not an action");
        assert_eq!(wrong.help.unwrap(), "write `reject` or `drop`");
    }
}

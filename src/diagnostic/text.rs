//! Source text on its way to a terminal: shown, never obeyed.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// How many characters of a word a message shows.
const QUOTED: usize = 60;

/// Whether a terminal would obey a character, or show nothing for it, instead of showing it.
///
/// Control characters of either range, what turns the direction of writing, what has no width, and the
/// separators that end a line without being one.
pub fn is_treacherous(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A word of the source as messages show it: between backticks, safe for a terminal, and not too long.
pub fn quote(word: &str) -> String {
    format!("`{}`", clip(word))
}

/// A word of the source as it can stand in a message among others: safe for a terminal, and not too long.
pub fn clip(word: &str) -> String {
    let mut clipped = String::with_capacity(word.len().min(QUOTED));
    for (count, character) in word.chars().enumerate() {
        if count == QUOTED {
            clipped.push_str("...");
            break;
        }
        push_safe(&mut clipped, character);
    }
    clipped
}

/// A text whole, safe for a terminal: for file names.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_treacherous) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        push_safe(&mut escaped, character);
    }
    Cow::Owned(escaped)
}

/// A text of several lines, each safe for a terminal.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    let is_obeyed = |character: char| character != '\n' && is_treacherous(character);
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.split('\n').map(escape).collect();
    Cow::Owned(lines.join("\n"))
}

/// JSON that says the same, and holds nothing that a terminal would obey.
pub fn escape_json(text: &str) -> Cow<'_, str> {
    // Between strings there are ends of lines, and in them none.
    let is_obeyed = |character: char| character != '\n' && is_treacherous(character);
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_obeyed(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn push_safe(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ if is_treacherous(character) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        }
        _ => out.push(character),
    }
}

/// A name as a shell takes it for one word, however it is called.
pub fn word(name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&b);
    if !name.is_empty() && name.bytes().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

/// A path as a shell takes it for one argument that is no option.
pub fn argument(name: &str) -> String {
    // A word that begins with `-` would be an option.
    let dashes = if name.starts_with('-') { "-- " } else { "" };
    format!("{dashes}{}", word(name))
}

/// What the system says of an error, without its number and what stands behind that.
pub fn reason(error: &impl fmt::Display) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    text
}

/// Words as a sentence has them, `last` before the last one: `a`, `b` or `c`
pub fn listed<'w>(words: impl Iterator<Item = &'w str>, last: &str) -> String {
    let mut words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    let Some(end) = words.pop() else {
        return String::new();
    };
    if words.is_empty() {
        return end;
    }
    format!("{} {last} {end}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_terminal_would_obey() {
        assert_eq!(quote("tcp"), "`tcp`");
        assert_eq!(quote("a\u{1b}[2J"), "`a\\u{1b}[2J`");
        assert_eq!(
            quote("\u{9b}1m\u{202e}\u{200b}\t"),
            "`\\u{9b}1m\\u{202e}\\u{200b}\\t`"
        );
        assert_eq!(quote("é日"), "`é日`");
    }

    #[test]
    fn clips_long_words() {
        let quoted = quote(&"x".repeat(1_000_000));
        assert_eq!(quoted, format!("`{}...`", "x".repeat(60)));
        assert_eq!(quote(&"x".repeat(60)), format!("`{}`", "x".repeat(60)));
    }

    #[test]
    fn json_says_what_a_terminal_would_obey() {
        let name = "a\u{1b}[2J\u{9b}31m\u{7f}\"\\\n\u{202e}\u{e0001}\u{e9}";
        let json = serde_json::json!({ "name": name, "other": [1] });
        for text in [json.to_string(), format!("{json:#}")] {
            let safe = escape_json(&text);
            assert!(!safe.contains(|c| c != '\n' && is_treacherous(c)), "{safe}");
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
                json
            );
        }
        assert!(matches!(escape_json("{\"a\": 1}\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(escape_lines("a\u{1b}[2J\nb\tc\n"), "a\\u{1b}[2J\nb\\tc\n");
        assert!(matches!(escape_lines("a\nb\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn file_names_stay_whole() {
        assert_eq!(escape("conf.d/a\nb.flb"), "conf.d/a\\nb.flb");
        assert!(matches!(escape("conf.d/a b.flb"), Cow::Borrowed(_)));
    }
}

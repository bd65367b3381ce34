//! Signs that look like those of the language, and are others: what word processors, chats and keyboards put in their
//! place.

/// The plain sign that is meant by one that looks like it.
const fn plain(sign: char) -> Option<char> {
    Some(match sign {
        '\u{2010}'..='\u{2015}'
        | '\u{2043}'
        | '\u{2212}'
        | '\u{2e3a}'
        | '\u{2e3b}'
        | '\u{fe58}'
        | '\u{fe63}'
        | '\u{ff0d}' => '-',
        '\u{ff0c}' | '\u{3001}' | '\u{fe50}' | '\u{ff64}' => ',',
        '\u{ff1a}' | '\u{fe55}' | '\u{2236}' => ':',
        '\u{ff0f}' | '\u{2044}' | '\u{2215}' => '/',
        '\u{ff0e}' | '\u{2024}' | '\u{3002}' => '.',
        '\u{ff1d}' => '=',
        '\u{ff04}' => '$',
        // The wide digits and letters of East Asian keyboards.
        '\u{ff10}'..='\u{ff19}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => {
            return char::from_u32(sign as u32 - 0xfee0);
        }
        _ => return None,
    })
}

/// Whether a sign is a quote that flb has no use for: single, typographic, or of another language.
pub const fn is_foreign_quote(sign: char) -> bool {
    matches!(
        sign,
        '\'' | '`' | '\u{b4}' | '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201f}' | '\u{2032}'..='\u{2037}'
            | '\u{2039}' | '\u{203a}' | '\u{275b}'..='\u{275e}' | '\u{300c}'..='\u{300f}' | '\u{301d}'..='\u{301f}'
            | '\u{ff02}' | '\u{ff07}'
    )
}

/// The text with plain signs and without foreign quotes around it; `None` where that is the text itself.
///
/// What is longer than a line that a person writes is not looked at.
pub fn plainly(text: &str) -> Option<String> {
    if text.len() > 4_096 {
        return None;
    }
    let inside = text.trim_matches(is_foreign_quote);
    let plain: String = inside.chars().map(|c| plain(c).unwrap_or(c)).collect();
    (plain != text).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dash_and_quote_is_known() {
        for dash in "‐‑‒–—―−﹣－".chars() {
            assert_eq!(
                plainly(&format!("1{dash}2")).as_deref(),
                Some("1-2"),
                "{dash}"
            );
        }
        for pair in [
            "‘’", "“”", "„“", "‚‘", "«»", "‹›", "''", "``", "「」", "′′", "″″",
        ] {
            let mut signs = pair.chars();
            let (open, close) = (signs.next().unwrap(), signs.next().unwrap());
            let quoted = format!("{open}web{close}");
            assert_eq!(plainly(&quoted).as_deref(), Some("web"), "{quoted}");
        }
        assert_eq!(plainly("１０．０．０．１"), Some("10.0.0.1".to_owned()));
        assert_eq!(plainly("web-1.example"), None);
    }
}

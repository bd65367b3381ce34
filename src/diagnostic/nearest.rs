//! What was meant by a word that is not known.

/// How many candidates are compared: a million names of pools would take seconds.
const COMPARED: usize = 1_000;

/// Whether a word is a known one but for a letter that is missing, too much, or in its neighbour's place. Another letter makes
/// another word: `upload` is not `unload`.
pub fn is_one_slip(written: &str, word: &str) -> bool {
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    written.len() <= 64
        && written.chars().next() == word.chars().next()
        && (written.len() != word.len() || letters(written) == letters(word))
        && strsim::damerau_levenshtein(written, word) <= 1
}

/// The known word that was most likely meant, if any comes near: the one place that decides what is a slip of the hand.
pub fn nearest<'w>(written: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
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
}

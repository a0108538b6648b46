//! "Did you mean", and how text of unknown origin is quoted in a message.

use std::borrow::Cow;

/// Longer words are not compared: the cost grows with the square, and nobody mistypes that much.
const MAX_COMPARED: usize = 64;

/// Characters of a value that a message shows.
const MAX_QUOTED: usize = 60;

/// The candidate that was probably meant: at most a third of its letters differ.
pub(crate) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let folded = word.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_COMPARED)
        .map(|candidate| {
            let other = candidate.to_ascii_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&folded, &other), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(folded.len()) / 3).max(1))
        .filter(|(distance, candidate)| *distance < candidate.len())
        .filter(|(_, candidate)| !is_another_number(&folded, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether only digits differ: `http2` is no misspelt `http1`, and `505` no `500`.
fn is_another_number(word: &str, candidate: &str) -> bool {
    let letters = |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit()).collect() };
    word != candidate && letters(word) == letters(candidate)
}

/// "did you mean `x`?", or what there is to choose from.
pub(crate) fn did_you_mean(word: &str, candidates: &[&str], what: &str) -> Option<String> {
    match closest(word, candidates.iter().copied()) {
        Some(candidate) => Some(format!("did you mean `{candidate}`?")),
        None if candidates.is_empty() => None,
        None => Some(format!("{what}: {}", listed(candidates))),
    }
}

/// `a`, `b`, `c`; shortened where there are many.
pub(crate) fn listed(words: &[&str]) -> String {
    const MOST: usize = 24;
    let mut text = words
        .iter()
        .take(MOST)
        .map(|word| format!("`{}`", clip(word)))
        .collect::<Vec<_>>()
        .join(", ");
    if words.len() > MOST {
        text.push_str(", …");
    }
    text
}

/// A value as a message quotes it: short, on one line, without control characters.
pub(crate) fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(MAX_QUOTED).map(shown).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        clipped.push('…');
    }
    clipped
}

/// Text without anything that could move a terminal's cursor; line breaks stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || shown(c) == c) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if c == '\n' { c } else { shown(c) }).collect())
}

/// Control characters, and those that reorder text, as a visible mark.
fn shown(c: char) -> char {
    match c {
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["burst", "rate", "key", "on_store_error", "exact"];
        for (typed, meant) in [
            ("burts", Some("burst")),
            ("Rate", Some("rate")),
            ("on-store-error", Some("on_store_error")),
            ("kay", Some("key")),
            ("zzz", None),
            ("", None),
            ("a", None),
        ] {
            assert_eq!(closest(typed, keys), meant, "{typed}");
        }
        assert_eq!(closest("http2", ["http1", "h2"]), None);
        assert_eq!(closest("draft6", ["draft-6", "draft-7"]), Some("draft-6"));
        assert_eq!(closest(&"x".repeat(1_000_000), keys), None);
    }

    #[test]
    fn quotes_are_short_and_harmless() {
        assert_eq!(clip("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(clip(&"é".repeat(100)).chars().count(), 61);
        assert_eq!(printable("fine\nfine"), "fine\nfine");
        assert_eq!(printable("\u{202e}x"), "\u{fffd}x");
    }
}

//! Splits names and prose into words, and words into the terms of the lexical index.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::stop_words;

/// Longer words are ignored, in letters. They are keys, hashes or attacks.
const MAX_WORD: usize = 48;

/// The words of an identifier, in lower case and separated by spaces: `getHTTPResponse2_v1` becomes
/// `get http response 2 v 1`.
pub(crate) fn identifier_phrase(text: &str) -> String {
    let mut words = Vec::new();
    for run in runs(text) {
        split(run, &mut words);
    }
    words.join(" ")
}

/// Runs of letters, digits and combining marks.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_separator).filter(|run| !run.is_empty())
}

pub(crate) fn is_separator(c: char) -> bool {
    !(c.is_alphanumeric() || is_combining_mark(c))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upper,
    Letter,
    Digit,
}

fn kind(c: char) -> Kind {
    if c.is_numeric() {
        Kind::Digit
    } else if c.is_uppercase() {
        Kind::Upper
    } else {
        Kind::Letter
    }
}

/// Splits a run where the case changes, and between letters and digits. An acronym ends before the
/// capital letter that starts the next word.
fn split(run: &str, words: &mut Vec<String>) {
    let chars: Vec<char> = run.chars().collect();
    let mut word = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let starts = i > 0 && {
            let (before, now) = (kind(chars[i - 1]), kind(c));
            let next = chars.get(i + 1).map(|&c| kind(c));
            match (before, now) {
                (Kind::Upper, Kind::Upper) => next == Some(Kind::Letter) && !is_plural(&chars, i),
                (Kind::Digit, Kind::Digit) => false,
                (Kind::Letter, Kind::Upper) | (Kind::Digit, _) | (_, Kind::Digit) => true,
                (_, Kind::Letter) => false,
            }
        };
        if starts && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        word.extend(c.to_lowercase());
    }
    if !word.is_empty() {
        words.push(word);
    }
}

/// In `URLs`, the lowercase s belongs to the acronym.
fn is_plural(chars: &[char], i: usize) -> bool {
    chars.get(i + 1) == Some(&'s') && chars.get(i + 2).is_none_or(|c| !c.is_lowercase())
}

/// Whether the character belongs to a script without spaces between words. The terms of such text
/// are pairs of characters.
pub(crate) fn is_unspaced_script(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF   // Thai, Lao, Myanmar, Khmer
        | 0x3040..=0x30FF | 0x31F0..=0x31FF | 0xFF66..=0xFF9F // kana
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x323AF) // ideographs
}

/// The most stems that are cached. It bounds the memory of a huge catalog.
const MAX_CACHED_STEMS: usize = 200_000;

/// Turns text into terms. Caches stems, because a catalog repeats the same words.
pub(crate) struct TermExtractor {
    english: Stemmer,
    russian: Stemmer,
    stems: HashMap<String, String>,
}

impl Default for TermExtractor {
    fn default() -> Self {
        Self {
            english: Stemmer::create(Algorithm::English),
            russian: Stemmer::create(Algorithm::Russian),
            stems: HashMap::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The key in the index.
    pub(crate) stem: String,
    /// The word in lower case.
    pub(crate) word: String,
}

impl TermExtractor {
    /// The first `most` terms of a text, without stop words and numbers.
    pub(crate) fn extract(&mut self, text: &str, most: usize) -> Vec<Term> {
        let mut terms = Vec::new();
        let mut pieces = Vec::new();
        for run in runs(text) {
            if terms.len() >= most {
                break;
            }
            if run.chars().any(is_unspaced_script) {
                character_pairs(run, &mut terms);
                continue;
            }
            let run = fold_accents(run);
            pieces.clear();
            split(&run, &mut pieces);
            // Short names like `s3` are a term as a whole.
            let mixed =
                pieces.len() > 1 && run.len() <= 8 && run.bytes().any(|b| b.is_ascii_digit());
            if mixed {
                let word = run.to_lowercase();
                terms.push(Term { stem: word.clone(), word });
            }
            for word in &pieces {
                self.push_word(word, &mut terms);
            }
        }
        terms.truncate(most);
        terms
    }

    fn push_word(&mut self, word: &str, terms: &mut Vec<Term>) {
        let letters = word.chars().count();
        let number = word.chars().all(char::is_numeric);
        let too_short = letters < 2 && word.is_ascii();
        if number || letters > MAX_WORD || too_short || stop_words::is_stop_word(word) {
            return;
        }
        terms.push(Term { stem: self.stem(word), word: word.to_owned() });
    }

    fn stem(&mut self, word: &str) -> String {
        let stemmer = if word.is_ascii() {
            &self.english
        } else if word.chars().all(|c| matches!(u32::from(c), 0x0400..=0x04FF)) {
            &self.russian
        } else {
            return word.to_owned();
        };
        if let Some(known) = self.stems.get(word) {
            return known.clone();
        }
        let stem = stemmer.stem(word).into_owned();
        if self.stems.len() < MAX_CACHED_STEMS {
            self.stems.insert(word.to_owned(), stem.clone());
        }
        stem
    }
}

/// Removes the accents of Latin letters, and turns full-width characters into plain ones.
fn fold_accents(run: &str) -> String {
    if run.is_ascii() {
        return run.to_owned();
    }
    run.nfkd().filter(|&c| !matches!(u32::from(c), 0x0300..=0x036F)).nfc().collect()
}

fn character_pairs(run: &str, terms: &mut Vec<Term>) {
    let chars: Vec<char> = run.nfkc().flat_map(char::to_lowercase).collect();
    let mut push = |word: String| terms.push(Term { stem: word.clone(), word });
    if let [only] = chars.as_slice() {
        push(only.to_string());
    }
    for pair in chars.windows(2) {
        push(pair.iter().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(text: &str) -> Vec<String> {
        TermExtractor::default().extract(text, 100).into_iter().map(|term| term.stem).collect()
    }

    #[test]
    fn identifiers_split_at_case_digits_and_punctuation() {
        for (text, words) in [
            ("getHTTPResponse2_v1", "get http response 2 v 1"),
            ("list-pull_requests", "list pull requests"),
            ("math.factorial", "math factorial"),
            ("fetchURLs", "fetch urls"),
            ("GitHub/createIssue", "git hub create issue"),
            ("ÉtatDuServeur", "état du serveur"),
            ("", ""),
        ] {
            assert_eq!(identifier_phrase(text), words);
        }
    }

    #[test]
    fn prose_becomes_stems_without_stop_words_and_numbers() {
        assert_eq!(stems("Create the 3 pull requests, please!"), ["creat", "pull", "request"]);
        assert_eq!(stems("upload to S3"), ["upload", "s3"]);
        assert_eq!(stems("café naïve"), ["cafe", "naiv"]);
    }

    #[test]
    fn a_script_without_spaces_becomes_pairs_of_characters() {
        assert_eq!(stems("天気予報"), ["天気", "気予", "予報"]);
        assert_eq!(stems("水"), ["水"]);
        assert_eq!(
            stems("погоды погода").iter().collect::<std::collections::HashSet<_>>().len(),
            1
        );
    }

    #[test]
    fn a_text_over_the_bound_is_truncated() {
        let text = "weather forecast ".repeat(10_000);
        assert_eq!(TermExtractor::default().extract(&text, 512).len(), 512);
    }
}

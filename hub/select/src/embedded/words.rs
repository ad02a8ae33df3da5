//! Words of names and of prose: what the lexical index counts.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::embedded::stop;

/// Longest word that is looked at; a longer one is a token, a hash or an attack.
const LONGEST: usize = 48;

/// The words of an identifier, in lower case: `getHTTPResponse2_v1` is `get http response 2 v 1`.
pub fn identifier(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for run in runs(text) {
        split(run, &mut words);
    }
    words
}

/// The words of an identifier with one space between them.
pub fn spelled(text: &str) -> String {
    identifier(text).join(" ")
}

/// Runs of letters, digits and the marks on them.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(parts_words).filter(|run| !run.is_empty())
}

/// What stands between words.
pub fn parts_words(c: char) -> bool {
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

/// Splits where the case or letter and digit change: an acronym ends before the capital that starts the next word.
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

/// `URLs`: the small s belongs to the acronym.
fn is_plural(chars: &[char], i: usize) -> bool {
    chars.get(i + 1) == Some(&'s') && chars.get(i + 2).is_none_or(|c| !c.is_lowercase())
}

/// Scripts that put no space between words: their pairs of characters are the terms.
pub fn unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF   // Thai, Lao, Myanmar, Khmer
        | 0x3040..=0x30FF | 0x31F0..=0x31FF | 0xFF66..=0xFF9F // kana
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x323AF) // ideographs
}

/// Turns text into terms. Stems are remembered, as a catalog says the same words again and again.
pub struct Terms {
    english: Stemmer,
    russian: Stemmer,
    stems: HashMap<String, String>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            english: Stemmer::create(Algorithm::English),
            russian: Stemmer::create(Algorithm::Russian),
            stems: HashMap::new(),
        }
    }
}

/// A term: what is counted, and the word it came from (which the static table knows better than a stem).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What is counted.
    pub stem: String,
    /// As it was written, in lower case.
    pub word: String,
}

impl Terms {
    /// At most `most` terms of a text, stop words left out.
    pub fn of(&mut self, text: &str, most: usize) -> Vec<Term> {
        let mut terms = Vec::new();
        let mut pieces = Vec::new();
        for run in runs(text) {
            if terms.len() >= most {
                break;
            }
            if run.chars().any(unspaced) {
                pairs(run, &mut terms);
                continue;
            }
            let run = folded(run);
            pieces.clear();
            split(&run, &mut pieces);
            let mixed =
                pieces.len() > 1 && run.len() <= 8 && run.bytes().any(|b| b.is_ascii_digit());
            if mixed {
                let word = run.to_lowercase();
                terms.push(Term { stem: word.clone(), word });
            }
            for word in &pieces {
                self.word(word, &mut terms);
            }
        }
        terms.truncate(most);
        terms
    }

    fn word(&mut self, word: &str, terms: &mut Vec<Term>) {
        let letters = word.chars().count();
        let number = word.chars().all(char::is_numeric);
        if number || letters > LONGEST || (letters < 2 && word.is_ascii()) || stop::is_stop(word) {
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
        if self.stems.len() < 200_000 {
            self.stems.insert(word.to_owned(), stem.clone());
        }
        stem
    }
}

/// Latin letters without their accents, full-width forms as plain ones.
fn folded(run: &str) -> String {
    if run.is_ascii() {
        return run.to_owned();
    }
    run.nfkd().filter(|&c| !matches!(u32::from(c), 0x0300..=0x036F)).nfc().collect()
}

fn pairs(run: &str, terms: &mut Vec<Term>) {
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
        Terms::default().of(text, 100).into_iter().map(|term| term.stem).collect()
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
            assert_eq!(spelled(text), words);
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
    fn a_text_longer_than_the_bound_is_cut() {
        assert_eq!(Terms::default().of(&"weather forecast ".repeat(10_000), 512).len(), 512);
    }
}

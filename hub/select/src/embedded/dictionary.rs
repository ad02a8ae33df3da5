//! Translates prompts and tools of other languages into English, word by word. Most tools are
//! described in English, and the models were trained in it.

use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

use super::error::Error;
use super::stop_words;
use super::wordpiece::WordPiece;
use super::words::{is_separator, is_unspaced_script};

/// The start of the file. After it come the length of the English words' text, the number of
/// entries, the text, the keys and the values.
const MAGIC: &[u8] = b"MHDICT1\0";
/// The longest word that is looked up, in characters.
const MAX_WORD: usize = 24;
/// The longest word of a script without spaces, in characters.
const MAX_UNSPACED_WORD: usize = 8;
/// The most words of a prompt that are looked up; in scripts without spaces, characters. Later
/// stages do not read more of a prompt either.
const MAX_WORDS: usize = 512;
/// The value of a word that is English itself.
const ENGLISH: u16 = u16::MAX;

// When a prompt counts as another language, see `Translation::is_needed`. With these values, 30 of
// the 7,155 questions of the three training sets do, and all of these are in another language.

/// The least share of a prompt's letters that belong to translated words. Range: 0 to 1. The lower
/// it is, the more English prompts with foreign names are translated.
const MIN_FOREIGN_SHARE: f32 = 0.3;
/// The letters from which on an English word counts against a translation. Other languages share
/// shorter words with English.
const LONG_WORD: usize = 5;
/// The share of letters that English does not have, from which on a prompt is translated in any
/// case. Range: 0 to 1.
const MIN_NON_LATIN_SHARE: f32 = 0.3;

/// Words of other languages, by hash, and an English word for each.
pub(crate) struct Dictionary {
    english: Vec<&'static str>,
    /// The first four bytes of the SHA-256 of each word, sorted.
    keys: &'static [[u8; 4]],
    /// The position of the English word, or [`ENGLISH`].
    values: &'static [[u8; 2]],
}

impl Dictionary {
    /// Reads the content of `dictionary.bin`, which `train/dictionary.py` writes.
    pub(crate) fn read(bytes: &'static [u8]) -> Result<Self, Error> {
        let broken = || Error::Weights("dictionary.bin: not a dictionary".to_owned());
        let number = |bytes: &'static [u8]| {
            let (number, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
            Ok::<_, Error>((u32::from_le_bytes(*number) as usize, rest))
        };
        let (text, rest) = number(bytes.strip_prefix(MAGIC).ok_or_else(broken)?)?;
        let (entries, rest) = number(rest)?;
        let (text, rest) = rest.split_at_checked(text).ok_or_else(broken)?;
        let (keys, values) = rest.split_at_checked(entries.saturating_mul(4)).ok_or_else(broken)?;
        let english: Vec<_> = std::str::from_utf8(text).map_err(|_| broken())?.lines().collect();
        let (keys, values) = (keys.as_chunks().0, values.as_chunks::<2>().0);
        let known = |value: &[u8; 2]| {
            let value = u16::from_le_bytes(*value);
            value == ENGLISH || usize::from(value) < english.len()
        };
        if keys.len() != values.len() || !values.iter().all(known) {
            return Err(broken());
        }
        Ok(Self { english, keys, values })
    }

    /// The text with its words in other languages replaced by English ones. `None` if the text is
    /// English already. Names and other unknown words stay, unless they have letters that English
    /// does not have.
    pub(crate) fn to_english(&self, text: &str, pieces: &WordPiece) -> Option<String> {
        let text: String = text.nfkc().collect();
        let mut translation = Translation::default();
        for part in text.split_inclusive(is_separator) {
            let run = part.trim_end_matches(is_separator);
            self.translate_run(run, pieces, &mut translation);
            translation.text.push_str(&part[run.len()..]);
        }
        translation.is_needed().then_some(translation.text)
    }

    fn translate_run(&self, run: &str, pieces: &WordPiece, translation: &mut Translation) {
        if translation.looked_up >= MAX_WORDS || run.is_empty() {
            translation.text.push_str(run);
            return;
        }
        translation.looked_up += 1;
        let lower = run.to_lowercase();
        let letters = lower.chars().filter(|c| c.is_alphabetic()).count();
        translation.letters += letters;
        translation.non_latin +=
            lower.chars().filter(|&c| c.is_alphabetic() && !is_latin(c)).count();
        if lower.chars().any(is_unspaced_script) {
            self.translate_unspaced(&lower, translation);
            return;
        }
        let is_english = lower.is_ascii()
            && (pieces.rank(&lower).is_some() || self.value(&lower) == Some(ENGLISH));
        match self.translate_word(&lower).filter(|_| !is_english) {
            Some((word, rest)) => {
                translation.push_translated(word, letters);
                if let Some(rest) = rest {
                    translation.push(rest);
                }
            }
            None if lower.chars().all(|c| !c.is_alphabetic() || is_latin(c)) => {
                translation.stop_words +=
                    usize::from(stop_words::is_stop_word(&lower) && lower.len() > 1);
                translation.long_english +=
                    if is_english && letters >= LONG_WORD { letters } else { 0 };
                translation.text.push_str(run);
            }
            None => {}
        }
    }

    /// The translation of a word. If the dictionary does not have the word: the translation of its
    /// longest known start and, for a compound, of the rest.
    fn translate_word(&self, word: &str) -> Option<(&'static str, Option<&'static str>)> {
        if let Some(english) = self.get(word) {
            return Some((english, None));
        }
        let ends: Vec<usize> =
            word.char_indices().map(|(at, _)| at).chain([word.len()]).take(MAX_WORD).collect();
        let all = ends.len() - 1;
        // A Korean character is a whole syllable, so two of them can be a word.
        let least =
            if word.chars().all(|c| ('\u{AC00}'..='\u{D7A3}').contains(&c)) { 2 } else { 4 };
        (least..all).rev().find_map(|letters| {
            let (stem, rest) = word.split_at(ends[letters]);
            let rest = (all - letters >= least).then(|| self.get(rest)).flatten();
            // What is left must be an ending and not most of another word.
            let ending = letters * 10 >= all * 6 || least == 2;
            self.get(stem).filter(|_| ending || rest.is_some()).map(|stem| (stem, rest))
        })
    }

    /// Translates text of a script without spaces. Takes the longest known word from the left,
    /// again and again.
    fn translate_unspaced(&self, run: &str, translation: &mut Translation) {
        let mut rest = run;
        while let Some(first) = rest.chars().next().filter(|_| translation.looked_up < MAX_WORDS) {
            translation.looked_up += 1;
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).take(MAX_UNSPACED_WORD);
            let ends: Vec<usize> = ends.collect();
            let found =
                ends.iter().rev().find_map(|&end| self.get(&rest[..end]).map(|word| (end, word)));
            if let Some((end, word)) = found {
                translation.push_translated(word, rest[..end].chars().count());
                rest = &rest[end..];
            } else {
                if !is_unspaced_script(first) {
                    translation.text.push(first);
                }
                rest = &rest[first.len_utf8()..];
            }
        }
    }

    fn get(&self, word: &str) -> Option<&'static str> {
        self.value(word).and_then(|value| self.english.get(usize::from(value)).copied())
    }

    fn value(&self, word: &str) -> Option<u16> {
        let key = key(word);
        let at = self.keys.binary_search_by_key(&key, |bytes| u32::from_le_bytes(*bytes)).ok()?;
        Some(u16::from_le_bytes(self.values[at]))
    }
}

/// The translated text, and the counts that say whether the translation is needed.
#[derive(Default)]
struct Translation {
    text: String,
    /// Words, or characters in scripts without spaces.
    looked_up: usize,
    letters: usize,
    /// Letters of the translated words.
    translated_letters: usize,
    translated_words: usize,
    /// Letters that English does not have.
    non_latin: usize,
    /// English stop words.
    stop_words: usize,
    /// Letters of English words that have at least [`LONG_WORD`] letters.
    long_english: usize,
}

impl Translation {
    fn push_translated(&mut self, word: &str, letters: usize) {
        self.translated_letters += letters;
        self.translated_words += 1;
        self.push(word);
    }

    fn push(&mut self, word: &str) {
        if self.text.ends_with(char::is_alphanumeric) {
            self.text.push(' ');
        }
        self.text.push_str(word);
        self.text.push(' ');
    }

    /// Whether the text is in another language.
    fn is_needed(&self) -> bool {
        let reaches = |letters: usize, share: f32| letters as f32 >= share * self.letters as f32;
        // English may have borrowed a single word, so one is not enough.
        let by_words = self.translated_words > self.stop_words.max(1)
            && self.translated_letters > self.long_english
            && reaches(self.translated_letters, MIN_FOREIGN_SHARE);
        by_words || (self.translated_words > 0 && reaches(self.non_latin, MIN_NON_LATIN_SHARE))
    }
}

fn is_latin(c: char) -> bool {
    u32::from(c) < 0x0250 || ('\u{1E00}'..='\u{1EFF}').contains(&c)
}

fn key(word: &str) -> u32 {
    let hash = Sha256::digest(word.as_bytes());
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::weights::{DICTIONARY, VOCABULARY};

    fn english(prompt: &str) -> Option<String> {
        let pieces = WordPiece::new(VOCABULARY).unwrap();
        Dictionary::read(DICTIONARY).unwrap().to_english(prompt, &pieces)
    }

    #[test]
    fn a_prompt_in_another_language_gets_the_english_word_for_its_topic() {
        for (prompt, word) in [
            ("Wie wird das Wetter in Berlin morgen?", "weather"),
            ("¿Qué precio tiene el vuelo a Londres?", "price"),
            ("Переведи этот текст на французский", "text"),
            ("明天北京的天气怎么样？", "weather"),
            ("東京の天気を教えて", "weather"),
            ("내일 날씨 어때?", "weather"),
            ("พรุ่งนี้อากาศเป็นอย่างไร", "air"),
            ("Berapa harga saham hari ini?", "price"),
        ] {
            let translation = english(prompt).unwrap_or_default();
            assert!(translation.contains(word), "{prompt}: {translation}");
        }
    }

    #[test]
    fn an_english_prompt_is_not_translated_whatever_names_it_contains() {
        for prompt in [
            "Find a housekeeper in Bang Khen District, Bangkok",
            "Play Dil Nu by Maninder Buttar on Spotify",
            "Is there a table at Chez Panisse for Mr. Müller and Señora Núñez?",
            "createIssue in kubernetes-sigs/controller-runtime",
            "rename report.txt to final.txt",
            "List namespaces, configmaps and daemonsets",
            "translate 你好 to English, please, and say it to my friend",
            "",
            "?!",
            "42",
        ] {
            assert_eq!(english(prompt), None, "{prompt}");
        }
    }

    #[test]
    fn a_translation_keeps_names_numbers_and_sentence_ends() {
        let translation =
            english("Перенеси встречу Bob-123 на 4 ноября. Потом найди рейс в Oslo").unwrap();
        for text in ["Bob", "123", "4", "Oslo", ". "] {
            assert!(translation.contains(text), "{translation}");
        }
    }

    #[test]
    fn only_the_start_of_a_huge_prompt_is_translated() {
        for (prompt, least) in
            [("wetter ", MAX_WORDS), ("天气", MAX_WORDS - 2), ("天气 ", MAX_WORDS / 2)]
        {
            let translation = english(&prompt.repeat(100_000)).unwrap();
            let found = translation.matches("weather").count();
            assert!((least..=MAX_WORDS).contains(&found), "{prompt}: {found}");
        }
    }

    #[test]
    fn a_truncated_dictionary_is_an_error() {
        for end in [0, 7, 12, 100, DICTIONARY.len() - 1] {
            assert!(Dictionary::read(&DICTIONARY[..end]).is_err(), "{end}");
        }
    }
}

//! Other languages, word by word: what a prompt says in them, in the English that tools are mostly described in.

use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

use crate::embedded::models::Error;
use crate::embedded::stop;
use crate::embedded::wordpiece::WordPiece;
use crate::embedded::words::{parts_words, unspaced};

/// What the bytes begin with; after it the length of the English words' text, the number of entries, the text, the keys
/// and the values.
const MAGIC: &[u8] = b"MHDICT1\0";
/// Longest word that is looked at, in characters.
const LONGEST: usize = 24;
/// Longest word of a script without spaces, in characters.
const UNSPACED: usize = 8;
/// Words of a prompt that are looked at, or characters where there are no spaces: what is past them is not read anyway.
const MOST: usize = 512;
/// What stands for a word in place of another that it means: it is English.
const ENGLISH: u16 = u16::MAX;
/// A prompt is in another language when so much of it, by letters, is known to be, …
const SHARE: f32 = 0.3;
/// … and more than of English words of so many letters …
const LONG: usize = 5;
/// … or is written in letters that English does not have.
const LETTERS: f32 = 0.3;

/// Words of other languages, by hash, and what each means.
pub struct Dictionary {
    english: Vec<&'static str>,
    /// Sorted, four bytes each.
    keys: &'static [[u8; 4]],
    /// Which of the English words, two bytes each.
    values: &'static [[u8; 2]],
}

impl Dictionary {
    /// Reads what `train/dictionary.py` wrote.
    pub fn read(bytes: &'static [u8]) -> Result<Self, Error> {
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

    /// The prompt with English words for those that it has in other languages; `None` where it is English already.
    /// Names and what is not known stay, but for letters that English does not have.
    pub fn english(&self, prompt: &str, pieces: &WordPiece) -> Option<String> {
        let prompt: String = prompt.nfkc().collect();
        let mut told = Told::default();
        for part in prompt.split_inclusive(parts_words) {
            let run = part.trim_end_matches(parts_words);
            self.run(run, pieces, &mut told);
            told.text.push_str(&part[run.len()..]);
        }
        told.is_other().then_some(told.text)
    }

    fn run(&self, run: &str, pieces: &WordPiece, told: &mut Told) {
        if told.looked >= MOST || run.is_empty() {
            told.text.push_str(run);
            return;
        }
        told.looked += 1;
        let lower = run.to_lowercase();
        let letters = lower.chars().filter(|c| c.is_alphabetic()).count();
        told.letters += letters;
        told.unlike += lower.chars().filter(|&c| c.is_alphabetic() && !is_latin(c)).count();
        if lower.chars().any(unspaced) {
            self.cut(&lower, told);
            return;
        }
        let is_english = lower.is_ascii()
            && (pieces.rank(&lower).is_some() || self.value(&lower) == Some(ENGLISH));
        match self.word(&lower).filter(|_| !is_english) {
            Some((word, rest)) => {
                told.known(word, letters);
                if let Some(rest) = rest {
                    told.push(rest);
                }
            }
            None if lower.chars().all(|c| !c.is_alphabetic() || is_latin(c)) => {
                told.english += usize::from(stop::is_stop(&lower) && lower.len() > 1);
                told.long += if is_english && letters >= LONG { letters } else { 0 };
                told.text.push_str(run);
            }
            None => {}
        }
    }

    /// A word, or what it begins with and, of a compound, what comes after it.
    fn word(&self, word: &str) -> Option<(&'static str, Option<&'static str>)> {
        if let Some(english) = self.get(word) {
            return Some((english, None));
        }
        let ends: Vec<usize> =
            word.char_indices().map(|(at, _)| at).chain([word.len()]).take(LONGEST).collect();
        let all = ends.len() - 1;
        // A syllable of Korean is a character.
        let least =
            if word.chars().all(|c| ('\u{AC00}'..='\u{D7A3}').contains(&c)) { 2 } else { 4 };
        (least..all).rev().find_map(|letters| {
            let (stem, rest) = word.split_at(ends[letters]);
            let rest = (all - letters >= least).then(|| self.get(rest)).flatten();
            // What is left over is an ending, not most of another word.
            let ending = letters * 10 >= all * 6 || least == 2;
            self.get(stem).filter(|_| ending || rest.is_some()).map(|stem| (stem, rest))
        })
    }

    /// The longest words first, from the left.
    fn cut(&self, run: &str, told: &mut Told) {
        let mut rest = run;
        while let Some(first) = rest.chars().next().filter(|_| told.looked < MOST) {
            told.looked += 1;
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).take(UNSPACED);
            let ends: Vec<usize> = ends.collect();
            let found =
                ends.iter().rev().find_map(|&end| self.get(&rest[..end]).map(|word| (end, word)));
            if let Some((end, word)) = found {
                told.known(word, rest[..end].chars().count());
                rest = &rest[end..];
            } else {
                if !unspaced(first) {
                    told.text.push(first);
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

/// What is found of a prompt.
#[derive(Default)]
struct Told {
    text: String,
    /// Words, and characters where there are no spaces.
    looked: usize,
    letters: usize,
    /// Of them those of words that are known.
    found: usize,
    words: usize,
    /// Letters that English does not have.
    unlike: usize,
    /// Words that only say that it is English.
    english: usize,
    /// Letters of English words that other languages are not likely to have too.
    long: usize,
}

impl Told {
    fn known(&mut self, word: &str, letters: usize) {
        self.found += letters;
        self.words += 1;
        self.push(word);
    }

    fn push(&mut self, word: &str) {
        if self.text.ends_with(char::is_alphanumeric) {
            self.text.push(' ');
        }
        self.text.push_str(word);
        self.text.push(' ');
    }

    fn is_other(&self) -> bool {
        let of_all = |letters: usize, share: f32| letters as f32 >= share * self.letters as f32;
        // One word that English may have borrowed says nothing.
        let words =
            self.words > self.english.max(1) && self.found > self.long && of_all(self.found, SHARE);
        words || (self.words > 0 && of_all(self.unlike, LETTERS))
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
    use crate::embedded::models::{DICTIONARY, VOCABULARY};

    fn english(prompt: &str) -> Option<String> {
        let pieces = WordPiece::new(VOCABULARY).unwrap();
        Dictionary::read(DICTIONARY).unwrap().english(prompt, &pieces)
    }

    #[test]
    fn a_prompt_in_another_language_says_in_english_what_it_is_about() {
        for (prompt, said) in [
            ("Wie wird das Wetter in Berlin morgen?", "weather"),
            ("¿Qué precio tiene el vuelo a Londres?", "price"),
            ("Переведи этот текст на французский", "text"),
            ("明天北京的天气怎么样？", "weather"),
            ("東京の天気を教えて", "weather"),
            ("내일 날씨 어때?", "weather"),
            ("พรุ่งนี้อากาศเป็นอย่างไร", "air"),
            ("Berapa harga saham hari ini?", "price"),
        ] {
            let told = english(prompt).unwrap_or_default();
            assert!(told.contains(said), "{prompt}: {told}");
        }
    }

    #[test]
    fn a_prompt_in_english_stays_as_it_is_whatever_names_are_in_it() {
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
    fn names_and_numbers_stay_and_parts_of_a_prompt_stay_apart() {
        let told =
            english("Перенеси встречу Bob-123 на 4 ноября. Потом найди рейс в Oslo").unwrap();
        assert!(["Bob", "123", "4", "Oslo", ". "].iter().all(|kept| told.contains(kept)), "{told}");
    }

    #[test]
    fn of_a_prompt_without_end_only_the_start_is_looked_at() {
        for (prompt, least) in [("wetter ", MOST), ("天气", MOST - 2), ("天气 ", MOST / 2)] {
            let told = english(&prompt.repeat(100_000)).unwrap();
            let found = told.matches("weather").count();
            assert!((least..=MOST).contains(&found), "{prompt}: {found}");
        }
    }

    #[test]
    fn what_is_no_dictionary_is_an_error() {
        for end in [0, 7, 12, 100, DICTIONARY.len() - 1] {
            assert!(Dictionary::read(&DICTIONARY[..end]).is_err(), "{end}");
        }
    }
}

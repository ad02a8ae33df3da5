//! Whether two words are the same word, written differently.

use std::borrow::Cow;

/// In shorter options one letter changes the meaning, as in `ms` and `s`, or `up` and `us`. They
/// are never a typo.
const MIN_TYPO_LENGTH: usize = 3;

/// The letters and digits of a word in lower case, which are the same in camel, kebab and snake
/// case.
pub(super) fn normalized(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Which of several options a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordMatch<'a> {
    One(&'a str),
    Ambiguous,
}

impl<'a> WordMatch<'a> {
    pub(super) fn unambiguous(self) -> Option<&'a str> {
        match self {
            Self::One(option) => Some(option),
            Self::Ambiguous => None,
        }
    }
}

/// The option that equals the word except for case or one letter; `None` if there is none.
pub(super) fn best_match<'a>(word: &str, options: &[&'a str]) -> Option<WordMatch<'a>> {
    let one_of = |fits: &dyn Fn(&str) -> bool| {
        let mut found = options.iter().copied().filter(|option| fits(option));
        match (found.next(), found.next()) {
            (None, _) => None,
            (Some(one), None) => Some(WordMatch::One(one)),
            (Some(_), Some(_)) => Some(WordMatch::Ambiguous),
        }
    };
    let folded = word.to_lowercase();
    one_of(&|option| option.to_lowercase() == folded)
        .or_else(|| one_of(&|option| is_typo(word, option)))
}

/// The only option that a word can mean; see [`best_match`].
pub(crate) fn closest_word<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    best_match(word, options).and_then(WordMatch::unambiguous)
}

/// Whether one letter was added, removed or replaced. A digit is not a letter: `v1` is not a typo
/// of `v2`.
fn is_typo(word: &str, option: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (word.chars().collect(), option.chars().collect());
    if b.len() < MIN_TYPO_LENGTH || a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let most = a.len().min(b.len()) - start;
    let end = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let differs =
        |word: &[char]| word.get(start..word.len() - end).map(<[char]>::to_vec).unwrap_or_default();
    let (a, b) = (differs(&a), differs(&b));
    a.len() <= 1 && b.len() <= 1 && a != b && !a.iter().chain(&b).any(char::is_ascii_digit)
}

/// The number in a string, if the conversion loses nothing. A number that a double cannot represent
/// exactly stays a string, and so does one in an unusual notation (`007`).
pub(super) fn number(content: &str, integer: bool) -> Option<&str> {
    const SAFE: i64 = 1 << 53;
    const DIGITS: usize = 15;
    let unsigned = content.strip_prefix('-').unwrap_or(content);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if unsigned.chars().all(|c| c.is_ascii_digit()) {
        let value: i64 = content.parse().ok()?;
        let canonical = value.to_string() == content || content == "-0";
        return (canonical && (-SAFE..=SAFE).contains(&value)).then_some(content);
    }
    let digits = unsigned
        .chars()
        .take_while(|c| !matches!(c, 'e' | 'E'))
        .filter(char::is_ascii_digit)
        .count();
    let is_json = serde_json::from_str::<f64>(content).is_ok_and(f64::is_finite);
    (!integer && digits <= DIGITS && is_json).then_some(content)
}

/// The boolean in a string.
pub(super) fn boolean(content: &str) -> Option<&'static str> {
    match content {
        "true" | "True" | "TRUE" => Some("true"),
        "false" | "False" | "FALSE" => Some("false"),
        _ => None,
    }
}

/// Whether a string may itself stand for a list or an object. Then it is unclear whether it is one
/// item.
pub(super) fn may_be_many(content: &str) -> bool {
    let content: Cow<'_, str> = content.trim().into();
    content.is_empty() || content.starts_with(['[', '{']) || content.contains([',', ';', '|', '\n'])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::case("READ", Some(WordMatch::One("read")))]
    #[case::a_letter_removed("wrte", Some(WordMatch::One("write")))]
    #[case::a_letter_added("writee", Some(WordMatch::One("write")))]
    #[case::a_letter_replaced("wribe", Some(WordMatch::One("write")))]
    #[case::two_fit("ree", Some(WordMatch::Ambiguous))]
    #[case::two_letters("wrt", None)]
    #[case::a_digit("v3", None)]
    #[case::short("x", None)]
    fn a_word_with_another_case_or_one_wrong_letter_matches_the_only_option_like_it(
        #[case] word: &str,
        #[case] expected: Option<WordMatch<'_>>,
    ) {
        let options = ["read", "reed", "reel", "write", "v1", "v2", "ms"];
        assert_eq!(best_match(word, &options), expected);
    }

    #[rstest]
    #[case("5", true, true)]
    #[case("-12", true, true)]
    #[case("0", true, true)]
    #[case("5.0", true, false)]
    #[case("5.25", false, true)]
    #[case("1e3", false, true)]
    #[case("007", false, false)]
    #[case("+5", false, false)]
    #[case(" 5", false, false)]
    #[case("0x10", false, false)]
    #[case("1,000", false, false)]
    #[case("NaN", false, false)]
    #[case("1e400", false, false)]
    #[case(".5", false, false)]
    #[case("12345678901234567890", true, false)]
    #[case("0.12345678901234567", false, false)]
    fn a_string_is_converted_to_a_number_only_if_nothing_is_lost(
        #[case] content: &str,
        #[case] integer: bool,
        #[case] is: bool,
    ) {
        assert_eq!(number(content, integer).is_some(), is);
    }

    #[rstest]
    #[case("maxResults", "max_results")]
    #[case("MaxResults", "max-results")]
    #[case("max results", "MAX_RESULTS")]
    fn camel_kebab_and_snake_case_of_a_word_are_equal(#[case] a: &str, #[case] b: &str) {
        assert_eq!(normalized(a), normalized(b));
    }
}

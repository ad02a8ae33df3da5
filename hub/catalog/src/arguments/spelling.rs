//! When two words are the same one, written differently.

use std::borrow::Cow;

/// Shorter options are never taken for a typo: in `ms` and `s`, `up` and `us`, a letter is the meaning.
const SHORTEST_WITH_TYPO: usize = 3;

/// The word without what cases, kebabs and snakes differ in. Empty where nothing is left.
pub(super) fn normalized(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Which of the options a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant<'a> {
    /// This one and no other.
    One(&'a str),
    /// More than one fits.
    Ambiguous,
}

impl<'a> Meant<'a> {
    /// The one option.
    pub(super) fn one(self) -> Option<&'a str> {
        match self {
            Self::One(option) => Some(option),
            Self::Ambiguous => None,
        }
    }
}

/// The option that is meant; `None` where none fits.
pub(super) fn meant<'a>(word: &str, options: &[&'a str]) -> Option<Meant<'a>> {
    let one_of = |fits: &dyn Fn(&str) -> bool| {
        let mut found = options.iter().copied().filter(|option| fits(option));
        match (found.next(), found.next()) {
            (None, _) => None,
            (Some(one), None) => Some(Meant::One(one)),
            (Some(_), Some(_)) => Some(Meant::Ambiguous),
        }
    };
    let folded = word.to_lowercase();
    one_of(&|option| option.to_lowercase() == folded)
        .or_else(|| one_of(&|option| is_typo(word, option)))
}

/// Whether one letter was added, lost or mistaken. Digits are no letters: `v1` is not a typo of `v2`.
fn is_typo(word: &str, option: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (word.chars().collect(), option.chars().collect());
    if b.len() < SHORTEST_WITH_TYPO || a.len().abs_diff(b.len()) > 1 {
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

/// The number that a string holds, for a schema that wants one. Nothing is lost: what a double cannot hold exactly, and
/// what is written as no number is (`007`), stays a string.
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

/// The boolean that a string holds.
pub(super) fn boolean(content: &str) -> Option<&'static str> {
    match content {
        "true" | "True" | "TRUE" => Some("true"),
        "false" | "False" | "FALSE" => Some("false"),
        _ => None,
    }
}

/// Whether the content of a string may itself stand for a list or an object: then nobody knows if it is one item.
pub(super) fn may_be_many(content: &str) -> bool {
    let content: Cow<'_, str> = content.trim().into();
    content.is_empty() || content.starts_with(['[', '{']) || content.contains([',', ';', '|', '\n'])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::case("READ", Some(Meant::One("read")))]
    #[case::a_letter_lost("wrte", Some(Meant::One("write")))]
    #[case::a_letter_more("writee", Some(Meant::One("write")))]
    #[case::a_letter_mistaken("wribe", Some(Meant::One("write")))]
    #[case::two_fit("ree", Some(Meant::Ambiguous))]
    #[case::two_letters("wrt", None)]
    #[case::a_digit("v3", None)]
    #[case::short("x", None)]
    fn one_letter_or_case_is_forgiven_where_one_option_fits(
        #[case] word: &str,
        #[case] meant: Option<Meant<'_>>,
    ) {
        assert_eq!(super::meant(word, &["read", "reed", "reel", "write", "v1", "v2", "ms"]), meant);
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
    fn a_string_is_a_number_only_where_nothing_is_lost(
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
    fn cases_kebabs_and_snakes_of_a_word_are_one(#[case] a: &str, #[case] b: &str) {
        assert_eq!(normalized(a), normalized(b));
    }
}

//! Splits a prompt into clauses. "find the film, then book a seat" needs two tools, and each of its
//! clauses is compared with the tools by itself.

/// The most clauses of a prompt. The last one has the rest of the prompt.
const MAX_CLAUSES: usize = 12;
/// A clause that is shorter than this, in bytes, is joined with the next one. It is too short to
/// ask for anything.
const MIN_BYTES: usize = 12;
/// What separates clauses, besides the ends of sentences. Earlier entries take precedence.
const SEPARATORS: [&str; 14] = [
    ", and then ",
    ", then ",
    " and then ",
    ", and ",
    ", and also ",
    " and also ",
    "; ",
    " after that",
    "\n",
    ", finally ",
    ", lastly ",
    ", next ",
    ", also ",
    " as well as ",
];

/// The clauses of a prompt. There is at least one.
pub(crate) fn split(prompt: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < prompt.len() && clauses.len() + 1 < MAX_CLAUSES {
        let rest = &prompt[at..];
        let separator = separator_length(rest);
        if separator > 0 && at - start >= MIN_BYTES && rest.len() - separator >= MIN_BYTES {
            clauses.push(prompt[start..at].trim());
            start = at + separator;
        }
        at += separator.max(rest.chars().next().map_or(1, char::len_utf8));
    }
    clauses.push(prompt[start..].trim());
    clauses
}

/// The length of the separator that `rest` starts with, or 0.
fn separator_length(rest: &str) -> usize {
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some('.' | '!' | '?'), Some(next)) if next.is_whitespace() => 1,
        (Some(c @ ('。' | '！' | '？')), _) => c.len_utf8(),
        _ => SEPARATORS.iter().find(|s| rest.starts_with(**s)).map_or(0, |s| s.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_asks_for_two_things_has_two_clauses() {
        assert_eq!(
            split("Find the film Inception, then book two seats"),
            ["Find the film Inception", "book two seats"]
        );
        assert_eq!(
            split("I am in Oslo. What is the weather?"),
            ["I am in Oslo", "What is the weather?"]
        );
        assert_eq!(
            split("天気を教えてください。予定を追加してください"),
            ["天気を教えてください", "予定を追加してください"]
        );
    }

    #[test]
    fn short_phrases_and_decimal_points_do_not_split_a_prompt() {
        for one in ["Hi, and you?", "Is 3.5 above the mean of the table", "", "e.g. x"] {
            assert_eq!(split(one), [one]);
        }
    }

    #[test]
    fn the_last_clause_has_the_rest_of_a_prompt_of_many_clauses() {
        assert_eq!(split(&"one two three. ".repeat(1_000)).len(), MAX_CLAUSES);
    }
}

//! The parts of a prompt that ask for one thing each: "find the film, then book a seat" needs two tools.

/// Most parts; what follows belongs to the last.
const MOST: usize = 12;
/// Shortest part, in bytes: a shorter one belongs to the next.
const SHORT: usize = 12;
/// What ends a part, beside the ends of sentences.
const SEAMS: [&str; 14] = [
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

/// The parts of a prompt; a prompt that asks for one thing has one.
pub fn of(prompt: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < prompt.len() && parts.len() + 1 < MOST {
        let rest = &prompt[at..];
        let seam = seam(rest);
        if seam > 0 && at - start >= SHORT && rest.len() - seam >= SHORT {
            parts.push(prompt[start..at].trim());
            start = at + seam;
        }
        at += seam.max(rest.chars().next().map_or(1, char::len_utf8));
    }
    parts.push(prompt[start..].trim());
    parts
}

/// Length of what ends a part at the start of `rest`, or 0.
fn seam(rest: &str) -> usize {
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some('.' | '!' | '?'), Some(next)) if next.is_whitespace() => 1,
        (Some(c @ ('。' | '！' | '？')), _) => c.len_utf8(),
        _ => SEAMS.iter().find(|seam| rest.starts_with(**seam)).map_or(0, |seam| seam.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_asks_for_two_things_has_two_parts() {
        assert_eq!(
            of("Find the film Inception, then book two seats"),
            ["Find the film Inception", "book two seats"]
        );
        assert_eq!(
            of("I am in Oslo. What is the weather?"),
            ["I am in Oslo", "What is the weather?"]
        );
        assert_eq!(
            of("天気を教えてください。予定を追加してください"),
            ["天気を教えてください", "予定を追加してください"]
        );
    }

    #[test]
    fn short_parts_and_numbers_do_not_cut() {
        for one in ["Hi, and you?", "Is 3.5 above the mean of the table", "", "e.g. x"] {
            assert_eq!(of(one), [one]);
        }
    }

    #[test]
    fn a_prompt_of_many_parts_keeps_the_rest_in_the_last() {
        assert_eq!(of(&"one two three. ".repeat(1_000)).len(), MOST);
    }
}

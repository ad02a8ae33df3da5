//! Patterns on names. `*` matches any text, `?` any one character, and every other character
//! itself.

/// Whether the pattern matches the whole name.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // where to resume after the last star: in pattern and name
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == '?' || Some(&c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, star_end)) => {
                    retry = Some((after_star, star_end + 1));
                    p = after_star;
                    n = star_end + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

pub(crate) fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("*", "", true)]
    #[case("read_*", "read_file", true)]
    #[case("read_*", "reader", false)]
    #[case("*_file", "read_a_file", true)]
    #[case("r*d*e", "read_file", true)]
    #[case("get?", "gets", true)]
    #[case("get?", "get", false)]
    #[case("", "x", false)]
    #[case("a.c", "abc", false)]
    fn patterns_match_whole_names(
        #[case] pattern: &str,
        #[case] name: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(matches(pattern, name), expected);
    }

    // A backtracking matcher would take years for this.
    #[test]
    fn many_stars_do_not_take_exponential_time() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }
}

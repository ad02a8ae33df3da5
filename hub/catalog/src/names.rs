//! The names that clients see.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// Longest exposed name. Vendors refuse names over 64 characters, and some add a prefix of their
/// own.
const MAX_NAME: usize = 48;
const SEPARATOR: &str = "__";
/// The prefix of the hub's own tools. No server may have it.
pub const RESERVED_PREFIX: &str = "hub";

const HASH_CHARS: usize = 6;

/// The exposed name of a tool: `prefix__tool`, or `tool` without a prefix. Characters that vendors
/// refuse become `_`. A name that is too long is cut and ends in a hash of the whole name.
pub fn exposed(prefix: Option<&str>, tool: &str) -> String {
    let whole =
        prefix.map_or_else(|| tool.to_owned(), |prefix| format!("{prefix}{SEPARATOR}{tool}"));
    let clean = sanitized(&whole);
    if clean.len() <= MAX_NAME { clean } else { hashed(&clean, &whole, 0) }
}

/// Unique exposed names. If two tools would have the same name, that of the later one ends in a
/// hash.
pub(crate) fn exposed_unique<'a>(
    tools: impl Iterator<Item = (Option<&'a str>, &'a str)>,
) -> Vec<String> {
    let mut taken = HashSet::new();
    tools
        .map(|(prefix, tool)| {
            let first = exposed(prefix, tool);
            let others = (0..).map(|salt| {
                hashed(&first, &format!("{}{SEPARATOR}{tool}", prefix.unwrap_or("")), salt)
            });
            let free =
                std::iter::once(first.clone()).chain(others).find(|name| !taken.contains(name));
            let name = free.unwrap_or(first); // the iterator has no end
            taken.insert(name.clone());
            name
        })
        .collect()
}

/// Replaces all characters that vendors refuse in a tool's name.
pub(crate) fn sanitized(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' })
        .collect();
    if clean.is_empty() { "_".into() } else { clean }
}

fn hashed(clean: &str, whole: &str, salt: u32) -> String {
    let digest = Sha256::new().chain_update(whole).chain_update(salt.to_be_bytes()).finalize();
    let head: String = clean.chars().take(MAX_NAME - HASH_CHARS - 1).collect();
    let [a, b, c, ..] = <[u8; 32]>::from(digest);
    format!("{head}_{a:02x}{b:02x}{c:02x}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_name_is_prefix_and_tool() {
        assert_eq!(exposed(Some("files"), "read_file"), "files__read_file");
        assert_eq!(exposed(None, "read_file"), "read_file");
        assert_eq!(exposed(Some("files"), "read.file/ü"), "files__read_file__");
    }

    // Clients store names in prompts, allowlists and transcripts, so a new build must not rename
    // tools.
    #[test]
    fn long_names_are_pinned() {
        let long =
            exposed(Some("github"), "a_tool_with_a_name_that_goes_on_and_on_and_on_for_ever");
        assert_eq!(long, "github__a_tool_with_a_name_that_goes_on_a_6da22c");
        assert_eq!(long.len(), MAX_NAME);
    }

    #[test]
    fn the_later_of_two_equal_names_ends_in_a_hash() {
        let names = exposed_unique([(Some("a"), "x.y"), (Some("a"), "x_y")].into_iter());
        assert_eq!(names, ["a__x_y", "a__x_y_8bae7a"]);
    }

    proptest! {
        #[test]
        fn names_are_valid_unique_and_deterministic(tools in prop::collection::vec(("[a-z]{1,30}",
            "\\PC{0,80}"), 0..40)) {
            let run = || exposed_unique(tools.iter().map(|(prefix, tool)| (Some(prefix.as_str()),
                tool.as_str())));
            let names = run();
            prop_assert_eq!(&names, &run());
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
            for name in &names {
                prop_assert!((1..=MAX_NAME).contains(&name.len()), "{}", name);
                prop_assert_eq!(&sanitized(name), name);
            }
        }
    }
}

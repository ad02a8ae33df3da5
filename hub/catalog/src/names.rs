//! The names that clients see.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// Longest exposed name. Vendors refuse names over 64 characters, and some add a prefix of their
/// own.
const MAX_NAME: usize = 48;
const SEPARATOR: &str = "__";
/// The prefix of the hub's own tools. No server may have it.
pub const RESERVED_PREFIX: &str = "hub";

const HASH_CHARS: usize = 6;
/// Longest prefix, so that there is room for the tool's name.
const MAX_PREFIX: usize = 24;

/// What the exposed name of a tool is made of.
#[derive(Debug, Clone, Copy)]
pub struct NameParts<'a> {
    /// The prefix of its server.
    pub prefix: Option<&'a str>,
    /// Its name without prefix: the server's own, or what the config renames it to.
    pub bare: &'a str,
    /// The server's own name for it.
    pub own: &'a str,
}

/// The exposed name of a tool: `prefix__tool`, or `tool` without a prefix.
///
/// Characters that vendors refuse become `_`. A name that lost something, that is too long or that
/// looks as if it had a hash ends in a hash of the whole name. It depends on nothing else, so
/// whatever else a server lists, the name never means another tool.
pub fn exposed(prefix: Option<&str>, tool: &str) -> String {
    let whole =
        prefix.map_or_else(|| tool.to_owned(), |prefix| format!("{prefix}{SEPARATOR}{tool}"));
    let clean = not_reserved(sanitized(&whole));
    let plain = clean == whole && clean.len() <= MAX_NAME && !ends_in_hash(&clean);
    if plain { clean } else { hashed(&clean, &whole, 0) }
}

/// Unique exposed names. All tools that would have the same name end in a hash, because it must not
/// matter which server listed first.
pub(crate) fn exposed_unique<'a>(tools: impl Iterator<Item = NameParts<'a>>) -> Vec<String> {
    let tools: Vec<NameParts<'_>> = tools.collect();
    let mut names: Vec<String> = tools.iter().map(|tool| exposed(tool.prefix, tool.bare)).collect();
    // Two hashes may be equal too. Each round takes another salt.
    for salt in 0.. {
        let mut uses: HashMap<&str, u32> = HashMap::new();
        for name in &names {
            *uses.entry(name).or_default() += 1;
        }
        let shared: Vec<bool> = names
            .iter()
            .map(|name| uses.get(name.as_str()).is_some_and(|&uses| uses > 1))
            .collect();
        if !shared.contains(&true) {
            break;
        }
        for ((name, tool), _) in
            names.iter_mut().zip(&tools).zip(shared).filter(|(_, shared)| *shared)
        {
            // The parts are separated by what no prefix has, so that no two tools have one text.
            let prefix = tool.prefix.unwrap_or_default();
            let whole = format!("{prefix}\0{}\0{}", tool.bare, tool.own);
            *name = hashed(&exposed(tool.prefix, tool.bare), &whole, salt);
        }
    }
    names
}

/// The prefix of a server that has none in its config: its name, as a valid prefix.
pub(crate) fn default_prefix(server: &str) -> String {
    let clean = sanitized(server);
    let parts: Vec<&str> = clean.split('_').filter(|part| !part.is_empty()).collect();
    let joined: String = parts.join("_").chars().take(MAX_PREFIX).collect();
    let prefix = joined.trim_end_matches('_');
    if prefix.is_empty() { "server".into() } else { prefix.into() }
}

/// Why a text cannot be a prefix. The end of a prefix must be visible in every exposed name, or two
/// servers could have tools of one name.
pub(crate) fn prefix_error(prefix: &str) -> Option<String> {
    if prefix == RESERVED_PREFIX {
        Some(format!("\"{prefix}\" is reserved for the hub's own tools; choose another"))
    } else if prefix != sanitized(prefix) || prefix.len() > MAX_PREFIX {
        Some(format!("\"{prefix}\" is not 1 to {MAX_PREFIX} of A-Z a-z 0-9 _ -"))
    } else if prefix.contains(SEPARATOR) || prefix.ends_with('_') {
        Some(format!(
            "\"{prefix}\" contains __ or ends in _, but __ separates a prefix from a tool's name; \
             choose another"
        ))
    } else {
        None
    }
}

/// The name without the separator after the hub's own prefix.
fn not_reserved(clean: String) -> String {
    match clean.strip_prefix(RESERVED_PREFIX).filter(|rest| rest.starts_with(SEPARATOR)) {
        Some(rest) => format!("{RESERVED_PREFIX}-{}", rest.trim_start_matches('_')),
        None => clean,
    }
}

fn ends_in_hash(name: &str) -> bool {
    name.rsplit_once('_').is_some_and(|(_, end)| {
        end.len() == HASH_CHARS && end.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
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
    // The hash of `hub_` must not make it one of the hub's own names.
    let head = if head == "hub_" { "hub-" } else { &head };
    format!("{head}_{a:02x}{b:02x}{c:02x}")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;

    // A server could otherwise list a tool that looks like one of the hub.
    #[test]
    fn no_hash_makes_a_name_one_of_the_hub_s_own() {
        for tool in ["hub?", "hub.", "hub_\u{e9}", "hub__find_tools"] {
            let name = exposed(None, tool);
            assert!(!name.starts_with("hub__"), "{tool} is {name}");
        }
    }

    #[test]
    fn a_short_name_is_prefix_and_tool() {
        assert_eq!(exposed(Some("files"), "read_file"), "files__read_file");
        assert_eq!(exposed(None, "read_file"), "read_file");
    }

    #[test]
    fn a_name_that_lost_characters_ends_in_a_hash_whatever_else_there_is() {
        let dotted = exposed(Some("files"), "read.file");
        assert!(dotted.starts_with("files__read_file_") && ends_in_hash(&dotted), "{dotted}");
        assert_ne!(exposed(Some("s"), "查询"), exposed(Some("s"), "天气"));
        let imitation = exposed(None, &dotted);
        assert!(imitation != dotted, "{imitation} has to differ from what it imitates");
    }

    #[test]
    fn no_name_of_a_server_starts_with_the_prefix_of_the_hub() {
        for tool in ["hub__find_tools", "hub.:x", "hub___x", "hub__"] {
            let name = exposed(None, tool);
            assert!(!name.starts_with("hub__") && ends_in_hash(&name), "{name}");
        }
    }

    #[test]
    fn a_prefix_shows_where_it_ends() {
        for prefix in ["a__b", "a_", "hub", "", "a.b"] {
            assert!(prefix_error(prefix).is_some(), "{prefix}");
        }
        for server in ["my  server_", "查询", "a__b", "_x", "aaaaaaaaaaaaaaaaaaaaaaa_b"] {
            let prefix = default_prefix(server);
            assert_eq!(prefix_error(&prefix), None, "{prefix}");
        }
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
    fn all_of_several_equal_names_end_in_a_hash_of_their_own() {
        let part = |own| NameParts { prefix: Some("a"), bare: "x", own };
        let names = exposed_unique([part("x"), part("y")].into_iter());
        assert!(names.iter().all(|name| ends_in_hash(name)), "{names:?}");
        let other_order = exposed_unique([part("y"), part("x")].into_iter());
        assert_eq!(names, other_order.into_iter().rev().collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn names_are_valid_unique_and_deterministic(tools in prop::collection::vec(("[a-z]{1,30}",
            "\\PC{0,80}"), 0..40)) {
            let tools: BTreeSet<_> = tools.into_iter().collect();
            let run = || exposed_unique(tools.iter().map(|(prefix, tool)| NameParts {
                prefix: Some(prefix), bare: tool, own: tool }));
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

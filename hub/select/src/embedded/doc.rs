//! A tool as the index reads it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::embedded::words;

/// Most parameters of one tool that are read, nested ones included.
const PARAMETERS: usize = 64;
/// Deepest nesting of parameters that is read.
const DEPTH: usize = 4;
/// Most values of one enum that are read.
const VALUES: usize = 16;
/// Most bytes of one text that are read: what is past it says nothing new.
const TEXT: usize = 8 * 1024;

/// A tool: what a prompt is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doc<'a> {
    /// Name of its server, may be empty.
    pub server: &'a str,
    /// Name, without the server's.
    pub name: &'a str,
    /// Description, may be empty.
    pub description: &'a str,
    /// JSON text of its `inputSchema`, empty when there is none. One that cannot be read counts as none.
    pub schema: &'a str,
}

/// What identifies a tool's content: the same content has the same vector, in every hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// From bytes that were kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to keep.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Doc<'_> {
    /// The content's identity.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for part in [self.server, self.name, self.description, self.schema] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Digest(hash.finalize().into())
    }

    /// What the models see of it: its name in words, and its description.
    pub fn head(&self) -> String {
        format!("{}: {}", words::spelled(bounded(self.name)), bounded(self.description))
    }
}

/// The start of a text, cut between characters.
pub fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

/// A parameter: its name, and what is said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// Description and the values of its enum.
    pub text: String,
}

/// The parameters of a schema, nested ones after the one that holds them.
pub fn parameters(schema: &str) -> Vec<Parameter> {
    let mut found = Vec::new();
    if let Ok(schema) = serde_json::from_str::<Value>(schema) {
        collect(&schema, 0, &mut found);
    }
    found
}

fn collect(schema: &Value, depth: usize, found: &mut Vec<Parameter>) {
    if depth >= DEPTH {
        return;
    }
    for (name, property) in
        schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        if found.len() >= PARAMETERS {
            return;
        }
        let mut text = property
            .get("description")
            .and_then(Value::as_str)
            .map(bounded)
            .unwrap_or_default()
            .to_owned();
        for value in values(property) {
            text.push(' ');
            text.push_str(value);
        }
        found.push(Parameter { name: bounded(name).to_owned(), text: text.trim().to_owned() });
        collect(property, depth + 1, found);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            collect(inner, depth + 1, found);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for inner in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            collect(inner, depth + 1, found);
        }
    }
}

fn values(property: &Value) -> impl Iterator<Item = &str> {
    let own = property.get("enum");
    let of_items = property.get("items").and_then(|items| items.get("enum"));
    let arrays = [own, of_items].into_iter().flatten().filter_map(Value::as_array);
    arrays.flatten().filter_map(Value::as_str).map(bounded).take(VALUES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_told_as_words_and_its_parameters_with_what_is_inside_them() {
        let doc = Doc {
            server: "GitHub",
            name: "create_pullRequest",
            description: "Opens a pull request.",
            schema: r#"{"type":"object","properties":{"baseBranch":{"type":"string","description":"Where to merge"},
                "state":{"enum":["open","closed"]},"author":{"type":"object","properties":{"email":{"type":"string"}}}}}"#,
        };
        assert_eq!(doc.head(), "create pull request: Opens a pull request.");
        let told: Vec<_> =
            parameters(doc.schema).into_iter().map(|p| format!("{} {}", p.name, p.text)).collect();
        assert_eq!(told, ["author ", "email ", "baseBranch Where to merge", "state open closed"]);
    }

    #[test]
    fn a_schema_that_cannot_be_read_counts_as_none() {
        for schema in ["", "null", "[]", "{", r#"{"properties":3}"#] {
            assert_eq!(parameters(schema), [], "{schema}");
        }
    }

    #[test]
    fn a_schema_without_end_is_read_up_to_the_bounds() {
        let wide: Vec<String> = (0..500).map(|i| format!(r#""p{i}":{{}}"#)).collect();
        assert_eq!(
            parameters(&format!(r#"{{"properties":{{{}}}}}"#, wide.join(","))).len(),
            PARAMETERS
        );
        let deep = r#"{"properties":{"p":"#.repeat(40) + "{}" + &"}}".repeat(40);
        assert_eq!(parameters(&deep).len(), DEPTH);
    }

    #[test]
    fn the_digest_tells_contents_apart_however_they_are_cut() {
        let doc = |server, name| Doc { server, name, description: "", schema: "" };
        assert_eq!(doc("a", "bc").digest(), doc("a", "bc").digest());
        assert_ne!(doc("a", "bc").digest(), doc("ab", "c").digest());
    }
}

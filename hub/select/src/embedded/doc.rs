//! A tool as the index reads it: the "document" of the search.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::words;

// Bounds on what is read of one tool. A server may list anything, and no tool may slow down the
// search for the others.

/// The most parameters, including nested ones.
const MAX_PARAMETERS: usize = 64;
/// The deepest nesting of parameters.
const MAX_DEPTH: usize = 4;
/// The most values of one enum.
const MAX_ENUM_VALUES: usize = 16;
/// The most bytes of one text.
const MAX_TEXT: usize = 8 * 1024;

/// A tool: what a prompt is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doc<'a> {
    /// The name of the server. May be empty.
    pub server: &'a str,
    /// The name of the tool, without the server's prefix.
    pub name: &'a str,
    /// May be empty.
    pub description: &'a str,
    /// The JSON text of the `inputSchema`. Empty if there is none. Invalid JSON counts as none.
    pub schema: &'a str,
}

/// The digest of a tool's content. Equal content has the same vector in every hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

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
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for part in [self.server, self.name, self.description, self.schema] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Digest(hash.finalize().into())
    }

    /// The text that the models read: the name as words, and the description.
    pub(crate) fn head(&self) -> String {
        format!("{}: {}", words::identifier_phrase(bounded(self.name)), bounded(self.description))
    }
}

/// The start of a text, at most [`MAX_TEXT`] bytes.
pub(crate) fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// The description and the values of the enum.
    pub(crate) text: String,
}

/// The parameters of a schema. Nested parameters come after their parent.
pub(crate) fn parameters(schema: &str) -> Vec<Parameter> {
    let mut found = Vec::new();
    if let Ok(schema) = serde_json::from_str::<Value>(schema) {
        collect(&schema, 0, &mut found);
    }
    found
}

fn collect(schema: &Value, depth: usize, found: &mut Vec<Parameter>) {
    if depth >= MAX_DEPTH {
        return;
    }
    for (name, property) in
        schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        if found.len() >= MAX_PARAMETERS {
            return;
        }
        let mut text = property
            .get("description")
            .and_then(Value::as_str)
            .map(bounded)
            .unwrap_or_default()
            .to_owned();
        for value in enum_values(property) {
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

fn enum_values(property: &Value) -> impl Iterator<Item = &str> {
    let own = property.get("enum");
    let of_items = property.get("items").and_then(|items| items.get("enum"));
    let arrays = [own, of_items].into_iter().flatten().filter_map(Value::as_array);
    arrays.flatten().filter_map(Value::as_str).map(bounded).take(MAX_ENUM_VALUES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_the_words_of_the_name_and_parameters_include_nested_ones() {
        let doc = Doc {
            server: "GitHub",
            name: "create_pullRequest",
            description: "Opens a pull request.",
            schema: r#"{"type":"object","properties":{
                "baseBranch":{"type":"string","description":"Where to merge"},
                "state":{"enum":["open","closed"]},
                "author":{"type":"object","properties":{"email":{"type":"string"}}}}}"#,
        };
        assert_eq!(doc.head(), "create pull request: Opens a pull request.");
        let found: Vec<_> =
            parameters(doc.schema).into_iter().map(|p| format!("{} {}", p.name, p.text)).collect();
        assert_eq!(found, ["author ", "email ", "baseBranch Where to merge", "state open closed"]);
    }

    #[test]
    fn an_invalid_schema_has_no_parameters() {
        for schema in ["", "null", "[]", "{", r#"{"properties":3}"#] {
            assert_eq!(parameters(schema), [], "{schema}");
        }
    }

    #[test]
    fn a_huge_schema_is_read_up_to_the_bounds() {
        let wide: Vec<String> = (0..500).map(|i| format!(r#""p{i}":{{}}"#)).collect();
        assert_eq!(
            parameters(&format!(r#"{{"properties":{{{}}}}}"#, wide.join(","))).len(),
            MAX_PARAMETERS
        );
        let deep = r#"{"properties":{"p":"#.repeat(40) + "{}" + &"}}".repeat(40);
        assert_eq!(parameters(&deep).len(), MAX_DEPTH);
    }

    #[test]
    fn digests_differ_if_the_same_letters_are_in_different_fields() {
        let doc = |server, name| Doc { server, name, description: "", schema: "" };
        assert_eq!(doc("a", "bc").digest(), doc("a", "bc").digest());
        assert_ne!(doc("a", "bc").digest(), doc("ab", "c").digest());
    }
}

//! What the big vendors refuse in a tool's name and schema. One tool that breaks a rule takes down the whole request
//! that lists it, so it is good to know which.
//!
//! Published rules, as of 2026:
//! * `OpenAI`, function calling and structured outputs ("Supported schemas"): names `[a-zA-Z0-9_-]`, at most 64; the root
//!   is an object and not `anyOf` (its API refuses `oneOf`, `allOf`, `enum` and `not` there too); at most 5,000 properties,
//!   10 levels, 1,000 enum values, 120,000 characters of names and values, 15,000 of an enum with over 250 values.
//!   Arrays need `items`. The limits on size are for strict mode; clients choose it, so they are held for all.
//! * Anthropic, Messages API ("Tool use"): names `[a-zA-Z0-9_-]`, at most 128; `input_schema` is an object without
//!   `oneOf`, `allOf` or `anyOf` at the top; property keys `[a-zA-Z0-9_.-]`, at most 64.
//! * Google, Gemini API (`FunctionDeclaration`, `Schema`): names start with a letter or `_`, at most 64; the parameters
//!   are an object; parameter names start with a letter or `_`; `enum` holds non-empty strings; arrays need `items`.
//! * All: references lead to somewhere in the schema itself.

mod messages;

use std::fmt;

use serde_json::{Map, Value};

pub use self::messages::{describe, refuses, summary};
use crate::arguments::schema::resolved;

/// Who refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vendor {
    /// Every one of them.
    All,
    /// `OpenAI`.
    OpenAI,
    /// Anthropic.
    Anthropic,
    /// Google.
    Gemini,
}

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The name has characters, or a length, that are refused.
    Name,
    /// The root is no object.
    RootType,
    /// A composition at the root.
    RootComposition,
    /// A property's name has characters, or a length, that are refused.
    PropertyName,
    /// An array does not say what its items are.
    Items,
    /// An enum of other values than strings, or with an empty one.
    EnumValues,
    /// A reference that leads nowhere.
    Reference,
    /// More properties than [`Limits::properties`].
    Properties,
    /// Deeper than [`Limits::depth`].
    Depth,
    /// More values in all enums than [`Limits::enum_values`].
    Enums,
    /// An enum longer than [`Limits::enum_text`].
    EnumText,
    /// More text than [`Limits::text`].
    Text,
}

/// Limits on the size of one schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Properties in all.
    pub properties: usize,
    /// Levels of objects and arrays.
    pub depth: usize,
    /// Values of all enums.
    pub enum_values: usize,
    /// Characters of an enum that has more than [`Limits::enum_many`] values.
    pub enum_text: usize,
    /// From so many values on the text of an enum counts.
    pub enum_many: usize,
    /// Characters of all names of properties and definitions, and values of enums and consts.
    pub text: usize,
}

/// The tightest that is published.
pub const LIMITS: Limits = Limits {
    properties: 5_000,
    depth: 10,
    enum_values: 1_000,
    enum_text: 15_000,
    enum_many: 250,
    text: 120_000,
};
/// The longest name that every vendor takes.
pub const MAX_NAME: usize = 64;
const MAX_PROPERTY_NAME: usize = 64;
/// Most violations that are told of one tool.
const MOST: usize = 16;

/// A rule that a tool breaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LimitViolation {
    /// Who refuses it.
    pub vendor: Vendor,
    /// What is refused.
    pub rule: Rule,
    /// JSON pointer into the schema; empty for its root.
    pub at: String,
}

impl fmt::Display for LimitViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.vendor {
            Vendor::All => "OpenAI, Anthropic and Gemini refuse",
            Vendor::OpenAI => "OpenAI refuses",
            Vendor::Anthropic => "Anthropic refuses",
            Vendor::Gemini => "Gemini refuses",
        };
        let what = match self.rule {
            Rule::Name => "its name; at most 64 letters, digits, _ and -, the first a letter or _",
            Rule::RootType => "a root that is no object; write \"type\": \"object\"",
            Rule::RootComposition => {
                "anyOf, oneOf, allOf, enum and not at the root; put them into a property"
            }
            Rule::PropertyName => {
                "the property's name; at most 64 letters, digits, _, . and -, for Gemini first a letter or _"
            }
            Rule::Items => "an array without items",
            Rule::EnumValues => "an enum of anything but non-empty strings",
            Rule::Reference => "a $ref that leads nowhere in this schema",
            Rule::Properties => "more than 5000 properties (strict mode)",
            Rule::Depth => "more than 10 levels (strict mode)",
            Rule::Enums => "more than 1000 enum values (strict mode)",
            Rule::EnumText => {
                "more than 15000 characters in an enum of over 250 values (strict mode)"
            }
            Rule::Text => "more than 120000 characters of names and values (strict mode)",
        };
        write!(f, "{who} {what}")?;
        if self.at.is_empty() { Ok(()) } else { write!(f, " (at {})", self.at) }
    }
}

/// What vendors refuse of a tool; empty where it goes everywhere. The first few.
pub fn violations(name: &str, schema: &Value) -> Vec<LimitViolation> {
    let mut found = of_name(name);
    found.extend(of_root(schema));
    found.extend(of_nodes(schema));
    found.truncate(MOST);
    found
}

/// What vendors refuse below the root, as in a schema that is a part of another.
pub fn breaches_inside(schema: &Value) -> Vec<LimitViolation> {
    of_nodes(schema)
}

fn violation(vendor: Vendor, rule: Rule, at: &str) -> LimitViolation {
    LimitViolation { vendor, rule, at: at.to_owned() }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn starts_well(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn of_name(name: &str) -> Vec<LimitViolation> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(|c| is_word(c) || c == '-');
    if !fits {
        vec![violation(Vendor::All, Rule::Name, "")]
    } else if starts_well(name) {
        vec![]
    } else {
        vec![violation(Vendor::Gemini, Rule::Name, "")]
    }
}

fn of_root(schema: &Value) -> Vec<LimitViolation> {
    let mut found = Vec::new();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        found.push(violation(Vendor::All, Rule::RootType, ""));
    }
    let has = |keys: &[&str]| keys.iter().any(|key| schema.get(*key).is_some());
    if has(&["anyOf", "oneOf", "allOf"]) {
        found.push(violation(Vendor::All, Rule::RootComposition, ""));
    } else if has(&["enum", "not"]) {
        found.push(violation(Vendor::OpenAI, Rule::RootComposition, ""));
    }
    found
}

/// What is counted of a whole schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// See [`Limits`].
    pub properties: usize,
    /// See [`Limits`].
    pub depth: usize,
    /// See [`Limits`].
    pub enum_values: usize,
    /// See [`Limits`].
    pub text: usize,
}

impl Size {
    /// Counts a schema. Its references count as nothing.
    pub fn of(schema: &Value) -> Self {
        let mut size = Self::default();
        walk(schema, &mut |node, _, depth| size.count(node, depth));
        size
    }

    fn count(&mut self, node: &Map<String, Value>, depth: usize) {
        self.depth = self.depth.max(depth);
        for keyword in ["properties", "$defs", "definitions"] {
            if let Some(named) = node.get(keyword).and_then(Value::as_object) {
                self.text += named.keys().map(String::len).sum::<usize>();
                self.properties += if keyword == "properties" { named.len() } else { 0 };
            }
        }
        let values =
            node.get("enum").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        self.enum_values += values.len();
        self.text += values
            .iter()
            .chain(node.get("const"))
            .filter_map(Value::as_str)
            .map(str::len)
            .sum::<usize>();
    }

    /// The limits that it exceeds.
    pub fn beyond(self) -> impl Iterator<Item = Rule> {
        [
            (Rule::Properties, self.properties > LIMITS.properties),
            (Rule::Depth, self.depth > LIMITS.depth),
            (Rule::Enums, self.enum_values > LIMITS.enum_values),
            (Rule::Text, self.text > LIMITS.text),
        ]
        .into_iter()
        .filter_map(|(rule, exceeded)| exceeded.then_some(rule))
    }
}

fn of_nodes(root: &Value) -> Vec<LimitViolation> {
    let mut found = Vec::new();
    let mut size = Size::default();
    walk(root, &mut |node, at, depth| {
        size.count(node, depth);
        if found.len() < MOST {
            of_node(root, node, at, &mut found);
        }
    });
    found.extend(size.beyond().map(|rule| violation(Vendor::OpenAI, rule, "")));
    found
}

fn of_node(root: &Value, node: &Map<String, Value>, at: &str, found: &mut Vec<LimitViolation>) {
    for key in node.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        let at = format!("{at}/properties/{}", escaped(key));
        let fits = (1..=MAX_PROPERTY_NAME).contains(&key.len())
            && key.chars().all(|c| is_word(c) || matches!(c, '.' | '-'));
        if !fits {
            found.push(violation(Vendor::Anthropic, Rule::PropertyName, &at));
        } else if !starts_well(key) {
            found.push(violation(Vendor::Gemini, Rule::PropertyName, &at));
        }
    }
    let is_array = match node.get("type") {
        Some(Value::String(name)) => name == "array",
        Some(Value::Array(names)) => names.iter().any(|name| name == "array"),
        _ => false,
    };
    if is_array && !node.contains_key("items") && !node.contains_key("prefixItems") {
        found.push(violation(Vendor::OpenAI, Rule::Items, at));
        found.push(violation(Vendor::Gemini, Rule::Items, at));
    }
    if let Some(values) = node.get("enum").and_then(Value::as_array) {
        if values.iter().any(|value| value.as_str().is_none_or(str::is_empty)) {
            found.push(violation(Vendor::Gemini, Rule::EnumValues, at));
        }
        let text: usize = values.iter().filter_map(Value::as_str).map(str::len).sum();
        if values.len() > LIMITS.enum_many && text > LIMITS.enum_text {
            found.push(violation(Vendor::OpenAI, Rule::EnumText, at));
        }
    }
    let leads_nowhere = |name: &str| resolved(root, name).is_none();
    if node.get("$ref").and_then(Value::as_str).is_some_and(leads_nowhere) {
        found.push(violation(Vendor::All, Rule::Reference, at));
    }
}

/// What is told of a schema: itself, its place and its depth.
type Visit<'v, 'a> = dyn FnMut(&'a Map<String, Value>, &str, usize) + 'v;

/// Every schema in a schema, with its place and depth: of objects and arrays in each other, not of compositions.
fn walk<'a>(root: &'a Value, visit: &mut Visit<'_, 'a>) {
    let mut open: Vec<(&Value, String, usize)> = vec![(root, String::new(), 0)];
    while let Some((node, at, depth)) = open.pop() {
        let Some(node) = node.as_object() else { continue };
        let nests = node.contains_key("properties") || node.contains_key("items");
        let depth = depth + usize::from(nests);
        visit(node, &at, depth);
        for keyword in
            ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]
        {
            let named = node.get(keyword).and_then(Value::as_object).into_iter().flatten();
            // Definitions are as deep as where they are used; alone they are not deep.
            let depth = if matches!(keyword, "$defs" | "definitions") { 0 } else { depth };
            open.extend(
                named.map(|(key, schema)| {
                    (schema, format!("{at}/{keyword}/{}", escaped(key)), depth)
                }),
            );
        }
        for keyword in ["anyOf", "oneOf", "allOf", "prefixItems", "items"] {
            let listed =
                node.get(keyword).and_then(Value::as_array).into_iter().flatten().enumerate();
            open.extend(
                listed.map(|(index, schema)| (schema, format!("{at}/{keyword}/{index}"), depth)),
            );
        }
        for keyword in [
            "items",
            "additionalProperties",
            "not",
            "if",
            "then",
            "else",
            "contains",
            "propertyNames",
        ] {
            open.extend(node.get(keyword).map(|schema| (schema, format!("{at}/{keyword}"), depth)));
        }
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::fits("files__read-2", json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}]}}}), &[])]
    #[case::a_dot_in_the_name("files.read", json!({"type": "object"}), &[(Vendor::All, Rule::Name, "")])]
    #[case::a_digit_first("2read", json!({"type": "object"}), &[(Vendor::Gemini, Rule::Name, "")])]
    #[case::no_type("t", json!({}), &[(Vendor::All, Rule::RootType, "")])]
    #[case::composed("t", json!({"type": "object", "oneOf": []}), &[(Vendor::All, Rule::RootComposition, "")])]
    #[case::root_not("t", json!({"type": "object", "not": {}}), &[(Vendor::OpenAI, Rule::RootComposition, "")])]
    #[case::dollar("t", json!({"type": "object", "properties": {"$top": {}}}), &[(Vendor::Anthropic, Rule::PropertyName, "/properties/$top")])]
    #[case::digit_property("t", json!({"type": "object", "properties": {"2d": {}}}), &[(Vendor::Gemini, Rule::PropertyName, "/properties/2d")])]
    #[case::items("t", json!({"type": "object", "properties": {"a": {"type": ["array", "null"]}}}),
        &[(Vendor::OpenAI, Rule::Items, "/properties/a"), (Vendor::Gemini, Rule::Items, "/properties/a")])]
    #[case::numbers("t", json!({"type": "object", "properties": {"a": {"enum": [1, 2]}}}), &[(Vendor::Gemini, Rule::EnumValues, "/properties/a")])]
    #[case::nowhere("t", json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}), &[(Vendor::All, Rule::Reference, "/properties/a")])]
    fn every_rule_names_who_refuses_what_and_where(
        #[case] name: &str,
        #[case] schema: Value,
        #[case] expected: &[(Vendor, Rule, &str)],
    ) {
        let expected: Vec<LimitViolation> =
            expected.iter().map(|(vendor, rule, at)| violation(*vendor, *rule, at)).collect();
        assert_eq!(violations(name, &schema), expected);
    }

    #[test]
    fn size_counts_over_the_whole_schema() {
        let deep = (0..11).fold(
            json!({"type": "string"}),
            |inner, _| json!({"type": "object", "properties": {"a": inner}}),
        );
        assert_eq!(violations("t", &deep), [violation(Vendor::OpenAI, Rule::Depth, "")]);
        let many: Map<String, Value> = (0..5_001).map(|n| (format!("p{n}"), json!({}))).collect();
        let many = json!({"type": "object", "properties": many});
        assert_eq!(violations("t", &many), [violation(Vendor::OpenAI, Rule::Properties, "")]);
        let values: Vec<String> = (0..600).map(|n| format!("value-{n:04}")).collect();
        let twice =
            json!({"type": "object", "properties": {"a": {"enum": values}, "b": {"enum": values}}});
        assert_eq!(violations("t", &twice), [violation(Vendor::OpenAI, Rule::Enums, "")]);
        let long: Vec<String> = (0..251).map(|n| format!("{n:0>100}")).collect();
        let long = json!({"type": "object", "properties": {"a": {"enum": long}}});
        assert_eq!(
            violations("t", &long),
            [violation(Vendor::OpenAI, Rule::EnumText, "/properties/a")]
        );
    }
}

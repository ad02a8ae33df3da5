//! What the big model vendors refuse in a tool's name and schema. One tool that violates a limit
//! makes the vendor reject the whole request that lists it, so operators must know which one.
//!
//! Limits as published in 2026:
//! * `OpenAI`, function calling and structured outputs ("Supported schemas"): names
//!   `[a-zA-Z0-9_-]`, at most 64; the root is an object and not `anyOf` (its API refuses `oneOf`,
//!   `allOf`, `enum` and `not` there too); at most 5,000 properties, 10 levels, 1,000 enum values,
//!   120,000 characters of names and values, 15,000 of an enum with over 250 values. Arrays need
//!   `items`. The limits on size apply in strict mode. Clients choose it, so they are checked for
//!   every tool.
//! * Anthropic, Messages API ("Tool use"): names `[a-zA-Z0-9_-]`, at most 128; `input_schema` is an
//!   object without `oneOf`, `allOf` or `anyOf` at the top; property keys `[a-zA-Z0-9_.-]`, at most
//!   64.
//! * Google, Gemini API (`FunctionDeclaration`, `Schema`): names start with a letter or `_`, at
//!   most 64; the parameters are an object; parameter names start with a letter or `_`; `enum`
//!   holds non-empty strings; arrays need `items`.
//! * All: each reference points into the schema itself.

mod messages;

use std::fmt;

use serde_json::{Map, Value};

pub use self::messages::{describe, summary};
use crate::arguments::schema::resolve_ref;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vendor {
    All,
    OpenAI,
    Anthropic,
    Gemini,
}

/// What a limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// Length and characters of the name.
    Name,
    /// The root must be an object.
    RootType,
    /// No composition at the root.
    RootComposition,
    /// Length and characters of a property's name.
    PropertyName,
    /// An array needs `items`.
    Items,
    /// An enum may only have non-empty strings.
    EnumValues,
    /// A reference must point into the schema.
    Reference,
    /// See [`Limits::properties`].
    Properties,
    /// See [`Limits::depth`].
    Depth,
    /// See [`Limits::enum_values`].
    Enums,
    /// See [`Limits::enum_text`].
    EnumText,
    /// See [`Limits::text`].
    Text,
}

/// Limits on the size of one schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Properties in the whole schema.
    pub properties: usize,
    /// Levels of objects and arrays.
    pub depth: usize,
    /// Values in all enums.
    pub enum_values: usize,
    /// Characters of one enum with more than [`Limits::enum_many`] values.
    pub enum_text: usize,
    /// With more values, [`Limits::enum_text`] applies.
    pub enum_many: usize,
    /// Characters in all names of properties and definitions, and in all values of enums and
    /// consts.
    pub text: usize,
}

/// The tightest published limits.
pub const LIMITS: Limits = Limits {
    properties: 5_000,
    depth: 10,
    enum_values: 1_000,
    enum_text: 15_000,
    enum_many: 250,
    text: 120_000,
};
/// The longest name that every vendor accepts.
pub const MAX_NAME: usize = 64;
const MAX_PROPERTY_NAME: usize = 64;
/// Most violations that are reported for one tool.
const MAX_VIOLATIONS: usize = 16;

/// A limit that a tool violates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LimitViolation {
    pub vendor: Vendor,
    pub limit: Limit,
    /// JSON pointer into the schema; empty for the root.
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
        let what = match self.limit {
            Limit::Name => "its name; at most 64 letters, digits, _ and -, the first a letter or _",
            Limit::RootType => "a root that is not an object; write \"type\": \"object\"",
            Limit::RootComposition => {
                "anyOf, oneOf, allOf, enum and not at the root; put them into a property"
            }
            Limit::PropertyName => {
                "the property's name; at most 64 letters, digits, _, . and -, for Gemini first a \
                 letter or _"
            }
            Limit::Items => "an array without items",
            Limit::EnumValues => "an enum of anything but non-empty strings",
            Limit::Reference => "a $ref that does not point into the schema",
            Limit::Properties => "more than 5000 properties (strict mode)",
            Limit::Depth => "more than 10 levels (strict mode)",
            Limit::Enums => "more than 1000 enum values (strict mode)",
            Limit::EnumText => {
                "more than 15000 characters in an enum of over 250 values (strict mode)"
            }
            Limit::Text => "more than 120000 characters of names and values (strict mode)",
        };
        write!(f, "{who} {what}")?;
        if self.at.is_empty() { Ok(()) } else { write!(f, " (at {})", self.at) }
    }
}

/// The limits that a tool violates; empty if every vendor accepts it. At most [`MAX_VIOLATIONS`].
pub fn violations(name: &str, schema: &Value) -> Vec<LimitViolation> {
    let mut violations = name_violations(name);
    violations.extend(root_violations(schema));
    violations.extend(violations_below_root(schema));
    violations.truncate(MAX_VIOLATIONS);
    violations
}

fn violation(vendor: Vendor, limit: Limit, at: &str) -> LimitViolation {
    LimitViolation { vendor, limit, at: at.to_owned() }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn has_valid_start(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn name_violations(name: &str) -> Vec<LimitViolation> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(|c| is_word(c) || c == '-');
    if !fits {
        vec![violation(Vendor::All, Limit::Name, "")]
    } else if has_valid_start(name) {
        vec![]
    } else {
        vec![violation(Vendor::Gemini, Limit::Name, "")]
    }
}

fn root_violations(schema: &Value) -> Vec<LimitViolation> {
    let mut found = Vec::new();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        found.push(violation(Vendor::All, Limit::RootType, ""));
    }
    let has = |keys: &[&str]| keys.iter().any(|key| schema.get(*key).is_some());
    if has(&["anyOf", "oneOf", "allOf"]) {
        found.push(violation(Vendor::All, Limit::RootComposition, ""));
    } else if has(&["enum", "not"]) {
        found.push(violation(Vendor::OpenAI, Limit::RootComposition, ""));
    }
    found
}

/// The size of a schema, in the terms of [`Limits`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SchemaSize {
    pub(crate) properties: usize,
    pub(crate) depth: usize,
    pub(crate) enum_values: usize,
    pub(crate) text: usize,
}

impl SchemaSize {
    /// References are not followed.
    pub(crate) fn count(schema: &Value) -> Self {
        let mut size = Self::default();
        walk(schema, &mut |node, _, depth| size.add(node, depth));
        size
    }

    fn add(&mut self, node: &Map<String, Value>, depth: usize) {
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

    fn exceeded_limits(self) -> impl Iterator<Item = Limit> {
        [
            (Limit::Properties, self.properties > LIMITS.properties),
            (Limit::Depth, self.depth > LIMITS.depth),
            (Limit::Enums, self.enum_values > LIMITS.enum_values),
            (Limit::Text, self.text > LIMITS.text),
        ]
        .into_iter()
        .filter_map(|(limit, exceeded)| exceeded.then_some(limit))
    }
}

/// The limits that a schema violates anywhere but by its root. They apply to a schema inside
/// another one too.
pub(crate) fn violations_below_root(root: &Value) -> Vec<LimitViolation> {
    let mut found = Vec::new();
    let mut size = SchemaSize::default();
    walk(root, &mut |node, at, depth| {
        size.add(node, depth);
        if found.len() < MAX_VIOLATIONS {
            check_node(root, node, at, &mut found);
        }
    });
    found.extend(size.exceeded_limits().map(|limit| violation(Vendor::OpenAI, limit, "")));
    found
}

fn check_node(root: &Value, node: &Map<String, Value>, at: &str, found: &mut Vec<LimitViolation>) {
    for key in node.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        let at = format!("{at}/properties/{}", escape_pointer(key));
        let fits = (1..=MAX_PROPERTY_NAME).contains(&key.len())
            && key.chars().all(|c| is_word(c) || matches!(c, '.' | '-'));
        if !fits {
            found.push(violation(Vendor::Anthropic, Limit::PropertyName, &at));
        } else if !has_valid_start(key) {
            found.push(violation(Vendor::Gemini, Limit::PropertyName, &at));
        }
    }
    let is_array = match node.get("type") {
        Some(Value::String(name)) => name == "array",
        Some(Value::Array(names)) => names.iter().any(|name| name == "array"),
        _ => false,
    };
    if is_array && !node.contains_key("items") && !node.contains_key("prefixItems") {
        found.push(violation(Vendor::OpenAI, Limit::Items, at));
        found.push(violation(Vendor::Gemini, Limit::Items, at));
    }
    if let Some(values) = node.get("enum").and_then(Value::as_array) {
        if values.iter().any(|value| value.as_str().is_none_or(str::is_empty)) {
            found.push(violation(Vendor::Gemini, Limit::EnumValues, at));
        }
        let text: usize = values.iter().filter_map(Value::as_str).map(str::len).sum();
        if values.len() > LIMITS.enum_many && text > LIMITS.enum_text {
            found.push(violation(Vendor::OpenAI, Limit::EnumText, at));
        }
    }
    let is_broken = |name: &str| resolve_ref(root, name).is_none();
    if node.get("$ref").and_then(Value::as_str).is_some_and(is_broken) {
        found.push(violation(Vendor::All, Limit::Reference, at));
    }
}

/// Receives a schema, its JSON pointer and its depth.
type Visit<'v, 'a> = dyn FnMut(&'a Map<String, Value>, &str, usize) + 'v;

/// Visits every schema inside a schema. The depth counts objects and arrays, not compositions.
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
            // The depth of a definition counts where it is used.
            let depth = if matches!(keyword, "$defs" | "definitions") { 0 } else { depth };
            open.extend(named.map(|(key, schema)| {
                (schema, format!("{at}/{keyword}/{}", escape_pointer(key)), depth)
            }));
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

fn escape_pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::within_all_limits("files__read-2",
        json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}]}}}), &[])]
    #[case::a_dot_in_the_name("files.read", json!({"type": "object"}),
        &[(Vendor::All, Limit::Name, "")])]
    #[case::a_digit_first("2read", json!({"type": "object"}), &[(Vendor::Gemini, Limit::Name, "")])]
    #[case::no_type("t", json!({}), &[(Vendor::All, Limit::RootType, "")])]
    #[case::a_composition_at_the_root("t", json!({"type": "object", "oneOf": []}),
        &[(Vendor::All, Limit::RootComposition, "")])]
    #[case::a_not_at_the_root("t", json!({"type": "object", "not": {}}),
        &[(Vendor::OpenAI, Limit::RootComposition, "")])]
    #[case::a_dollar_in_a_property("t", json!({"type": "object", "properties": {"$top": {}}}),
        &[(Vendor::Anthropic, Limit::PropertyName, "/properties/$top")])]
    #[case::a_digit_first_in_a_property("t", json!({"type": "object", "properties": {"2d": {}}}),
        &[(Vendor::Gemini, Limit::PropertyName, "/properties/2d")])]
    #[case::an_array_without_items("t",
        json!({"type": "object", "properties": {"a": {"type": ["array", "null"]}}}),
        &[(Vendor::OpenAI, Limit::Items, "/properties/a"),
            (Vendor::Gemini, Limit::Items, "/properties/a")])]
    #[case::an_enum_of_numbers("t",
        json!({"type": "object", "properties": {"a": {"enum": [1, 2]}}}),
        &[(Vendor::Gemini, Limit::EnumValues, "/properties/a")])]
    #[case::a_broken_reference("t",
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}),
        &[(Vendor::All, Limit::Reference, "/properties/a")])]
    fn a_violation_names_the_vendor_the_limit_and_the_place(
        #[case] name: &str,
        #[case] schema: Value,
        #[case] expected: &[(Vendor, Limit, &str)],
    ) {
        let expected: Vec<LimitViolation> =
            expected.iter().map(|(vendor, limit, at)| violation(*vendor, *limit, at)).collect();
        assert_eq!(violations(name, &schema), expected);
    }

    #[test]
    fn size_limits_apply_to_the_whole_schema() {
        let deep = (0..11).fold(
            json!({"type": "string"}),
            |inner, _| json!({"type": "object", "properties": {"a": inner}}),
        );
        assert_eq!(violations("t", &deep), [violation(Vendor::OpenAI, Limit::Depth, "")]);
        let many: Map<String, Value> = (0..5_001).map(|n| (format!("p{n}"), json!({}))).collect();
        let many = json!({"type": "object", "properties": many});
        assert_eq!(violations("t", &many), [violation(Vendor::OpenAI, Limit::Properties, "")]);
        let values: Vec<String> = (0..600).map(|n| format!("value-{n:04}")).collect();
        let twice =
            json!({"type": "object", "properties": {"a": {"enum": values}, "b": {"enum": values}}});
        assert_eq!(violations("t", &twice), [violation(Vendor::OpenAI, Limit::Enums, "")]);
        let long: Vec<String> = (0..251).map(|n| format!("{n:0>100}")).collect();
        let long = json!({"type": "object", "properties": {"a": {"enum": long}}});
        assert_eq!(
            violations("t", &long),
            [violation(Vendor::OpenAI, Limit::EnumText, "/properties/a")]
        );
    }
}

//! What a schema says about one place in the arguments, in all its branches.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::schema::resolve_ref;
use super::text::PathSegment;

/// Most subschemas for one place.
const MAX_SUBSCHEMAS: usize = 256;

/// The subschemas that may apply to one place in the arguments.
#[derive(Debug, Clone)]
pub(super) struct Subschemas<'a> {
    root: &'a Value,
    schemas: Vec<&'a Map<String, Value>>,
}

/// A value of an enum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EnumValue<'a> {
    pub(super) value: &'a Value,
    pub(super) description: Option<&'a str>,
}

impl<'a> Subschemas<'a> {
    /// For the arguments as a whole.
    pub(super) fn root(root: &'a Value) -> Self {
        Self::collect(root, [root].into_iter())
    }

    /// The given schemas, and all that they lead to by composition and reference.
    fn collect(root: &'a Value, start: impl Iterator<Item = &'a Value>) -> Self {
        let mut schemas: Vec<&'a Map<String, Value>> = Vec::new();
        let mut open: Vec<&'a Value> = start.collect();
        open.reverse();
        while let Some(node) = open.pop() {
            let Some(schema) = node.as_object() else { continue };
            if schemas.len() >= MAX_SUBSCHEMAS
                || schemas.iter().any(|known| std::ptr::eq(*known, schema))
            {
                continue;
            }
            schemas.push(schema);
            let branches = ["allOf", "anyOf", "oneOf"]
                .iter()
                .filter_map(|key| schema.get(*key)?.as_array())
                .flatten();
            let conditional = ["then", "else"].iter().filter_map(|key| schema.get(*key));
            let dependent = schema
                .get("dependentSchemas")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(Map::values);
            let named =
                schema.get("$ref").and_then(Value::as_str).and_then(|name| resolve_ref(root, name));
            let mut next: Vec<&Value> =
                named.into_iter().chain(branches).chain(conditional).chain(dependent).collect();
            next.reverse();
            open.extend(next);
        }
        Self { root, schemas }
    }

    pub(super) fn at(root: &'a Value, path: &[PathSegment]) -> Self {
        path.iter().fold(Self::root(root), |here, segment| match segment {
            PathSegment::Key(key) => here.member(key),
            PathSegment::Index(index) => here.item(*index),
        })
    }

    fn member(&self, key: &str) -> Self {
        let below = self.schemas.iter().filter_map(|schema| {
            let declared = schema.get("properties").and_then(|properties| properties.get(key));
            declared.or_else(|| schema.get("additionalProperties"))
        });
        Self::collect(self.root, below)
    }

    fn item(&self, index: usize) -> Self {
        let below = self.schemas.iter().filter_map(|schema| {
            // Before draft 2020-12, `items` with a list means `prefixItems`.
            let listed =
                schema.get("prefixItems").or_else(|| schema.get("items")).and_then(Value::as_array);
            listed.and_then(|listed| listed.get(index)).or_else(|| schema.get("items"))
        });
        Self::collect(self.root, below)
    }

    /// The properties that any branch declares.
    pub(super) fn properties(&self) -> BTreeMap<&'a str, &'a Value> {
        let properties =
            self.schemas.iter().filter_map(|schema| schema.get("properties")?.as_object());
        let mut declared = BTreeMap::new();
        for (key, schema) in properties.flatten() {
            declared.entry(key.as_str()).or_insert(schema);
        }
        declared
    }

    /// Whether undeclared keys are data, as in a map from names to numbers.
    pub(super) fn is_map(&self) -> bool {
        self.schemas.iter().any(|schema| {
            let typed = schema.get("additionalProperties").and_then(Value::as_object);
            typed.is_some_and(|typed| !typed.is_empty()) || schema.contains_key("patternProperties")
        })
    }

    /// The description of the place. A schema with `const` describes only that value.
    pub(super) fn description(&self) -> Option<&'a str> {
        let schemas = self.schemas.iter().filter(|schema| !schema.contains_key("const"));
        schemas
            .filter_map(|schema| schema.get("description")?.as_str())
            .find(|text| !text.is_empty())
    }

    /// The types that a value here may have, in the order of the schema.
    pub(super) fn types(&self) -> Vec<&'a str> {
        let mut types: Vec<&str> = Vec::new();
        for schema in &self.schemas {
            let named = match schema.get("type") {
                Some(Value::String(name)) => vec![name.as_str()],
                Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
                _ => vec![],
            };
            types
                .extend(named.into_iter().filter(|name| !types.contains(name)).collect::<Vec<_>>());
        }
        types
    }

    /// The values that are allowed here, described by `enumDescriptions` or by the schemas of
    /// `const`s.
    pub(super) fn enum_values(&self) -> Vec<EnumValue<'a>> {
        let mut choices: Vec<EnumValue<'a>> = Vec::new();
        for schema in &self.schemas {
            if let Some(values) = schema.get("enum").and_then(Value::as_array) {
                let descriptions = schema.get("enumDescriptions");
                choices.extend(values.iter().enumerate().map(|(position, value)| EnumValue {
                    value,
                    description:
                        descriptions.and_then(|all| enum_description(all, position, value)),
                }));
            }
            if let Some(value) = schema.get("const") {
                let description =
                    ["description", "title"].iter().find_map(|key| schema.get(*key)?.as_str());
                choices.push(EnumValue { value, description });
            }
        }
        let mut unique: Vec<EnumValue<'a>> = Vec::new();
        for choice in choices {
            if !unique.iter().any(|known| known.value == choice.value) {
                unique.push(choice);
            }
        }
        unique
    }
}

/// `enumDescriptions` is mostly a list in the order of `enum`, and sometimes an object by value.
fn enum_description<'a>(
    descriptions: &'a Value,
    position: usize,
    value: &Value,
) -> Option<&'a str> {
    let description = match descriptions {
        Value::Array(list) => list.get(position)?,
        Value::Object(by_value) => by_value.get(value.as_str()?)?,
        _ => return None,
    };
    description.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_branch_and_reference_adds_to_what_the_schema_says() {
        let root = json!({
            "type": "object",
            "properties": {"o": {"anyOf": [{"$ref": "#/$defs/o"}, {"type": "null"}]}},
            "$defs": {"o": {"type": "object",
                "properties": {"mode": {"enum": ["a", "b"], "enumDescriptions": ["first"]},
                    "o": {"$ref": "#/$defs/o"}}}}
        });
        let key = |key: &str| PathSegment::Key(key.into());
        let subschemas = Subschemas::at(&root, &[key("o"), key("o"), key("o")]);
        assert_eq!(subschemas.properties().into_keys().collect::<Vec<_>>(), ["mode", "o"]);
        let values = Subschemas::at(&root, &[key("o"), key("mode")]).enum_values();
        assert_eq!(
            values.iter().map(|value| value.description).collect::<Vec<_>>(),
            [Some("first"), None]
        );
    }
}

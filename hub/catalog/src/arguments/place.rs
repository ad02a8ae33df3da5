//! What a schema says of one place in the arguments, over all its branches.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::schema::resolved;
use super::text::Step;

/// Most schemas looked at for one place.
const MOST: usize = 256;

/// The schemas that may hold at one place.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    root: &'a Value,
    schemas: Vec<&'a Map<String, Value>>,
}

/// A value that a schema names, with what is said of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice<'a> {
    /// The value.
    pub value: &'a Value,
    /// What it means.
    pub description: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// The arguments as a whole.
    pub fn root(root: &'a Value) -> Self {
        Self::of(root, [root].into_iter())
    }

    fn of(root: &'a Value, found: impl Iterator<Item = &'a Value>) -> Self {
        let mut schemas: Vec<&'a Map<String, Value>> = Vec::new();
        let mut open: Vec<&'a Value> = found.collect();
        open.reverse();
        while let Some(node) = open.pop() {
            let Some(schema) = node.as_object() else { continue };
            if schemas.len() >= MOST || schemas.iter().any(|known| std::ptr::eq(*known, schema)) {
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
                schema.get("$ref").and_then(Value::as_str).and_then(|name| resolved(root, name));
            let mut next: Vec<&Value> =
                named.into_iter().chain(branches).chain(conditional).chain(dependent).collect();
            next.reverse();
            open.extend(next);
        }
        Self { root, schemas }
    }

    pub(super) fn at(root: &'a Value, path: &[Step]) -> Self {
        path.iter().fold(Self::root(root), |place, step| match step {
            Step::Key(key) => place.member(key),
            Step::Index(index) => place.item(*index),
        })
    }

    fn member(&self, key: &str) -> Self {
        let below = self.schemas.iter().filter_map(|schema| {
            let declared = schema.get("properties").and_then(|properties| properties.get(key));
            declared.or_else(|| schema.get("additionalProperties"))
        });
        Self::of(self.root, below)
    }

    fn item(&self, index: usize) -> Self {
        let below = self.schemas.iter().filter_map(|schema| {
            // `items` as a list is the same in drafts before 2020-12.
            let listed =
                schema.get("prefixItems").or_else(|| schema.get("items")).and_then(Value::as_array);
            listed.and_then(|listed| listed.get(index)).or_else(|| schema.get("items"))
        });
        Self::of(self.root, below)
    }

    /// The members that any branch declares.
    pub fn declared(&self) -> BTreeMap<&'a str, &'a Value> {
        let properties =
            self.schemas.iter().filter_map(|schema| schema.get("properties")?.as_object());
        let mut declared = BTreeMap::new();
        for (key, schema) in properties.flatten() {
            declared.entry(key.as_str()).or_insert(schema);
        }
        declared
    }

    /// Whether keys that are not declared may be data of their own, as in a map from names to numbers.
    pub fn is_map(&self) -> bool {
        self.schemas.iter().any(|schema| {
            let typed = schema.get("additionalProperties").and_then(Value::as_object);
            typed.is_some_and(|typed| !typed.is_empty()) || schema.contains_key("patternProperties")
        })
    }

    /// The keywords of every schema that may hold here.
    pub fn schemas(&self) -> &[&'a Map<String, Value>] {
        &self.schemas
    }

    /// What the schema says of the place. What it says of one `const` is about that value only.
    pub fn description(&self) -> Option<&'a str> {
        let schemas = self.schemas.iter().filter(|schema| !schema.contains_key("const"));
        schemas
            .filter_map(|schema| schema.get("description")?.as_str())
            .find(|text| !text.is_empty())
    }

    /// The types that may be here, in the order of the schema.
    pub fn types(&self) -> Vec<&'a str> {
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

    /// The values that are allowed, with what `enumDescriptions` or the `const`s of a composition say of them.
    pub fn choices(&self) -> Vec<Choice<'a>> {
        let mut choices: Vec<Choice<'a>> = Vec::new();
        for schema in &self.schemas {
            if let Some(values) = schema.get("enum").and_then(Value::as_array) {
                let descriptions = schema.get("enumDescriptions");
                choices.extend(values.iter().enumerate().map(|(position, value)| Choice {
                    value,
                    description: descriptions.and_then(|all| said_of(all, position, value)),
                }));
            }
            if let Some(value) = schema.get("const") {
                let description =
                    ["description", "title"].iter().find_map(|key| schema.get(*key)?.as_str());
                choices.push(Choice { value, description });
            }
        }
        let mut unique: Vec<Choice<'a>> = Vec::new();
        for choice in choices {
            if !unique.iter().any(|known| known.value == choice.value) {
                unique.push(choice);
            }
        }
        unique
    }
}

/// `enumDescriptions` is a list beside `enum` for most, and an object by value for some.
fn said_of<'a>(descriptions: &'a Value, position: usize, value: &Value) -> Option<&'a str> {
    let said = match descriptions {
        Value::Array(list) => list.get(position)?,
        Value::Object(by_value) => by_value.get(value.as_str()?)?,
        _ => return None,
    };
    said.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_knows_what_every_branch_and_reference_says_of_it() {
        let root = json!({
            "type": "object",
            "properties": {"o": {"anyOf": [{"$ref": "#/$defs/o"}, {"type": "null"}]}},
            "$defs": {"o": {"type": "object", "properties": {"mode": {"enum": ["a", "b"], "enumDescriptions": ["first"]}, "o": {"$ref": "#/$defs/o"}}}}
        });
        let key = |key: &str| Step::Key(key.into());
        let place = Place::at(&root, &[key("o"), key("o"), key("o")]);
        assert_eq!(place.declared().into_keys().collect::<Vec<_>>(), ["mode", "o"]);
        let choices = Place::at(&root, &[key("o"), key("mode")]).choices();
        assert_eq!(
            choices.iter().map(|choice| choice.description).collect::<Vec<_>>(),
            [Some("first"), None]
        );
    }
}

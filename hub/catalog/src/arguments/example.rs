//! Generates an example of valid arguments, for a model to follow.

use serde_json::{Map, Value, json};

use super::schema::{Schema, resolve_ref};
use super::subschemas::Subschemas;

const MAX_DEPTH: usize = 12;
/// A longer example does not help a model.
const MAX_BYTES: usize = 2_000;

/// Short arguments that follow the schema's own examples, defaults and bounds. `None` if they are
/// not valid.
pub fn generate(schema: &Schema) -> Option<Value> {
    let root = schema.root();
    let example = value(root, root, MAX_DEPTH)?;
    (example.is_object() && schema.accepts(&example) && example.to_string().len() <= MAX_BYTES)
        .then_some(example)
}

fn value(root: &Value, schema: &Value, depth: usize) -> Option<Value> {
    let deeper = depth.checked_sub(1)?;
    let Some(keywords) = schema.as_object() else {
        return (schema != &Value::Bool(false)).then(|| json!({}));
    };
    let suggested =
        keywords.get("examples").and_then(|all| all.get(0)).or_else(|| keywords.get("default"));
    let first =
        || keywords.get("const").or_else(|| keywords.get("enum").and_then(|all| all.get(0)));
    if let Some(value) = suggested.filter(|value| !value.is_null()).or_else(first) {
        return Some(value.clone());
    }
    if let Some(named) = keywords.get("$ref").and_then(Value::as_str) {
        return value(root, resolve_ref(root, named)?, deeper);
    }
    for composition in ["anyOf", "oneOf"] {
        if let Some(branches) = keywords.get(composition).and_then(Value::as_array) {
            return branches.iter().find_map(|branch| match value(root, branch, deeper)? {
                Value::Object(members) => {
                    object(root, keywords, deeper).map(|own| merge(own, members))
                }
                other => Some(other),
            });
        }
    }
    let types = Subschemas::root(schema).types();
    let named = types.iter().find(|name| **name != "null").copied();
    match named.unwrap_or(if keywords.contains_key("properties") { "object" } else { "string" }) {
        "object" => object(root, keywords, deeper).map(Value::Object),
        "array" => array(root, keywords, deeper),
        "string" => Some(string(keywords)),
        "boolean" => Some(json!(true)),
        "integer" | "number" => Some(number(keywords)),
        _ => Some(Value::Null),
    }
}

fn object(root: &Value, keywords: &Map<String, Value>, depth: usize) -> Option<Map<String, Value>> {
    let mut members = Map::new();
    for branch in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        if let Value::Object(more) = value(root, branch, depth)? {
            members = match merge(members, more) {
                Value::Object(all) => all,
                _ => return None,
            };
        }
    }
    let required = keywords
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    for key in required {
        let declared = keywords.get("properties").and_then(|properties| properties.get(key));
        let declared = declared.or_else(|| keywords.get("additionalProperties"));
        let member =
            declared.map_or(Some(json!("…")), |declared| value(root, declared, depth))?;
        members.entry(key).or_insert(member);
    }
    Some(members)
}

fn merge(mut own: Map<String, Value>, more: Map<String, Value>) -> Value {
    for (key, value) in more {
        own.entry(key).or_insert(value);
    }
    Value::Object(own)
}

fn array(root: &Value, keywords: &Map<String, Value>, depth: usize) -> Option<Value> {
    let listed =
        keywords.get("prefixItems").or_else(|| keywords.get("items")).and_then(Value::as_array);
    if let Some(listed) = listed {
        return listed.iter().map(|item| value(root, item, depth)).collect();
    }
    let least = keywords.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 8);
    let item = keywords.get("items").map_or(Some(json!("…")), |item| value(root, item, depth))?;
    Some(Value::Array((0..least).map(|_| item.clone()).collect()))
}

fn string(keywords: &Map<String, Value>) -> Value {
    let formatted = match keywords.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("time") => "12:00:00Z",
        Some("uri" | "url") => "https://example.com/",
        Some("email") => "name@example.com",
        Some("uuid") => "123e4567-e89b-42d3-a456-426614174000",
        _ => "…",
    };
    let bound = |key: &str| {
        keywords.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok())
    };
    let missing = bound("minLength").unwrap_or(0).min(64).saturating_sub(formatted.chars().count());
    let text: String = formatted.chars().chain(std::iter::repeat_n('x', missing)).collect();
    json!(bound("maxLength").map_or(text.clone(), |most| text.chars().take(most).collect()))
}

/// A number within the bounds, an integer if possible.
fn number(keywords: &Map<String, Value>) -> Value {
    let bound = |key: &str| keywords.get(key).and_then(Value::as_f64);
    let least =
        bound("minimum").or_else(|| bound("exclusiveMinimum").map(|bound| bound.floor() + 1.0));
    let most =
        bound("maximum").or_else(|| bound("exclusiveMaximum").map(|bound| bound.ceil() - 1.0));
    let step = bound("multipleOf").filter(|step| *step > 0.0).unwrap_or(1.0);
    let mut found = least
        .map_or(step, |least| (least.max(step.min(most.unwrap_or(step))) / step).ceil() * step);
    if let Some(most) = most {
        found = found.min(most);
    }
    #[allow(clippy::cast_possible_truncation)] // bounded above
    if found.fract() == 0.0 && found.abs() < 9e15 { json!(found as i64) } else { json!(found) }
}

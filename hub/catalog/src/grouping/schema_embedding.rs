//! Schemas as a dispatching tool shows them: each stands inside another schema, so its references are written out, and
//! what some vendor would refuse is said in another way. Calls are validated against the real ones.

use serde_json::{Map, Value, json};

use crate::arguments::schema::resolved;
use crate::client_limits::{self, LIMITS, Size};

/// Levels that a schema keeps; two more are the dispatching tool's own.
const DEPTH: usize = LIMITS.depth - 3;
/// Longest that all schemas of one dispatching tool may be: more is not a saving any more.
const MAX_BYTES: usize = 48 << 10;
/// Most nodes that one schema may grow to when its references are written out.
const MAX_NODES: usize = 4_000;
/// What the dispatching tool adds to any of its limits.
const MARGIN: usize = 200;

/// The schemas of these actions, in their order.
pub(super) fn all<'a>(actions: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    let mut shown: Vec<Measured> = actions
        .map(|(action, schema)| {
            let schema = of(action, schema).unwrap_or_else(|| bare(action));
            Measured { length: schema.to_string().len(), size: Size::of(&schema), schema }
        })
        .collect();
    while !fits(&shown) {
        let largest =
            shown.iter_mut().max_by_key(|shown| shown.length).filter(|shown| shown.length > 0);
        let Some(largest) = largest else { break };
        let schema = bare(largest.schema.get("title").and_then(Value::as_str).unwrap_or_default());
        // Its length is not counted again: it cannot become shorter.
        *largest = Measured { length: 0, size: Size::of(&schema), schema };
    }
    shown.into_iter().map(|shown| shown.schema).collect()
}

/// Measured once: a limit that is not met is asked about again and again.
struct Measured {
    length: usize,
    size: Size,
    schema: Value,
}

fn fits(shown: &[Measured]) -> bool {
    let bytes: usize = shown.iter().map(|shown| shown.length).sum();
    let within = |limit: usize, count: fn(Size) -> usize| {
        shown.iter().map(|shown| count(shown.size)).sum::<usize>() + MARGIN <= limit
    };
    // Names of actions count as values of the enum, and as text; there are at most a hundred of 48.
    bytes <= MAX_BYTES
        && within(LIMITS.properties, |size| size.properties)
        && within(LIMITS.enum_values, |size| size.enum_values)
        && within(LIMITS.text - 10_000, |size| size.text)
}

/// Any object; help shows what it holds.
fn bare(action: &str) -> Value {
    json!({"title": action, "type": "object", "description": "Ask help for what this action takes."})
}

/// One schema; `None` where it cannot be shown to every vendor.
fn of(action: &str, schema: &str) -> Option<Value> {
    let root: Value = serde_json::from_str(schema).ok()?;
    let mut left = MAX_NODES;
    let mut shown = written_out(&root, &root, DEPTH, &mut Vec::new(), &mut left)?;
    let keywords = shown.as_object_mut()?;
    if keywords.get("type").is_some_and(|name| name != "object") {
        return None;
    }
    keywords.insert("type".to_owned(), json!("object"));
    keywords.insert("title".to_owned(), json!(action));
    // Real servers write what is no JSON Schema; inside another schema it would spoil the whole.
    (client_limits::breaches_inside(&shown).is_empty() && jsonschema::meta::is_valid(&shown))
        .then_some(shown)
}

/// A schema without references; `None`: it is too large.
fn written_out<'a>(
    root: &'a Value,
    node: &'a Value,
    depth: usize,
    within: &mut Vec<&'a str>,
    left: &mut usize,
) -> Option<Value> {
    *left = left.checked_sub(1)?;
    let Some(keywords) = node.as_object() else { return Some(json!({})) };
    if let Some(name) = keywords.get("$ref").and_then(Value::as_str) {
        // One that contains itself ends here.
        let (Some(target), false) = (resolved(root, name), within.contains(&name)) else {
            return Some(json!({}));
        };
        within.push(name);
        let target = written_out(root, target, depth, within, left);
        within.pop();
        let mut target = target?;
        if let (Some(own), Some(target)) = (keywords.get("description"), target.as_object_mut()) {
            target.insert("description".to_owned(), own.clone());
        }
        return Some(target);
    }
    let nests = keywords.contains_key("properties") || keywords.contains_key("items");
    let Some(deeper) = depth.checked_sub(usize::from(nests)) else {
        return Some(keywords.get("type").map_or(json!({}), |name| json!({"type": name})))
            .map(|shown| with_items(shown.as_object().cloned().unwrap_or_default()));
    };
    let mut shown = Map::new();
    for (keyword, value) in keywords {
        let mut below = |value: &'a Value| written_out(root, value, deeper, within, left);
        let mut name = keyword.as_str();
        let value = match (name, value) {
            ("$schema" | "$id" | "$anchor" | "$defs" | "definitions" | "$comment", _) => continue,
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
                let named: Option<Map<String, Value>> =
                    named.iter().map(|(key, schema)| Some((key.clone(), below(schema)?))).collect();
                Value::Object(named?)
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(list)) => {
                list.iter().map(below).collect::<Option<Value>>()?
            }
            (
                "items"
                | "additionalProperties"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames",
                Value::Object(_),
            ) => below(value)?,
            _ => value.clone(),
        };
        if name == "items" && value.is_array() {
            name = "prefixItems"; // what it was called before 2020-12
        }
        shown.insert(name.to_owned(), value);
    }
    Some(with_items(with_words(shown)))
}

/// An enum of anything but words, said in the description.
fn with_words(mut shown: Map<String, Value>) -> Map<String, Value> {
    let Some(values) = shown.get("enum").and_then(Value::as_array) else { return shown };
    if values.iter().all(|value| value.as_str().is_some_and(|word| !word.is_empty())) {
        return shown;
    }
    let listed: Vec<String> = values.iter().map(Value::to_string).collect();
    let before = shown
        .get("description")
        .and_then(Value::as_str)
        .map(|text| format!("{text} "))
        .unwrap_or_default();
    let description = format!("{before}One of: {}.", listed.join(", "));
    shown.remove("enum");
    shown.remove("enumDescriptions");
    shown.insert("description".to_owned(), json!(description));
    shown
}

/// An array that does not say what it holds may hold anything.
fn with_items(shown: Map<String, Value>) -> Value {
    let mut shown = shown;
    let is_array = match shown.get("type") {
        Some(Value::String(name)) => name == "array",
        Some(Value::Array(names)) => names.iter().any(|name| name == "array"),
        _ => false,
    };
    if is_array && !shown.contains_key("items") {
        shown.insert("items".to_owned(), json!({}));
    }
    Value::Object(shown)
}

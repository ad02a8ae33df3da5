//! The schemas of tools inside the schema of a dispatching tool. References are expanded, and what
//! some vendor would refuse is written in another way. Calls are validated against the original
//! schemas.

use serde_json::{Map, Value, json};

use crate::arguments::schema::resolve_ref;
use crate::client_limits::{self, LIMITS, SchemaSize};

/// Levels that an embedded schema may have. The dispatching tool adds two.
const DEPTH: usize = LIMITS.depth - 3;
/// Most bytes of all schemas of one dispatching tool. With more, grouping saves nothing.
const MAX_BYTES: usize = 48 << 10;
/// Most nodes of one schema after its references are expanded.
const MAX_NODES: usize = 4_000;
/// What the dispatching tool itself counts toward each limit, at most.
const MARGIN: usize = 200;

/// The schemas to embed for these actions, in their order. While they exceed a limit, the largest
/// becomes a placeholder.
pub(super) fn embed_all<'a>(actions: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    let mut forms: Vec<Form> = actions
        .map(|(action, schema)| {
            let schema = embed(action, schema).unwrap_or_else(|| placeholder(action));
            Form { length: schema.to_string().len(), size: SchemaSize::count(&schema), schema }
        })
        .collect();
    while !fits(&forms) {
        let largest =
            forms.iter_mut().max_by_key(|form| form.length).filter(|form| form.length > 0);
        let Some(largest) = largest else { break };
        let schema =
            placeholder(largest.schema.get("title").and_then(Value::as_str).unwrap_or_default());
        // Length 0, so that it is not chosen again: it cannot become shorter.
        *largest = Form { length: 0, size: SchemaSize::count(&schema), schema };
    }
    forms.into_iter().map(|form| form.schema).collect()
}

/// An embedded schema. It is measured once, because the limits are checked many times.
struct Form {
    length: usize,
    size: SchemaSize,
    schema: Value,
}

fn fits(forms: &[Form]) -> bool {
    let bytes: usize = forms.iter().map(|form| form.length).sum();
    let within = |limit: usize, count: fn(SchemaSize) -> usize| {
        forms.iter().map(|form| count(form.size)).sum::<usize>() + MARGIN <= limit
    };
    // The names of the actions count as enum values and as text: at most 100 names of 48
    // characters.
    bytes <= MAX_BYTES
        && within(LIMITS.properties, |size| size.properties)
        && within(LIMITS.enum_values, |size| size.enum_values)
        && within(LIMITS.text - 10_000, |size| size.text)
}

/// A schema that allows any object, for an action whose schema is not embedded.
fn placeholder(action: &str) -> Value {
    json!({"title": action, "type": "object",
        "description": "Ask help for what this action takes."})
}

/// One schema; `None` if some vendor would refuse it.
fn embed(action: &str, schema: &str) -> Option<Value> {
    let root: Value = serde_json::from_str(schema).ok()?;
    let mut left = MAX_NODES;
    let mut embedded = expand(&root, &root, DEPTH, &mut Vec::new(), &mut left)?;
    let keywords = embedded.as_object_mut()?;
    if keywords.get("type").is_some_and(|name| name != "object") {
        return None;
    }
    keywords.insert("type".to_owned(), json!("object"));
    keywords.insert("title".to_owned(), json!(action));
    // Some real servers have invalid schemas. Embedded, one would make the whole schema invalid.
    (client_limits::violations_below_root(&embedded).is_empty()
        && jsonschema::meta::is_valid(&embedded))
    .then_some(embedded)
}

/// A schema without references. `None` if it is too large.
fn expand<'a>(
    root: &'a Value,
    node: &'a Value,
    depth: usize,
    within: &mut Vec<&'a str>,
    left: &mut usize,
) -> Option<Value> {
    *left = left.checked_sub(1)?;
    let Some(keywords) = node.as_object() else { return Some(json!({})) };
    if let Some(name) = keywords.get("$ref").and_then(Value::as_str) {
        // A reference that contains itself is expanded only once.
        let (Some(target), false) = (resolve_ref(root, name), within.contains(&name)) else {
            return Some(json!({}));
        };
        within.push(name);
        let target = expand(root, target, depth, within, left);
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
            .map(|cut| with_items(cut.as_object().cloned().unwrap_or_default()));
    };
    let mut expanded = Map::new();
    for (keyword, value) in keywords {
        if matches!(
            keyword.as_str(),
            "$schema" | "$id" | "$anchor" | "$defs" | "definitions" | "$comment"
        ) {
            continue;
        }
        let mut below = |value: &'a Value| expand(root, value, deeper, within, left);
        let value = expand_keyword(keyword, value, &mut below)?;
        // Before draft 2020-12, `items` with a list meant `prefixItems`.
        let is_tuple = keyword == "items" && value.is_array();
        let keyword = if is_tuple { "prefixItems" } else { keyword };
        expanded.insert(keyword.to_owned(), value);
    }
    Some(with_items(with_string_enum(expanded)))
}

/// The value of one keyword, with the schemas in it expanded by `below`.
fn expand_keyword<'a>(
    keyword: &str,
    value: &'a Value,
    below: &mut impl FnMut(&'a Value) -> Option<Value>,
) -> Option<Value> {
    match (keyword, value) {
        ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
            let named: Option<Map<String, Value>> =
                named.iter().map(|(key, schema)| Some((key.clone(), below(schema)?))).collect();
            named.map(Value::Object)
        }
        ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(list)) => {
            list.iter().map(below).collect::<Option<Value>>()
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
        ) => below(value),
        _ => Some(value.clone()),
    }
}

/// Moves an enum of anything but non-empty strings into the description.
fn with_string_enum(mut schema: Map<String, Value>) -> Map<String, Value> {
    let Some(values) = schema.get("enum").and_then(Value::as_array) else { return schema };
    if values.iter().all(|value| value.as_str().is_some_and(|word| !word.is_empty())) {
        return schema;
    }
    let listed: Vec<String> = values.iter().map(Value::to_string).collect();
    let before = schema
        .get("description")
        .and_then(Value::as_str)
        .map(|text| format!("{text} "))
        .unwrap_or_default();
    let description = format!("{before}One of: {}.", listed.join(", "));
    schema.remove("enum");
    schema.remove("enumDescriptions");
    schema.insert("description".to_owned(), json!(description));
    schema
}

/// Adds `items` to an array without it: any item is allowed.
fn with_items(mut schema: Map<String, Value>) -> Value {
    let is_array = match schema.get("type") {
        Some(Value::String(name)) => name == "array",
        Some(Value::Array(names)) => names.iter().any(|name| name == "array"),
        _ => false,
    };
    if is_array && !schema.contains_key("items") {
        schema.insert("items".to_owned(), json!({}));
    }
    Value::Object(schema)
}

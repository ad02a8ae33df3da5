//! Generates random valid calls from the schema of a tool, and records what the schema says about
//! each place. It shares no code with the hub, so that it cannot share its mistakes.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value, json};

pub(crate) type Pointer = Vec<String>;

/// What the schema says about one place in the call.
#[derive(Debug, Clone)]
pub(crate) enum Site {
    /// An object with these declared members. `closed` means that others are not allowed, `map`
    /// that others are data.
    Object {
        declared: Vec<String>,
        required: Vec<String>,
        closed: bool,
        map: bool,
    },
    Choice {
        options: Vec<String>,
    },
    Number,
    Boolean,
    Array,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) value: Value,
    pub(crate) sites: Vec<(Pointer, Site)>,
}

pub(crate) struct Maker<'a> {
    pub(crate) rng: &'a mut StdRng,
    root: &'a Value,
    sites: Vec<(Pointer, Site)>,
}

const WORDS: [&str; 12] = [
    "main",
    "report",
    "Berlin",
    "user@example.com",
    "2024-05-01",
    "42",
    "true",
    "a, b",
    "[draft]",
    "Hello, world!",
    "x_y-z",
    "https://example.com/a",
];

/// A random call. It may be invalid if the schema uses keywords that this generator does not know.
pub(crate) fn call(rng: &mut StdRng, schema: &Value) -> Option<Call> {
    let mut maker = Maker { rng, root: schema, sites: Vec::new() };
    let value = maker.value(schema, &mut Vec::new(), 0)?;
    value.is_object().then_some(Call { value, sites: maker.sites })
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, at: &mut Pointer, depth: usize) -> Option<Value> {
        if depth > 8 {
            return None;
        }
        if let Some(name) = schema["$ref"].as_str() {
            let target = self.root.pointer(name.strip_prefix('#')?)?.clone();
            return self.value(&target, at, depth + 1);
        }
        if let Some(value) = schema.get("const") {
            let options = value.as_str().map(|word| vec![word.to_owned()]);
            self.sites.extend(options.map(|options| (at.clone(), Site::Choice { options })));
            return Some(value.clone());
        }
        if let Some(values) = schema["enum"].as_array() {
            let options = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            self.sites.push((at.clone(), Site::Choice { options }));
            return values.choose(self.rng).cloned();
        }
        for composition in ["anyOf", "oneOf"] {
            if let Some(branches) = schema[composition].as_array() {
                // If several branches can apply, it is unclear what the schema says, so `mutations`
                // must not change anything there.
                let before = self.sites.len();
                let branch = branches.choose(self.rng)?;
                let value = self.value(branch, at, depth + 1);
                let simple = branches.iter().filter(|branch| branch["type"] != "null").count() == 1;
                if !simple {
                    self.sites.truncate(before);
                }
                return value;
            }
        }
        let kind = match &schema["type"] {
            Value::String(name) => name.clone(),
            Value::Array(names) => return self.one_of_types(schema, names, at, depth),
            _ if schema.get("properties").is_some() => "object".into(),
            _ => return Some(json!("anything")),
        };
        self.of_type(&kind, schema, at, depth)
    }

    fn one_of_types(
        &mut self,
        schema: &Value,
        names: &[Value],
        at: &mut Pointer,
        depth: usize,
    ) -> Option<Value> {
        let before = self.sites.len();
        let name = names.choose(self.rng)?.as_str()?.to_owned();
        let value = self.of_type(&name, schema, at, depth);
        self.sites.truncate(before);
        value
    }

    fn of_type(
        &mut self,
        kind: &str,
        schema: &Value,
        at: &mut Pointer,
        depth: usize,
    ) -> Option<Value> {
        Some(match kind {
            "object" => self.object(schema, at, depth)?,
            "array" => {
                let least = schema["minItems"].as_u64().unwrap_or(0).max(1);
                let most = schema["maxItems"].as_u64().unwrap_or(3).max(least);
                self.sites.push((at.clone(), Site::Array));
                let items = (0..self.rng.random_range(least..=most.min(least + 2))).map(|index| {
                    at.push(index.to_string());
                    let item = self.value(&schema["items"], at, depth + 1);
                    at.pop();
                    item
                });
                items.collect::<Option<Value>>()?
            }
            "string" => self.string(schema),
            "boolean" => {
                self.sites.push((at.clone(), Site::Boolean));
                json!(self.rng.random::<bool>())
            }
            "integer" | "number" => {
                self.sites.push((at.clone(), Site::Number));
                self.number(schema, kind == "integer")
            }
            "null" => Value::Null,
            _ => return None,
        })
    }

    fn object(&mut self, schema: &Value, at: &mut Pointer, depth: usize) -> Option<Value> {
        let empty = Map::new();
        let declared = schema["properties"].as_object().unwrap_or(&empty);
        let required: Vec<String> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let additional = &schema["additionalProperties"];
        let map = additional.as_object().is_some_and(|schema| !schema.is_empty());
        self.sites.push((
            at.clone(),
            Site::Object {
                declared: declared.keys().cloned().collect(),
                required: required.clone(),
                closed: additional == &Value::Bool(false),
                map,
            },
        ));
        let mut members = Map::new();
        for (key, member) in declared {
            if required.contains(key) || (depth < 4 && self.rng.random_bool(0.5)) {
                at.push(key.clone());
                let value = self.value(member, at, depth + 1);
                at.pop();
                members.insert(key.clone(), value?);
            }
        }
        if map {
            at.push("some key".into());
            members.insert("some key".into(), self.value(additional, at, depth + 1)?);
            at.pop();
        }
        Some(Value::Object(members))
    }

    fn string(&mut self, schema: &Value) -> Value {
        let mut word = WORDS.choose(self.rng).copied().unwrap_or_default().to_owned();
        let least = usize::try_from(schema["minLength"].as_u64().unwrap_or(0)).unwrap_or(0);
        while word.chars().count() < least.min(200) {
            word.push('x');
        }
        json!(word)
    }

    fn number(&mut self, schema: &Value, integer: bool) -> Value {
        let bound = |key: &str| schema[key].as_f64();
        let least = bound("minimum")
            .or(bound("exclusiveMinimum").map(|bound| bound + 1.0))
            .unwrap_or(0.0)
            .ceil();
        let most = bound("maximum")
            .or(bound("exclusiveMaximum").map(|bound| bound - 1.0))
            .unwrap_or(least + 1000.0);
        #[allow(clippy::cast_possible_truncation)]
        let whole = self.rng.random_range(least as i64..=(most.floor() as i64).max(least as i64));
        if integer || self.rng.random_bool(0.5) || least >= most {
            json!(whole)
        } else {
            json!(f64::midpoint(least, most) + 0.25)
        }
    }
}

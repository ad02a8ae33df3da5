//! Schemas of tools, compiled. They come from servers that nobody here vouches for, so what they may cost is bounded.

use std::collections::{HashMap, HashSet};

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Longest schema that is compiled; the longest of the real ones is a fifth of it.
pub const MAX_BYTES: usize = 256 << 10;
/// Most schema nodes with every `$ref` written out: twenty definitions that each name the next one twice are a million.
const MAX_NODES: u64 = 100_000;
/// Deepest with every `$ref` written out: compiling and validating recurse, and an overflowing stack ends the process.
const MAX_DEPTH: u64 = 200;
const MAX_REFERENCES: usize = 1_000;
/// Most steps that one validation may take through a schema that contains itself.
const MAX_STEPS: f64 = 1_000_000.0;
/// A pattern that backtracks longer does not match.
const MAX_BACKTRACKING: usize = 100_000;
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Why arguments are not validated against a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is none.
    #[error("the tool has no inputSchema")]
    Missing,
    /// Longer than [`MAX_BYTES`].
    #[error("it has {0} bytes; at most {MAX_BYTES} are compiled")]
    TooLong(usize),
    /// It grows beyond bounds when its references are written out.
    #[error(
        "with its references written out it has more than {MAX_NODES} nodes, or is more than {MAX_DEPTH} deep"
    )]
    TooLarge,
    /// It is no JSON Schema, or names one that is elsewhere.
    #[error("it is no schema that stands alone: {0}")]
    Malformed(String),
}

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    root: Value,
    validator: Validator,
    /// Deepest arguments that it is tried on.
    depth: usize,
}

/// `inputSchema` of a definition, as written.
pub fn of_definition(definition: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Defined<'a> {
        #[serde(borrow, rename = "inputSchema", default)]
        schema: Option<&'a RawValue>,
    }
    serde_json::from_str::<Defined<'_>>(definition).ok()?.schema.map(RawValue::get)
}

impl Schema {
    /// Compiles the `inputSchema` of a definition.
    pub fn of_definition(definition: &str) -> Result<Self, Unusable> {
        Self::compile(of_definition(definition).ok_or(Unusable::Missing)?)
    }

    /// Compiles a schema: JSON Schema 2020-12, or the draft that it names. Nothing is fetched.
    pub fn compile(text: &str) -> Result<Self, Unusable> {
        if text.len() > MAX_BYTES {
            return Err(Unusable::TooLong(text.len()));
        }
        let malformed =
            |error: &dyn std::fmt::Display| Unusable::Malformed(shortened(&error.to_string()));
        let root: Value = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if !root.is_object() {
            return Err(Unusable::Malformed("it is not an object".into()));
        }
        let references = References::of(&root).ok_or(Unusable::TooLarge)?;
        let expanded = references.expanded();
        if expanded.nodes > MAX_NODES || expanded.depth > MAX_DEPTH {
            return Err(Unusable::TooLarge);
        }
        let depth = depth_for(references.recursive());
        let draft = Draft::default().detect(&root);
        let validator = jsonschema::options()
            .with_draft(if draft == Draft::Unknown { Draft::Draft202012 } else { draft })
            .offline()
            // Formats are notes in 2020-12, and a hub that is stricter than the server refuses good calls.
            .should_validate_formats(false)
            .with_pattern_options(
                PatternOptions::fancy_regex()
                    .backtrack_limit(MAX_BACKTRACKING)
                    .size_limit(MAX_PATTERN_BYTES),
            )
            .build(&root)
            .map_err(|error| malformed(&error.masked()))?;
        Ok(Self { root, validator, depth })
    }

    /// The schema itself.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Whether arguments of this depth can be validated in reasonable time.
    pub fn bears(&self, arguments: &Value) -> bool {
        depth_within(arguments, self.depth)
    }

    /// Whether they are valid.
    pub fn accepts(&self, arguments: &Value) -> bool {
        self.validator.is_valid(arguments)
    }

    /// All that is wrong with them.
    pub fn errors<'a>(&'a self, arguments: &'a Value) -> impl Iterator<Item = ValidationError<'a>> {
        self.validator.iter_errors(arguments)
    }
}

/// The value at a local reference (`#`, `#/a/b`).
pub fn resolved<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(root);
    }
    root.pointer(&pointer.replace("%25", "%"))
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// With so many references that lead back to themselves, each level of the arguments may multiply the work by as much.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn depth_for(recursive: usize) -> usize {
    match recursive {
        // serde_json parses no deeper.
        0 => 128,
        count => (MAX_STEPS.ln() / (count.max(2) as f64).ln()) as usize,
    }
}

fn depth_within(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(items) => most > 0 && items.iter().all(|item| depth_within(item, most - 1)),
        Value::Object(members) => {
            most > 0 && members.values().all(|member| depth_within(member, most - 1))
        }
        _ => true,
    }
}

/// The local references of a schema.
struct References<'a> {
    /// What each of them names directly; the root is `""`.
    named: HashMap<&'a str, Below<'a>>,
}

/// What is below one node, up to the next references.
struct Below<'a> {
    size: Size,
    /// With how deep they are.
    references: Vec<(&'a str, u64)>,
}

#[derive(Clone, Copy)]
struct Size {
    nodes: u64,
    depth: u64,
}

impl<'a> References<'a> {
    /// `None`: there are too many to look at.
    fn of(root: &'a Value) -> Option<Self> {
        let mut named = HashMap::new();
        let mut open = vec![("", root)];
        while let Some((name, node)) = open.pop() {
            if named.contains_key(name) {
                continue;
            }
            if named.len() > MAX_REFERENCES {
                return None;
            }
            let below = Below::of(node);
            open.extend(
                below
                    .references
                    .iter()
                    .filter_map(|&(name, _)| Some((name, resolved(root, name)?))),
            );
            named.insert(name, below);
        }
        Some(Self { named })
    }

    /// With every reference written out once; those that lead back to themselves end there.
    fn expanded(&self) -> Size {
        fn size<'a>(
            all: &References<'a>,
            name: &'a str,
            known: &mut HashMap<&'a str, Size>,
        ) -> Size {
            const END: Size = Size { nodes: 1, depth: 1 };
            if let Some(size) = known.get(name) {
                return *size;
            }
            known.insert(name, END);
            let Some(below) = all.named.get(name) else { return END };
            let whole = below.references.iter().fold(below.size, |whole, (name, at)| {
                let part = size(all, name, known);
                Size {
                    nodes: whole.nodes.saturating_add(part.nodes),
                    depth: whole.depth.max(at.saturating_add(part.depth)),
                }
            });
            known.insert(name, whole);
            whole
        }
        size(self, "", &mut HashMap::new())
    }

    /// How many references are on a way back to themselves.
    fn recursive(&self) -> usize {
        let next =
            |name: &str| self.named.get(name).into_iter().flat_map(|below| below.references.iter());
        let reaches_itself = |name: &&str| {
            let mut seen = HashSet::new();
            let mut open: Vec<&str> = next(name).map(|(next, _)| *next).collect();
            while let Some(found) = open.pop() {
                if found == *name {
                    return true;
                }
                if seen.insert(found) {
                    open.extend(next(found).map(|(next, _)| *next));
                }
            }
            false
        };
        let looping: HashSet<&str> = self.named.keys().copied().filter(reaches_itself).collect();
        looping
            .iter()
            .flat_map(|name| next(name))
            .filter(|(next, _)| looping.contains(next))
            .count()
    }
}

impl<'a> Below<'a> {
    fn of(node: &'a Value) -> Self {
        let mut below = Self { size: Size { nodes: 0, depth: 0 }, references: Vec::new() };
        let mut open = vec![(node, 1)];
        while let Some((node, depth)) = open.pop() {
            below.size = Size { nodes: below.size.nodes + 1, depth: below.size.depth.max(depth) };
            match node {
                Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
                Value::Object(members) => {
                    let named = ["$ref", "$dynamicRef", "$recursiveRef"].iter();
                    let named = named.filter_map(|key| members.get(*key)?.as_str());
                    below
                        .references
                        .extend(named.map(|name| (if name == "#" { "" } else { name }, depth)));
                    open.extend(members.values().map(|member| (member, depth + 1)));
                }
                _ => {}
            }
        }
        below
    }
}

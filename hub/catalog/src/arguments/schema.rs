//! Compiled input schemas. They come from servers that are not trusted, so their cost is bounded.

use std::collections::{HashMap, HashSet};

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Longest schema in bytes. The longest known real one is a fifth as long.
pub const MAX_BYTES: usize = 256 << 10;
/// Most nodes after every `$ref` is expanded. Twenty definitions that each refer to the next one
/// twice expand to a million.
const MAX_NODES: u64 = 100_000;
/// Greatest depth after every `$ref` is expanded. Compiling and validating recurse, and a stack
/// overflow aborts the process.
const MAX_DEPTH: u64 = 200;
const MAX_REFERENCES: usize = 1_000;
/// Most steps of one validation through a recursive schema.
const MAX_STEPS: f64 = 1_000_000.0;
/// A pattern that needs more backtracking does not match.
const MAX_BACKTRACKING: usize = 100_000;
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Why a schema cannot be used to validate arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("the tool has no inputSchema")]
    Missing,
    #[error("inputSchema has {0} bytes, but at most {MAX_BYTES} are supported")]
    TooLong(usize),
    /// It exceeds a bound after its references are expanded.
    #[error(
        "inputSchema has more than {MAX_NODES} nodes or {MAX_DEPTH} levels after its references \
         are expanded"
    )]
    TooLarge,
    /// It is not a JSON Schema, or refers to another document.
    #[error("inputSchema is not a self-contained JSON Schema: {0}")]
    Malformed(String),
}

#[derive(Debug)]
pub struct Schema {
    root: Value,
    validator: Validator,
    /// Greatest depth of arguments that it validates.
    max_depth: usize,
}

/// The `inputSchema` of a definition, byte for byte.
pub fn input_schema(definition: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Definition<'a> {
        #[serde(borrow, rename = "inputSchema", default)]
        schema: Option<&'a RawValue>,
    }
    serde_json::from_str::<Definition<'_>>(definition).ok()?.schema.map(RawValue::get)
}

impl Schema {
    /// Compiles the `inputSchema` of a definition.
    pub fn from_definition(definition: &str) -> Result<Self, SchemaError> {
        Self::compile(input_schema(definition).ok_or(SchemaError::Missing)?)
    }

    /// Compiles a schema of JSON Schema 2020-12, or of the draft that it names. Nothing is fetched.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_BYTES {
            return Err(SchemaError::TooLong(text.len()));
        }
        let malformed =
            |error: &dyn std::fmt::Display| SchemaError::Malformed(shorten(&error.to_string()));
        let root: Value = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if !root.is_object() {
            return Err(SchemaError::Malformed("it is not an object".into()));
        }
        let references = References::collect(&root).ok_or(SchemaError::TooLarge)?;
        let expanded = references.expanded_size();
        if expanded.nodes > MAX_NODES || expanded.depth > MAX_DEPTH {
            return Err(SchemaError::TooLarge);
        }
        let max_depth = max_depth(references.count_recursive());
        let draft = Draft::default().detect(&root);
        let validator = jsonschema::options()
            .with_draft(if draft == Draft::Unknown { Draft::Draft202012 } else { draft })
            .offline()
            // Since draft 2020-12 formats are only annotations. A hub that checks them rejects
            // calls that the server accepts.
            .should_validate_formats(false)
            .with_pattern_options(
                PatternOptions::fancy_regex()
                    .backtrack_limit(MAX_BACKTRACKING)
                    .size_limit(MAX_PATTERN_BYTES),
            )
            .build(&root)
            .map_err(|error| malformed(&error.masked()))?;
        Ok(Self { root, validator, max_depth })
    }

    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Whether these arguments are shallow enough to be validated in reasonable time.
    pub fn can_validate(&self, arguments: &Value) -> bool {
        depth_within(arguments, self.max_depth)
    }

    /// Whether the arguments are valid.
    pub fn accepts(&self, arguments: &Value) -> bool {
        self.validator.is_valid(arguments)
    }

    /// All errors in the arguments.
    pub fn errors<'a>(&'a self, arguments: &'a Value) -> impl Iterator<Item = ValidationError<'a>> {
        self.validator.iter_errors(arguments)
    }
}

/// The schema at a local reference (`#`, `#/a/b`).
pub(crate) fn resolve_ref<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(root);
    }
    root.pointer(&pointer.replace("%25", "%"))
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The depth of arguments up to which a schema with this many recursive references needs at most
/// [`MAX_STEPS`]. Each level of the arguments may multiply the steps by the number of these
/// references.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn max_depth(recursive: usize) -> usize {
    match recursive {
        // serde_json parses no deeper values.
        0 => 128,
        count => (MAX_STEPS.ln() / (count.max(2) as f64).ln()) as usize,
    }
}

fn depth_within(value: &Value, max: usize) -> bool {
    match value {
        Value::Array(items) => max > 0 && items.iter().all(|item| depth_within(item, max - 1)),
        Value::Object(members) => {
            max > 0 && members.values().all(|member| depth_within(member, max - 1))
        }
        _ => true,
    }
}

/// The local references of a schema.
struct References<'a> {
    /// The subtree at each reference; the root is `""`.
    by_name: HashMap<&'a str, Subtree<'a>>,
}

/// The nodes below one node, up to the next references.
struct Subtree<'a> {
    size: TreeSize,
    /// The references in it, and their depths.
    references: Vec<(&'a str, u64)>,
}

#[derive(Clone, Copy)]
struct TreeSize {
    nodes: u64,
    depth: u64,
}

impl<'a> References<'a> {
    /// `None` if there are more than [`MAX_REFERENCES`].
    fn collect(root: &'a Value) -> Option<Self> {
        let mut by_name = HashMap::new();
        let mut open = vec![("", root)];
        while let Some((name, node)) = open.pop() {
            if by_name.contains_key(name) {
                continue;
            }
            if by_name.len() > MAX_REFERENCES {
                return None;
            }
            let subtree = Subtree::read(node);
            open.extend(
                subtree
                    .references
                    .iter()
                    .filter_map(|&(name, _)| Some((name, resolve_ref(root, name)?))),
            );
            by_name.insert(name, subtree);
        }
        Some(Self { by_name })
    }

    /// The size after every reference is expanded. A reference to itself is not expanded again.
    fn expanded_size(&self) -> TreeSize {
        fn size<'a>(
            all: &References<'a>,
            name: &'a str,
            known: &mut HashMap<&'a str, TreeSize>,
        ) -> TreeSize {
            const END: TreeSize = TreeSize { nodes: 1, depth: 1 };
            if let Some(size) = known.get(name) {
                return *size;
            }
            known.insert(name, END);
            let Some(subtree) = all.by_name.get(name) else { return END };
            let whole = subtree.references.iter().fold(subtree.size, |whole, (name, at)| {
                let part = size(all, name, known);
                TreeSize {
                    nodes: whole.nodes.saturating_add(part.nodes),
                    depth: whole.depth.max(at.saturating_add(part.depth)),
                }
            });
            known.insert(name, whole);
            whole
        }
        size(self, "", &mut HashMap::new())
    }

    /// How many references are part of a cycle.
    fn count_recursive(&self) -> usize {
        let next = |name: &str| {
            self.by_name.get(name).into_iter().flat_map(|subtree| subtree.references.iter())
        };
        let reaches_itself = |name: &&str| {
            let mut visited = HashSet::new();
            let mut open: Vec<&str> = next(name).map(|(next, _)| *next).collect();
            while let Some(reached) = open.pop() {
                if reached == *name {
                    return true;
                }
                if visited.insert(reached) {
                    open.extend(next(reached).map(|(next, _)| *next));
                }
            }
            false
        };
        let recursive: HashSet<&str> =
            self.by_name.keys().copied().filter(reaches_itself).collect();
        recursive
            .iter()
            .flat_map(|name| next(name))
            .filter(|(next, _)| recursive.contains(next))
            .count()
    }
}

impl<'a> Subtree<'a> {
    fn read(node: &'a Value) -> Self {
        let mut subtree = Self { size: TreeSize { nodes: 0, depth: 0 }, references: Vec::new() };
        let mut open = vec![(node, 1)];
        while let Some((node, depth)) = open.pop() {
            subtree.size.nodes += 1;
            subtree.size.depth = subtree.size.depth.max(depth);
            match node {
                Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
                Value::Object(members) => {
                    let names = ["$ref", "$dynamicRef", "$recursiveRef"].iter();
                    let names = names.filter_map(|key| members.get(*key)?.as_str());
                    subtree
                        .references
                        .extend(names.map(|name| (if name == "#" { "" } else { name }, depth)));
                    open.extend(members.values().map(|member| (member, depth + 1)));
                }
                _ => {}
            }
        }
        subtree
    }
}

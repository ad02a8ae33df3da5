//! One tool that exists in this hub.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use mcphub_hub_wire::config::Server;
use sha2::{Digest as _, Sha256};

use super::Definition;
use crate::category::{self, Builtin};
use crate::client_limits::{self, LimitViolation};
use crate::{names, tokens};
use mcphub_hub_protocol::json_splice::{self, Edits};
use mcphub_hub_protocol::mcp_headers::{self, ParamHeader};

/// A tool that exists in this hub.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Position of its server in the config.
    pub server: usize,
    /// Name of its server.
    pub server_name: Arc<str>,
    /// The server's own name of it.
    pub own: String,
    /// The name that clients see.
    pub exposed: String,
    /// That name without prefix.
    pub bare: String,
    /// The definition as clients see it.
    pub definition: String,
    /// Its description there; empty where it has none.
    pub description: String,
    /// What it says of its effects.
    pub hints: Hints,
    /// Changes with any byte of the definition.
    pub digest: u64,
    /// Longest wait for its answer.
    pub timeout_ms: u64,
    /// Arguments that the modern protocol mirrors into headers.
    pub param_headers: Vec<ParamHeader>,
    schema: Range<usize>,
    annotations: Range<usize>,
    tokens: OnceLock<u32>,
    category: OnceLock<Builtin>,
    violations: OnceLock<Vec<LimitViolation>>,
}

/// What a tool's annotations say of its effects; `None` where they say nothing, or no boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// What it changes may be lost.
    pub destructive: Option<bool>,
    /// Twice is as once.
    pub idempotent: Option<bool>,
    /// It meets the world outside.
    pub open_world: Option<bool>,
}

impl Tool {
    pub(super) fn of(
        position: usize,
        server: &Server,
        server_name: &Arc<str>,
        tool: &Definition,
        bare: &str,
        exposed: String,
    ) -> Self {
        let rules = &server.tools;
        let definition =
            redefined(&tool.text, &exposed, rules.describe.get(&tool.name).map(String::as_str));
        let parts = Parts::of(&definition);
        let range = |part: Option<&str>| {
            part.and_then(|part| json_splice::range_of(&definition, part)).unwrap_or_default()
        };
        let digest = Sha256::digest(&definition);
        Self {
            server: position,
            server_name: Arc::clone(server_name),
            own: tool.name.clone(),
            description: parts.description().into_owned(),
            hints: parts.annotations.map(Hints::of).unwrap_or_default(),
            digest: digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)),
            schema: range(parts.input_schema),
            annotations: range(parts.annotations),
            bare: names::sanitized(bare),
            timeout_ms: rules.timeout_ms.get(&tool.name).copied().unwrap_or(server.timeout_ms),
            param_headers: mcp_headers::of_definition(&tool.text),
            tokens: OnceLock::new(),
            category: OnceLock::new(),
            violations: OnceLock::new(),
            definition,
            exposed,
        }
    }

    /// Its input schema as written; empty where it has none.
    pub fn input_schema(&self) -> &str {
        self.definition.get(self.schema.clone()).unwrap_or_default()
    }

    /// Its annotations as written; empty where it has none.
    pub fn annotations(&self) -> &str {
        self.definition.get(self.annotations.clone()).unwrap_or_default()
    }

    /// What its definition costs in a prompt; see [`tokens`]. Counted when first asked.
    pub fn tokens(&self) -> u32 {
        *self.tokens.get_or_init(|| {
            tokens::of_definition(&self.exposed, &self.description, self.input_schema())
        })
    }

    /// Whether its built-in category was found already.
    pub fn is_categorized(&self) -> bool {
        self.category.get().is_some()
    }

    /// Its built-in category. Found when first asked.
    pub fn builtin_category(&self) -> Builtin {
        *self.category.get_or_init(|| category::builtin(self))
    }

    /// What big vendors refuse of it. Found when first asked: a schema is read for it.
    pub fn violations(&self) -> &[LimitViolation] {
        self.violations.get_or_init(|| {
            let schema = serde_json::from_str(self.input_schema()).unwrap_or_default();
            client_limits::violations(&self.exposed, &schema)
        })
    }

    /// Whether nothing about it differs from the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.server == other.server
            && self.server_name == other.server_name
            && self.own == other.own
            && self.bare == other.bare
            && self.timeout_ms == other.timeout_ms
            && self.param_headers == other.param_headers
            && self.definition == other.definition
    }
}

impl Hints {
    fn of(annotations: &str) -> Self {
        let members = json_splice::members(annotations).unwrap_or_default();
        let hint = |name: &str| {
            let value = members.iter().find(|member| member.key == name)?.value;
            serde_json::from_str(value).ok()
        };
        Self {
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            idempotent: hint("idempotentHint"),
            open_world: hint("openWorldHint"),
        }
    }
}

/// What the hub reads of a definition; where a key is there twice, the last, as JSON parsers do.
#[derive(Default)]
struct Parts<'a> {
    name: Option<&'a str>,
    description: Option<&'a str>,
    input_schema: Option<&'a str>,
    annotations: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(definition: &'a str) -> Self {
        let mut parts = Self::default();
        for member in json_splice::members(definition).unwrap_or_default() {
            match member.key.as_ref() {
                "name" => parts.name = Some(member.value),
                "description" => parts.description = Some(member.value),
                "inputSchema" => parts.input_schema = Some(member.value),
                "annotations" => parts.annotations = Some(member.value),
                _ => {}
            }
        }
        parts
    }

    fn description(&self) -> Cow<'a, str> {
        self.description.and_then(json_splice::unquoted).unwrap_or_default()
    }
}

/// The definition under another name, and with another description where there is one. Nothing else changes.
fn redefined(definition: &str, name: &str, description: Option<&str>) -> String {
    let parts = Parts::of(definition);
    // What has no name never got here.
    let Some(old_name) = parts.name else { return definition.to_owned() };
    let edits = Edits::of(definition).replace(old_name, json_splice::quoted(name));
    match (description.map(json_splice::quoted), parts.description) {
        (None, _) => edits,
        (Some(text), Some(old)) => edits.replace(old, text),
        (Some(text), None) => edits.insert("description", &text),
    }
    .finish()
}

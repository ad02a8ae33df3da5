//! What a list says of tools that are put together: the same for everybody who sees the same of them.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::schema_embedding;
use crate::catalog::{Hints, Tool};
use crate::tokens;
use mcphub_hub_protocol::json_splice::{self, quoted};

/// The action that explains the others.
const HELP: &str = "help";
/// Longest that the list says of one action.
const MAX_DESCRIPTION: usize = 120;
/// Most servers that the description of a category's tool names.
const NAMED_SERVERS: usize = 8;

/// Tools as one entry of a list. Its text is written when first asked: that takes milliseconds.
#[derive(Debug)]
pub struct Entry {
    /// The name that clients see.
    pub name: String,
    /// What the tools are for; `None` where they are those of a server.
    pub(super) category: Option<String>,
    /// What it calls, in the order of its actions.
    pub tools: Vec<Arc<Tool>>,
    written: OnceLock<Written>,
    tokens: OnceLock<u32>,
}

/// What follows from its name and tools.
#[derive(Debug)]
struct Written {
    /// One for each tool.
    actions: Vec<String>,
    help: String,
    definition: String,
    digest: u64,
}

impl Entry {
    pub(super) fn of(name: String, category: Option<String>, tools: Vec<Arc<Tool>>) -> Self {
        Self { name, category, tools, written: OnceLock::new(), tokens: OnceLock::new() }
    }

    /// The definition as clients see it.
    pub fn definition(&self) -> &str {
        &self.written().definition
    }

    /// Changes with any byte of the definition.
    pub fn digest(&self) -> u64 {
        self.written().digest
    }

    /// What it costs in a prompt; see [`tokens`]. Counted when first asked.
    pub fn tokens(&self) -> u32 {
        *self.tokens.get_or_init(|| {
            let members = json_splice::members(self.definition()).unwrap_or_default();
            let value = |key: &str| {
                members.iter().find(|member| member.key == key).map_or("", |member| member.value)
            };
            let description = json_splice::unquoted(value("description")).unwrap_or_default();
            tokens::of_definition(&self.name, &description, value("inputSchema"))
        })
    }

    /// The names of its actions, one for each tool.
    pub(super) fn actions(&self) -> &[String] {
        &self.written().actions
    }

    /// The action that explains the others.
    pub(super) fn help(&self) -> &str {
        &self.written().help
    }

    fn written(&self) -> &Written {
        self.written.get_or_init(|| Written::of(&self.name, self.category.as_deref(), &self.tools))
    }
}

impl Written {
    fn of(name: &str, category: Option<&str>, tools: &[Arc<Tool>]) -> Self {
        // The shortest name that is not also another's.
        let is_alone = |bare: &str| {
            let has = |tool: &&Arc<Tool>| tool.bare == bare || tool.exposed == bare;
            tools.iter().filter(has).count() == 1
        };
        let action = |tool: &Arc<Tool>| {
            if is_alone(&tool.bare) { tool.bare.clone() } else { tool.exposed.clone() }
        };
        let actions: Vec<String> = tools.iter().map(action).collect();
        let mut help = HELP.to_owned();
        while actions.contains(&help) {
            help.insert_str(0, "hub_");
        }
        let description = described(category, tools, &help);
        let hints = worst(&tools.iter().map(|tool| tool.hints));
        let definition = definition(name, &description, &schema(&actions, tools, &help), hints);
        let digest = Sha256::digest(&definition);
        let digest = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Self { actions, help, definition, digest }
    }
}

/// A client's "always allow" is for every action, so one that destroys makes all of them destructive.
fn worst(hints: &(impl Iterator<Item = Hints> + Clone)) -> Hints {
    let all = |says: &dyn Fn(Hints) -> bool| Some(hints.clone().all(says));
    Hints {
        read_only: all(&|hints| hints.read_only == Some(true)),
        destructive: all(&|hints| {
            hints.read_only == Some(true) || hints.destructive == Some(false)
        })
        .map(|safe| !safe),
        idempotent: all(&|hints| hints.read_only == Some(true) || hints.idempotent == Some(true)),
        open_world: all(&|hints| hints.open_world == Some(false)).map(|closed| !closed),
    }
}

fn described(category: Option<&str>, tools: &[Arc<Tool>], help: &str) -> String {
    let mut servers: Vec<&str> = Vec::new();
    for tool in tools {
        if !servers.contains(&&*tool.server_name) {
            servers.push(&tool.server_name);
        }
    }
    let more = servers.len().saturating_sub(NAMED_SERVERS);
    let more = (more > 0).then(|| format!("{more} more"));
    let named: Vec<&str> =
        servers.iter().copied().take(NAMED_SERVERS).chain(more.as_deref()).collect();
    let of = match category {
        None => format!("of the server {}", named.join(", ")),
        Some(category) => format!("for {category} (servers: {})", named.join(", ")),
    };
    format!(
        "Calls one of {} tools {of}: choose the action and give its arguments. The action \
         \"{help}\" with arguments {{\"action\": NAME}} shows an action's whole definition.",
        tools.len()
    )
}

fn definition(name: &str, description: &str, schema: &Value, hints: Hints) -> String {
    let hint = |hint: Option<bool>| hint.unwrap_or_default();
    let annotations = format!(
        r#"{{"readOnlyHint":{},"destructiveHint":{},"idempotentHint":{},"openWorldHint":{}}}"#,
        hint(hints.read_only),
        hint(hints.destructive),
        hint(hints.idempotent),
        hint(hints.open_world)
    );
    format!(
        r#"{{"name":{},"description":{},"inputSchema":{schema},"annotations":{annotations}}}"#,
        quoted(name),
        quoted(description)
    )
}

/// No composition at the root: vendors refuse every tool of a request for it.
fn schema(actions: &[String], tools: &[Arc<Tool>], help: &str) -> Value {
    let said = |tool: &Arc<Tool>| first_sentence(&tool.description);
    let names = actions.iter().map(String::as_str).chain([help]);
    let descriptions: Vec<String> =
        tools.iter().map(said).chain(["Shows an action's whole definition.".to_owned()]).collect();
    // The same once more: clients drop keywords that they do not know.
    let lines = names.clone().zip(&descriptions).map(|(name, said)| match said.as_str() {
        "" => format!("- {name}"),
        said => format!("- {name}: {said}"),
    });
    let description = lines.collect::<Vec<_>>().join("\n");
    let shown =
        actions.iter().map(String::as_str).zip(tools.iter().map(|tool| tool.input_schema()));
    let shown = schema_embedding::all(shown);
    let actions: Vec<&str> = names.collect();
    json!({
        "type": "object",
        "properties": {
            "action": {
                "type": "string",
                "enum": actions,
                "enumDescriptions": descriptions,
                "description": description,
            },
            "arguments": {
                "description": "The arguments of the action; the title of each form is the action that it is for.",
                "anyOf": shown,
            },
        },
        "required": ["action"],
    })
}

pub(super) fn first_sentence(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default().trim();
    let sentence = line.split_inclusive(". ").next().unwrap_or_default().trim_end();
    match sentence.char_indices().nth(MAX_DESCRIPTION) {
        Some((end, _)) => format!("{}…", sentence.get(..end).unwrap_or_default().trim_end()),
        None => sentence.to_owned(),
    }
}

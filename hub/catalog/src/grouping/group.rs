//! A group of tools as one entry of a list. It is the same for every caller who sees the same tools
//! of the group.

use std::sync::{Arc, OnceLock};

use mcphub_hub_protocol::json_splice::{self, quoted};
use serde_json::{Value, json};

use super::schema_embedding;
use crate::catalog::{Hints, Tool, digest};
use crate::tokens;

/// The action that shows the definitions of the others.
const HELP: &str = "help";
/// Most characters of a description in the list of actions.
const MAX_DESCRIPTION: usize = 120;
/// Most servers that the description of a category's tool names.
const MAX_SERVER_NAMES: usize = 8;

/// Tools that a list holds as one entry. The definition is rendered on first use, because that
/// takes milliseconds.
#[derive(Debug)]
pub struct ToolGroup {
    /// The name of the dispatching tool that clients see.
    pub name: String,
    /// `None` for the tools of a server.
    pub(super) category: Option<String>,
    /// One tool for each action, in the same order.
    pub tools: Vec<Arc<Tool>>,
    rendering: OnceLock<Rendering>,
    tokens: OnceLock<u32>,
}

/// What follows from the name and the tools of a group.
#[derive(Debug)]
struct Rendering {
    actions: Vec<String>,
    help: String,
    definition: String,
    digest: u64,
}

impl ToolGroup {
    pub(super) fn new(name: String, category: Option<String>, tools: Vec<Arc<Tool>>) -> Self {
        Self { name, category, tools, rendering: OnceLock::new(), tokens: OnceLock::new() }
    }

    /// The definition that clients see.
    pub fn definition(&self) -> &str {
        &self.rendering().definition
    }

    /// Changes with any byte of the definition.
    pub fn digest(&self) -> u64 {
        self.rendering().digest
    }

    /// What the definition costs in a prompt; see [`tokens`]. Counted on first use.
    pub fn tokens(&self) -> u32 {
        *self.tokens.get_or_init(|| {
            let members = json_splice::members(self.definition()).unwrap_or_default();
            let value = |key: &str| {
                members.iter().find(|member| member.key == key).map_or("", |member| member.value)
            };
            let description = json_splice::unquoted(value("description")).unwrap_or_default();
            tokens::count_definition(&self.name, &description, value("inputSchema"))
        })
    }

    /// The names of the actions, one for each tool.
    pub(super) fn actions(&self) -> &[String] {
        &self.rendering().actions
    }

    /// The name of the action that shows definitions.
    pub(super) fn help(&self) -> &str {
        &self.rendering().help
    }

    fn rendering(&self) -> &Rendering {
        self.rendering
            .get_or_init(|| Rendering::new(&self.name, self.category.as_deref(), &self.tools))
    }
}

impl Rendering {
    fn new(name: &str, category: Option<&str>, tools: &[Arc<Tool>]) -> Self {
        // An action has the tool's bare name unless another tool has that name too.
        let is_unique = |bare: &str| {
            let has = |tool: &&Arc<Tool>| tool.bare == bare || tool.exposed == bare;
            tools.iter().filter(has).count() == 1
        };
        let action = |tool: &Arc<Tool>| {
            if is_unique(&tool.bare) { tool.bare.clone() } else { tool.exposed.clone() }
        };
        let actions: Vec<String> = tools.iter().map(action).collect();
        let mut help = HELP.to_owned();
        while actions.contains(&help) {
            help.insert_str(0, "hub_");
        }
        let description = describe(category, tools, &help);
        let hints = most_harmful(&tools.iter().map(|tool| tool.hints()));
        let definition = definition(name, &description, &schema(&actions, tools, &help), hints);
        Self { digest: digest(&definition), actions, help, definition }
    }
}

/// The hints of the most harmful action. A user who always allows the dispatching tool allows all
/// of its actions.
fn most_harmful(hints: &(impl Iterator<Item = Hints> + Clone)) -> Hints {
    let all = |condition: &dyn Fn(Hints) -> bool| Some(hints.clone().all(condition));
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

fn describe(category: Option<&str>, tools: &[Arc<Tool>], help: &str) -> String {
    let mut servers: Vec<&str> = Vec::new();
    for tool in tools {
        if !servers.contains(&&*tool.server_name) {
            servers.push(&tool.server_name);
        }
    }
    let more = servers.len().saturating_sub(MAX_SERVER_NAMES);
    let more = (more > 0).then(|| format!("{more} more"));
    let named: Vec<&str> =
        servers.iter().copied().take(MAX_SERVER_NAMES).chain(more.as_deref()).collect();
    let origin = match category {
        None => format!("of the server {}", named.join(", ")),
        Some(category) => format!("for {category} (servers: {})", named.join(", ")),
    };
    format!(
        "Calls one of {} tools {origin}: choose the action and give its arguments. The action \
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

/// The input schema. It has no composition at the root: some vendors reject a whole request for one
/// such schema.
fn schema(actions: &[String], tools: &[Arc<Tool>], help: &str) -> Value {
    let summary = |tool: &Arc<Tool>| first_sentence(&tool.description);
    let names = actions.iter().map(String::as_str).chain([help]);
    let descriptions: Vec<String> = tools
        .iter()
        .map(summary)
        .chain(["Shows an action's whole definition.".to_owned()])
        .collect();
    // The same text again: many clients drop `enumDescriptions`.
    let lines = names.clone().zip(&descriptions).map(|(name, text)| match text.as_str() {
        "" => format!("- {name}"),
        text => format!("- {name}: {text}"),
    });
    let description = lines.collect::<Vec<_>>().join("\n");
    let schemas =
        actions.iter().map(String::as_str).zip(tools.iter().map(|tool| tool.input_schema()));
    let forms = schema_embedding::embed_all(schemas);
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
                "description": "The arguments of the action; the title of each form is the action \
                                that it is for.",
                "anyOf": forms,
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

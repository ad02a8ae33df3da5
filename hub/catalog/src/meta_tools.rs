//! The hub's own tools, with which clients find and call tools that are not in their list.

mod arguments;

use mcphub_hub_protocol::json_splice::quoted;
use serde::{Deserialize, Serialize};

pub use self::arguments::{AnalyzePrompt, Dispatch, FindTools, MAX_LIMIT, MAX_TEXT_BYTES};
use crate::catalog::{Hints, Tool};
use crate::tokens;
use crate::visibility::VisibleTools;

/// Most servers that the description of `hub__find_tools` names. Each costs tokens in every prompt.
const MAX_SERVER_NAMES: usize = 40;

/// What a call of a tool may do, by its annotations. A later class may do more harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The annotations say that it only reads.
    Read,
    /// The annotations say that it destroys nothing.
    Write,
    /// The annotations say that it may destroy something, or say nothing.
    Destructive,
}

impl Class {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Destructive];

    pub fn from_hints(hints: Hints) -> Self {
        match (hints.read_only, hints.destructive) {
            (Some(true), _) => Self::Read,
            (_, Some(false)) => Self::Write,
            _ => Self::Destructive,
        }
    }

    /// Whether the dispatcher of this class may call tools of the other class. It never calls a
    /// tool that may do more harm: a user who always allows the dispatcher allows all that it
    /// calls.
    pub fn admits(self, other: Self) -> bool {
        other <= self
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }

    /// The meta-tool that calls tools of this class.
    pub fn dispatcher(self) -> MetaTool {
        MetaTool::Call(self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetaTool {
    /// Selects tools for a prompt and adds them to the session's list.
    AnalyzePrompt,
    /// Searches tools and returns their definitions.
    FindTools,
    /// Calls any tool of the class.
    Call(Class),
}

impl MetaTool {
    /// All of them, in the order in which a list has them.
    pub const ALL: [Self; 5] = [
        Self::AnalyzePrompt,
        Self::FindTools,
        Self::Call(Class::Read),
        Self::Call(Class::Write),
        Self::Call(Class::Destructive),
    ];

    /// The name that clients see.
    pub fn name(self) -> &'static str {
        match self {
            Self::AnalyzePrompt => "hub__analyze_prompt",
            Self::FindTools => "hub__find_tools",
            Self::Call(Class::Read) => "hub__call_read",
            Self::Call(Class::Write) => "hub__call_write",
            Self::Call(Class::Destructive) => "hub__call_destructive",
        }
    }

    /// The meta-tool with this name. Whether a caller may call it is another question; see
    /// [`crate::tool_list::ToolList::has`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// What its definition costs without names of servers. These are constants because the operator
    /// uses them to check a budget, and the tokenizer would add a table of 4 MB to its program.
    pub fn min_tokens(self) -> u32 {
        match self {
            Self::AnalyzePrompt => 104,
            Self::FindTools => 148,
            Self::Call(Class::Read) => 125,
            Self::Call(Class::Write) => 129,
            Self::Call(Class::Destructive) => 134,
        }
    }

    /// The definition for a caller who may see these tools.
    pub fn definition(self, visible: &VisibleTools) -> MetaToolDefinition {
        let (description, schema, hints) = match self {
            Self::AnalyzePrompt => (
                "Chooses the tools that fit a task and adds them to your tool list. Call it first, \
                 and again when the task changes."
                    .to_owned(),
                ANALYZE_SCHEMA,
                READ_ONLY,
            ),
            Self::FindTools => (find_description(visible), FIND_SCHEMA, READ_ONLY),
            Self::Call(class) => (dispatch_description(class), DISPATCH_SCHEMA, hints(class)),
        };
        MetaToolDefinition::new(self.name(), &description, schema, hints)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaToolDefinition {
    /// The definition that clients see, as JSON.
    pub text: String,
    /// What it costs in a prompt; see [`tokens`].
    pub tokens: u32,
}

impl MetaToolDefinition {
    fn new(name: &str, description: &str, schema: &str, annotations: &str) -> Self {
        Self {
            text: format!(
                r#"{{"name":{},"description":{},"inputSchema":{schema},"annotations":{annotations}}}"#,
                quoted(name),
                quoted(description)
            ),
            tokens: tokens::count_definition(name, description, schema),
        }
    }
}

const READ_ONLY: &str = r#"{"readOnlyHint":true,"openWorldHint":false}"#;

fn hints(class: Class) -> &'static str {
    match class {
        Class::Read => r#"{"readOnlyHint":true}"#,
        Class::Write => r#"{"readOnlyHint":false,"destructiveHint":false}"#,
        Class::Destructive => r#"{"readOnlyHint":false,"destructiveHint":true}"#,
    }
}

// Each schema is an object at the root, without composition and without keywords that a big vendor
// refuses.
const ANALYZE_SCHEMA: &str = r#"{"type":"object","properties":{"prompt":{"type":"string","description":"The task, in the user's words."},"context":{"type":"string","description":"What else matters for the choice."}},"required":["prompt"]}"#;
const FIND_SCHEMA: &str = r#"{"type":"object","properties":{"query":{"type":"string","description":"What the tool should do."},"limit":{"type":"integer","description":"Most tools to return, 1 to 50.","minimum":1,"maximum":50,"default":10},"server":{"type":"string","description":"Only tools of this server."}},"required":["query"]}"#;
const DISPATCH_SCHEMA: &str = r#"{"type":"object","properties":{"name":{"type":"string","description":"Name of the tool, as hub__find_tools gave it."},"arguments":{"type":"object","description":"Arguments by the tool's own inputSchema."},"selectionId":{"type":"string","description":"selectionId of the answer that named the tool."}},"required":["name","arguments"]}"#;

fn find_description(visible: &VisibleTools) -> String {
    let servers = visible.servers();
    let mut names: Vec<&str> =
        servers.iter().map(|(name, _)| *name).take(MAX_SERVER_NAMES).collect();
    let more = servers.len().saturating_sub(names.len());
    let rest = format!("{more} more");
    if more > 0 {
        names.push(&rest);
    }
    let servers =
        if names.is_empty() { String::new() } else { format!(" Servers: {}.", names.join(", ")) };
    format!(
        "Finds tools that are not in your list, by what they do, with their definitions. Call one \
         by its name, or by the hub__call_ tool of its class.{servers}"
    )
}

fn dispatch_description(class: Class) -> String {
    let effect = match class {
        Class::Read => "that only reads",
        Class::Write => "that changes something but destroys nothing",
        Class::Destructive => "that may destroy something, or does not say",
    };
    format!("Calls a tool {effect}. hub__find_tools names tools and their class.")
}

/// The error for a model that called a tool with a dispatcher that may not call it.
pub fn wrong_class(tool: &Tool, dispatcher: Class) -> String {
    let class = Class::from_hints(tool.hints());
    let reason = match class {
        Class::Read => "is annotated readOnlyHint: true",
        Class::Write => "may change something",
        Class::Destructive if tool.hints().destructive == Some(true) => "may destroy something",
        Class::Destructive => "does not say that it destroys nothing",
    };
    format!(
        "{} {reason}, so {} does not call it; use {} with the same arguments",
        tool.exposed,
        dispatcher.dispatcher().name(),
        class.dispatcher().name()
    )
}

#[cfg(test)]
mod tests;

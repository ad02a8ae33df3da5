//! The hub's own tools, by which clients find and call tools that are not in their list.

mod arguments;

use serde::{Deserialize, Serialize};

pub use self::arguments::{AnalyzePrompt, Dispatch, FindTools, MAX_LIMIT, MAX_TEXT_BYTES};
use crate::catalog::{Hints, Tool};
use crate::tokens;
use crate::visibility::VisibleTools;
use mcphub_hub_protocol::json_splice::quoted;

/// Servers that the description of `hub__find_tools` names; more would cost every prompt.
const NAMED_SERVERS: usize = 40;

/// What calling a tool may do, by its annotations. In the order of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It says that it only reads.
    Read,
    /// It says that it destroys nothing.
    Write,
    /// It says so, or says nothing.
    Destructive,
}

impl Class {
    /// All.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Destructive];

    /// The class of a tool.
    pub fn of(tool: &Tool) -> Self {
        Self::of_hints(tool.hints)
    }

    /// The class of a tool that says this of itself.
    pub fn of_hints(hints: Hints) -> Self {
        match (hints.read_only, hints.destructive) {
            (Some(true), _) => Self::Read,
            (_, Some(false)) => Self::Write,
            _ => Self::Destructive,
        }
    }

    /// Whether the dispatcher of this class calls tools of the other: never of one that may do more harm, since a
    /// client's "always allow" is for the dispatcher.
    pub fn admits(self, other: Self) -> bool {
        other <= self
    }

    /// The word for people and models.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }

    /// Its dispatcher.
    pub fn dispatcher(self) -> MetaTool {
        MetaTool::Call(self)
    }
}

/// A tool of the hub itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetaTool {
    /// Chooses tools for a prompt and adds them to the session's list.
    AnalyzePrompt,
    /// Finds tools and gives their definitions.
    FindTools,
    /// Calls any tool of a class.
    Call(Class),
}

impl MetaTool {
    /// All, in the order of a list.
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

    /// The meta-tool of this name. Whether a caller has it is another question: see
    /// [`crate::tool_list::ToolList::has`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// What its definition costs before its description names servers, which is the least. Written down and not
    /// counted: the operator asks it of a budget, and the counter would put 4 MB of table into its program.
    pub fn least_tokens(self) -> u32 {
        match self {
            Self::AnalyzePrompt => 104,
            Self::FindTools => 148,
            Self::Call(Class::Read) => 125,
            Self::Call(Class::Write) => 129,
            Self::Call(Class::Destructive) => 134,
        }
    }

    /// Its definition for a caller with this visible.
    pub fn definition(self, visible: &VisibleTools) -> Definition {
        let (description, schema, hints) = match self {
            Self::AnalyzePrompt => (
                "Chooses the tools that fit a task and adds them to your tool list. Call it first, and again when the \
                 task changes."
                    .to_owned(),
                ANALYZE_SCHEMA,
                READ_ONLY,
            ),
            Self::FindTools => (find_description(visible), FIND_SCHEMA, READ_ONLY),
            Self::Call(class) => (dispatch_description(class), DISPATCH_SCHEMA, hints(class)),
        };
        Definition::of(self.name(), &description, schema, hints)
    }
}

/// A definition as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// As JSON.
    pub text: String,
    /// What it costs; see [`tokens`].
    pub tokens: u32,
}

impl Definition {
    fn of(name: &str, description: &str, schema: &str, annotations: &str) -> Self {
        Self {
            text: format!(
                r#"{{"name":{},"description":{},"inputSchema":{schema},"annotations":{annotations}}}"#,
                quoted(name),
                quoted(description)
            ),
            tokens: tokens::of_definition(name, description, schema),
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

// Objects at the root, no composition, no keyword that a big vendor refuses.
const ANALYZE_SCHEMA: &str = r#"{"type":"object","properties":{"prompt":{"type":"string","description":"The task, in the user's words."},"context":{"type":"string","description":"What else matters for the choice."}},"required":["prompt"]}"#;
const FIND_SCHEMA: &str = r#"{"type":"object","properties":{"query":{"type":"string","description":"What the tool should do."},"limit":{"type":"integer","description":"Most tools to return, 1 to 50.","minimum":1,"maximum":50,"default":10},"server":{"type":"string","description":"Only tools of this server."}},"required":["query"]}"#;
const DISPATCH_SCHEMA: &str = r#"{"type":"object","properties":{"name":{"type":"string","description":"Name of the tool, as hub__find_tools gave it."},"arguments":{"type":"object","description":"Arguments by the tool's own inputSchema."},"selectionId":{"type":"string","description":"selectionId of the answer that named the tool."}},"required":["name","arguments"]}"#;

fn find_description(visible: &VisibleTools) -> String {
    let servers = visible.servers();
    let mut names: Vec<&str> = servers.iter().map(|(name, _)| *name).take(NAMED_SERVERS).collect();
    let more = servers.len().saturating_sub(names.len());
    let rest = format!("{more} more");
    if more > 0 {
        names.push(&rest);
    }
    let of =
        if names.is_empty() { String::new() } else { format!(" Servers: {}.", names.join(", ")) };
    format!(
        "Finds tools that are not in your list, by what they do, with their definitions. Call one by its name, or by \
         the hub__call_ tool of its class.{of}"
    )
}

fn dispatch_description(class: Class) -> String {
    let what = match class {
        Class::Read => "that only reads",
        Class::Write => "that changes something but destroys nothing",
        Class::Destructive => "that may destroy something, or does not say",
    };
    format!("Calls a tool {what}. hub__find_tools names tools and their class.")
}

/// What a model reads that called a tool by a dispatcher that may not.
pub fn wrong_class(tool: &Tool, dispatcher: Class) -> String {
    let class = Class::of(tool);
    let why = match class {
        Class::Read => "is annotated readOnlyHint: true",
        Class::Write => "may change something",
        Class::Destructive if tool.hints.destructive == Some(true) => "may destroy something",
        Class::Destructive => "does not say that it destroys nothing",
    };
    format!(
        "{} {why}, so {} does not call it; use {} with the same arguments",
        tool.exposed,
        dispatcher.dispatcher().name(),
        class.dispatcher().name()
    )
}

#[cfg(test)]
mod tests;

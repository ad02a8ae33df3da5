//! The providers' formats: Gemini's `generateContent`, OpenAI's chat completions, Anthropic's messages.

mod anthropic;
mod gemini;
mod openai;
mod problem;

use mcphub_hub_wire::config::Provider;
use serde_json::{Value, json};

use super::answer::{Failure, Said};
use super::question::{Question, Shape};

pub use problem::{Problem, problem};

/// Longest answer that a model may give, in tokens. Thoughts count; fifty ids take a thousand.
const MAX_OUTPUT_TOKENS: u32 = 4_096;

/// How an answer of a certain shape is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// By a schema that the provider holds the model to.
    Schema,
    /// By a tool that the model is made to call.
    Tool,
    /// By an interface that only promises JSON.
    Json,
    /// By words.
    Words,
}

/// An answer of a provider with status 200.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// What it cost, also when it is of no use.
    pub usage: Usage,
    /// What the model said.
    pub said: Result<Said, Failure>,
}

/// Tokens of a question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Read anew.
    pub input: u64,
    /// Read from the provider's cache, which is cheaper.
    pub cached: u64,
    /// Written, thoughts included.
    pub output: u64,
}

/// The styles that a provider may know, the strictest first: a model that refuses one is asked in the next.
pub fn styles(provider: Provider) -> &'static [Style] {
    match provider {
        // Models that always think cannot be made to call a tool.
        Provider::Anthropic => &[Style::Tool, Style::Schema],
        Provider::Gemini | Provider::OpenAI => &[Style::Schema, Style::Json],
        Provider::OpenAICompatible => &[Style::Schema, Style::Json, Style::Words],
    }
}

/// The body that asks this.
pub fn body(provider: Provider, model: &str, style: Style, question: &Question) -> Value {
    match provider {
        Provider::Anthropic => anthropic::body(model, style, question),
        Provider::Gemini => gemini::body(style, question),
        Provider::OpenAI => openai::body(model, style, question, "max_completion_tokens"),
        // What is compatible seldom knows the new name.
        Provider::OpenAICompatible => openai::body(model, style, question, "max_tokens"),
    }
}

/// What follows the base address: `version` unless the base has one, then the path.
pub fn path(provider: Provider, model: &str) -> (&'static str, Vec<String>) {
    let owned =
        |segments: &[&str]| segments.iter().map(|&segment| segment.to_owned()).collect::<Vec<_>>();
    match provider {
        Provider::Anthropic => ("v1", owned(&["messages"])),
        Provider::OpenAI | Provider::OpenAICompatible => ("v1", owned(&["chat", "completions"])),
        Provider::Gemini => {
            // People copy the name from either place.
            let (kind, name) = model.split_once('/').unwrap_or(("models", model));
            ("v1beta", vec![kind.to_owned(), format!("{name}:generateContent")])
        }
    }
}

/// The provider's own address.
pub fn address(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::Anthropic => Some("https://api.anthropic.com/v1"),
        Provider::OpenAI => Some("https://api.openai.com/v1"),
        Provider::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
        Provider::OpenAICompatible => None,
    }
}

/// The header that carries the key, and what precedes the key in it. Never the query: addresses reach logs.
pub fn key_header(provider: Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Anthropic => ("x-api-key", ""),
        Provider::Gemini => ("x-goog-api-key", ""),
        Provider::OpenAI | Provider::OpenAICompatible => ("authorization", "Bearer "),
    }
}

/// Further headers.
pub fn headers(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::Anthropic => &[("anthropic-version", "2023-06-01")],
        Provider::Gemini | Provider::OpenAI | Provider::OpenAICompatible => &[],
    }
}

/// Reads an answer with status 200.
pub fn response(provider: Provider, body: &[u8]) -> Response {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Response { usage: Usage::default(), said: Err(Failure::Malformed) };
    };
    match provider {
        Provider::Anthropic => anthropic::response(&value),
        Provider::Gemini => gemini::response(&value),
        Provider::OpenAI | Provider::OpenAICompatible => openai::response(&value),
    }
}

/// What an answer of this shape is called.
fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Ids => "chosen_tools",
        Shape::Categories => "categories_of_tools",
    }
}

/// JSON Schema of an answer of this shape, in the part that all providers know.
fn schema(shape: Shape) -> Value {
    let object = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let entry = match shape {
        Shape::Ids => json!({"type": "string"}),
        Shape::Categories => object(
            json!({"id": {"type": "string"}, "category": {"type": "string"}}),
            json!(["id", "category"]),
        ),
    };
    object(json!({"tools": {"type": "array", "items": entry}}), json!(["tools"]))
}

/// The task, with the shape in words where no schema goes with it.
fn task(question: &Question, style: Style) -> String {
    let example = match question.shape {
        Shape::Ids => r#"{"tools": ["id", "id"]}"#,
        Shape::Categories => r#"{"tools": [{"id": "id", "category": "category"}]}"#,
    };
    match style {
        Style::Schema | Style::Tool => question.system.clone(),
        Style::Json | Style::Words => {
            format!("{} Answer with JSON of this form and nothing else: {example}", question.system)
        }
    }
}

fn tokens(usage: &Value, field: &str) -> u64 {
    usage[field].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests;

//! The providers' formats: Gemini's `generateContent`, `OpenAI`'s chat completions, Anthropic's
//! messages.

mod anthropic;
mod error_body;
mod gemini;
mod openai;

use mcphub_hub_wire::config::Provider;
use serde_json::{Value, json};

use super::answer::{AnswerError, ModelOutput};
use super::question::{AnswerShape, Question};

pub use error_body::{ErrorBody, parse_error_body};

/// The most tokens that a model may write, including its thoughts. Fifty ids take about a thousand.
const MAX_OUTPUT_TOKENS: u32 = 4_096;

/// How the model is made to answer in a certain shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// The provider enforces a schema.
    Schema,
    /// The model must call a tool.
    Tool,
    /// The provider guarantees only JSON.
    Json,
    /// The task describes the shape in words.
    Text,
}

/// A response of a provider with status 200.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Known also if the output cannot be used.
    pub usage: Usage,
    pub output: Result<ModelOutput, AnswerError>,
}

/// Tokens of a question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Without those from the provider's cache.
    pub input: u64,
    /// Input from the provider's cache, which is cheaper.
    pub cached: u64,
    /// Including thoughts.
    pub output: u64,
}

/// The output modes to try for a provider, the strictest first. A model that rejects one is asked
/// with the next.
pub fn output_modes(provider: Provider) -> &'static [OutputMode] {
    match provider {
        // Models that always think reject a required tool call.
        Provider::Anthropic => &[OutputMode::Tool, OutputMode::Schema],
        Provider::Gemini | Provider::OpenAI => &[OutputMode::Schema, OutputMode::Json],
        Provider::OpenAICompatible => &[OutputMode::Schema, OutputMode::Json, OutputMode::Text],
    }
}

/// The body of the request.
pub fn request_body(
    provider: Provider,
    model: &str,
    mode: OutputMode,
    question: &Question,
) -> Value {
    match provider {
        Provider::Anthropic => anthropic::request_body(model, mode, question),
        Provider::Gemini => gemini::request_body(mode, question),
        Provider::OpenAI => openai::request_body(model, mode, question, "max_completion_tokens"),
        // Compatible servers rarely know the new name.
        Provider::OpenAICompatible => openai::request_body(model, mode, question, "max_tokens"),
    }
}

/// What follows the base URL: the API version, unless the base URL has one, and then the path.
pub fn url_path(provider: Provider, model: &str) -> (&'static str, Vec<String>) {
    let owned =
        |segments: &[&str]| segments.iter().map(|&segment| segment.to_owned()).collect::<Vec<_>>();
    match provider {
        Provider::Anthropic => ("v1", owned(&["messages"])),
        Provider::OpenAI | Provider::OpenAICompatible => ("v1", owned(&["chat", "completions"])),
        Provider::Gemini => {
            // Users write the name with or without `models/`.
            let (kind, name) = model.split_once('/').unwrap_or(("models", model));
            ("v1beta", vec![kind.to_owned(), format!("{name}:generateContent")])
        }
    }
}

/// The base URL of the provider's own service.
pub fn default_base_url(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::Anthropic => Some("https://api.anthropic.com/v1"),
        Provider::OpenAI => Some("https://api.openai.com/v1"),
        Provider::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
        Provider::OpenAICompatible => None,
    }
}

/// The name of the header for the API key, and the prefix of its value. The key is never sent in
/// the query, because URLs end up in logs.
pub fn key_header(provider: Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Anthropic => ("x-api-key", ""),
        Provider::Gemini => ("x-goog-api-key", ""),
        Provider::OpenAI | Provider::OpenAICompatible => ("authorization", "Bearer "),
    }
}

/// Additional headers.
pub fn headers(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::Anthropic => &[("anthropic-version", "2023-06-01")],
        Provider::Gemini | Provider::OpenAI | Provider::OpenAICompatible => &[],
    }
}

/// Parses a response with status 200.
pub fn parse_response(provider: Provider, body: &[u8]) -> Response {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Response { usage: Usage::default(), output: Err(AnswerError::Malformed) };
    };
    match provider {
        Provider::Anthropic => anthropic::parse_response(&value),
        Provider::Gemini => gemini::parse_response(&value),
        Provider::OpenAI | Provider::OpenAICompatible => openai::parse_response(&value),
    }
}

/// The name of the schema or tool for an answer of this shape.
fn name(shape: AnswerShape) -> &'static str {
    match shape {
        AnswerShape::Ids => "chosen_tools",
        AnswerShape::Categories => "categories_of_tools",
    }
}

/// The JSON Schema of an answer, with only those keywords that all providers support.
fn schema(shape: AnswerShape) -> Value {
    let object = |properties: Value, required: Value| {
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    };
    let entry = match shape {
        AnswerShape::Ids => json!({"type": "string"}),
        AnswerShape::Categories => object(
            json!({"id": {"type": "string"}, "category": {"type": "string"}}),
            json!(["id", "category"]),
        ),
    };
    object(json!({"tools": {"type": "array", "items": entry}}), json!(["tools"]))
}

/// The task. Without a schema, it describes the shape of the answer in words.
fn task(question: &Question, mode: OutputMode) -> String {
    let example = match question.shape {
        AnswerShape::Ids => r#"{"tools": ["id", "id"]}"#,
        AnswerShape::Categories => r#"{"tools": [{"id": "id", "category": "category"}]}"#,
    };
    match mode {
        OutputMode::Schema | OutputMode::Tool => question.system.clone(),
        OutputMode::Json | OutputMode::Text => {
            format!("{} Answer with JSON of this form and nothing else: {example}", question.system)
        }
    }
}

fn tokens(usage: &Value, field: &str) -> u64 {
    usage[field].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests;

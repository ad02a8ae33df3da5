//! Messages.

use serde_json::{Value, json};

use super::{
    MAX_OUTPUT_TOKENS, Question, Response, Said, Style, Usage, name, schema, task, tokens,
};
use crate::llm::answer::Failure;

pub(super) fn body(model: &str, style: Style, question: &Question) -> Value {
    let mut body = json!({
        "model": model,
        "max_tokens": MAX_OUTPUT_TOKENS,
        "system": task(question, style),
        "messages": [{"role": "user", "content": question.user}],
    });
    let (name, schema) = (name(question.shape), schema(question.shape));
    match style {
        Style::Tool => {
            body["tools"] =
                json!([{"name": name, "description": "Takes the answer.", "input_schema": schema}]);
            body["tool_choice"] =
                json!({"type": "tool", "name": name, "disable_parallel_tool_use": true});
        }
        Style::Schema => {
            body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}})
        }
        Style::Json | Style::Words => {}
    }
    body
}

pub(super) fn response(value: &Value) -> Response {
    let usage = &value["usage"];
    Response {
        usage: Usage {
            input: tokens(usage, "input_tokens") + tokens(usage, "cache_creation_input_tokens"),
            cached: tokens(usage, "cache_read_input_tokens"),
            output: tokens(usage, "output_tokens"),
        },
        said: said(value),
    }
}

fn said(value: &Value) -> Result<Said, Failure> {
    match value["stop_reason"].as_str() {
        Some("refusal") => return Err(Failure::Refused),
        Some("max_tokens" | "model_context_window_exceeded") => return Err(Failure::Truncated),
        _ => {}
    }
    let blocks = value["content"].as_array().ok_or(Failure::Malformed)?;
    let of_type = |wanted: &'static str| blocks.iter().filter(move |block| block["type"] == wanted);
    if let Some(call) = of_type("tool_use").next() {
        return Ok(Said::Data(call["input"].clone()));
    }
    let text: String = of_type("text").filter_map(|block| block["text"].as_str()).collect();
    if text.is_empty() { Err(Failure::Malformed) } else { Ok(Said::Text(text)) }
}

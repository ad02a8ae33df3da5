//! The Messages API.

use serde_json::{Value, json};

use super::{
    MAX_OUTPUT_TOKENS, ModelOutput, OutputMode, Question, Response, Usage, name, schema, task,
    tokens,
};
use crate::llm::answer::AnswerError;

pub(super) fn request_body(model: &str, mode: OutputMode, question: &Question) -> Value {
    let mut body = json!({
        "model": model,
        "max_tokens": MAX_OUTPUT_TOKENS,
        "system": task(question, mode),
        "messages": [{"role": "user", "content": question.user}],
    });
    let (name, schema) = (name(question.shape), schema(question.shape));
    match mode {
        OutputMode::Tool => {
            body["tools"] =
                json!([{"name": name, "description": "Takes the answer.", "input_schema": schema}]);
            body["tool_choice"] =
                json!({"type": "tool", "name": name, "disable_parallel_tool_use": true});
        }
        OutputMode::Schema => {
            body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
        }
        OutputMode::Json | OutputMode::Text => {}
    }
    body
}

pub(super) fn parse_response(value: &Value) -> Response {
    let usage = &value["usage"];
    Response {
        usage: Usage {
            input: tokens(usage, "input_tokens") + tokens(usage, "cache_creation_input_tokens"),
            cached: tokens(usage, "cache_read_input_tokens"),
            output: tokens(usage, "output_tokens"),
        },
        output: output(value),
    }
}

fn output(value: &Value) -> Result<ModelOutput, AnswerError> {
    match value["stop_reason"].as_str() {
        Some("refusal") => return Err(AnswerError::Refused),
        Some("max_tokens" | "model_context_window_exceeded") => return Err(AnswerError::Truncated),
        _ => {}
    }
    let blocks = value["content"].as_array().ok_or(AnswerError::Malformed)?;
    let of_type = |wanted: &'static str| blocks.iter().filter(move |block| block["type"] == wanted);
    if let Some(call) = of_type("tool_use").next() {
        return Ok(ModelOutput::Json(call["input"].clone()));
    }
    let text: String = of_type("text").filter_map(|block| block["text"].as_str()).collect();
    if text.is_empty() { Err(AnswerError::Malformed) } else { Ok(ModelOutput::Text(text)) }
}

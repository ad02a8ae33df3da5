//! The Chat Completions API.

use serde_json::{Value, json};

use super::{
    MAX_OUTPUT_TOKENS, ModelOutput, OutputMode, Question, Response, Usage, name, schema, task,
    tokens,
};
use crate::llm::answer::AnswerError;

pub(super) fn request_body(
    model: &str,
    mode: OutputMode,
    question: &Question,
    most: &str,
) -> Value {
    let mut body = json!({
        "model": model,
        "messages": [
            {"role": "system", "content": task(question, mode)},
            {"role": "user", "content": question.user},
        ],
    });
    body[most] = MAX_OUTPUT_TOKENS.into();
    match mode {
        OutputMode::Schema | OutputMode::Tool => {
            let (name, schema) = (name(question.shape), schema(question.shape));
            let schema = json!({"name": name, "strict": true, "schema": schema});
            body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
        }
        OutputMode::Json => body["response_format"] = json!({"type": "json_object"}),
        OutputMode::Text => {}
    }
    body
}

pub(super) fn parse_response(value: &Value) -> Response {
    let usage = &value["usage"];
    let cached = tokens(&usage["prompt_tokens_details"], "cached_tokens");
    Response {
        usage: Usage {
            input: tokens(usage, "prompt_tokens").saturating_sub(cached),
            cached,
            output: tokens(usage, "completion_tokens"),
        },
        output: output(&value["choices"][0]),
    }
}

fn output(choice: &Value) -> Result<ModelOutput, AnswerError> {
    let message = &choice["message"];
    if message["refusal"].as_str().is_some_and(|refusal| !refusal.is_empty()) {
        return Err(AnswerError::Refused);
    }
    match choice["finish_reason"].as_str() {
        Some("content_filter") => return Err(AnswerError::Refused),
        Some("length") => return Err(AnswerError::Truncated),
        _ => {}
    }
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        // Some compatible servers send the content in parts.
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => return Err(AnswerError::Malformed),
    };
    Ok(ModelOutput::Text(text))
}

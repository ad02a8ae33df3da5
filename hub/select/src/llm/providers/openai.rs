//! Chat completions.

use serde_json::{Value, json};

use super::{
    MAX_OUTPUT_TOKENS, Question, Response, Said, Style, Usage, name, schema, task, tokens,
};
use crate::llm::answer::Failure;

pub(super) fn body(model: &str, style: Style, question: &Question, most: &str) -> Value {
    let mut body = json!({
        "model": model,
        "messages": [
            {"role": "system", "content": task(question, style)},
            {"role": "user", "content": question.user},
        ],
    });
    body[most] = MAX_OUTPUT_TOKENS.into();
    match style {
        Style::Schema | Style::Tool => {
            let schema = json!({"name": name(question.shape), "strict": true, "schema": schema(question.shape)});
            body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
        }
        Style::Json => body["response_format"] = json!({"type": "json_object"}),
        Style::Words => {}
    }
    body
}

pub(super) fn response(value: &Value) -> Response {
    let usage = &value["usage"];
    let cached = tokens(&usage["prompt_tokens_details"], "cached_tokens");
    Response {
        usage: Usage {
            input: tokens(usage, "prompt_tokens").saturating_sub(cached),
            cached,
            output: tokens(usage, "completion_tokens"),
        },
        said: said(&value["choices"][0]),
    }
}

fn said(choice: &Value) -> Result<Said, Failure> {
    let message = &choice["message"];
    if message["refusal"].as_str().is_some_and(|refusal| !refusal.is_empty()) {
        return Err(Failure::Refused);
    }
    match choice["finish_reason"].as_str() {
        Some("content_filter") => return Err(Failure::Refused),
        Some("length") => return Err(Failure::Truncated),
        _ => {}
    }
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        // Some that are compatible answer in parts.
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => return Err(Failure::Malformed),
    };
    Ok(Said::Text(text))
}

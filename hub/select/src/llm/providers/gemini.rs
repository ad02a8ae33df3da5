//! `generateContent`.

use serde_json::{Value, json};

use super::{MAX_OUTPUT_TOKENS, Question, Response, Said, Style, Usage, schema, task, tokens};
use crate::llm::answer::Failure;

pub(super) fn body(style: Style, question: &Question) -> Value {
    let mut generation =
        json!({"responseMimeType": "application/json", "maxOutputTokens": MAX_OUTPUT_TOKENS});
    if style == Style::Schema {
        generation["responseSchema"] = dialect(schema(question.shape));
    }
    json!({
        "systemInstruction": {"parts": [{"text": task(question, style)}]},
        "contents": [{"role": "user", "parts": [{"text": question.user}]}],
        "generationConfig": generation,
    })
}

/// Its schemas have their types in capitals, and refuse `additionalProperties`.
fn dialect(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.remove("additionalProperties");
        if let Some(Value::String(kind)) = object.get_mut("type") {
            kind.make_ascii_uppercase();
        }
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            properties.values_mut().for_each(|property| *property = dialect(property.take()));
        }
        if let Some(items) = object.get_mut("items") {
            *items = dialect(items.take());
        }
    }
    schema
}

pub(super) fn response(value: &Value) -> Response {
    let usage = &value["usageMetadata"];
    let cached = tokens(usage, "cachedContentTokenCount");
    Response {
        usage: Usage {
            input: tokens(usage, "promptTokenCount").saturating_sub(cached),
            cached,
            output: tokens(usage, "candidatesTokenCount") + tokens(usage, "thoughtsTokenCount"),
        },
        said: said(value),
    }
}

fn said(value: &Value) -> Result<Said, Failure> {
    if value["promptFeedback"]["blockReason"].is_string() {
        return Err(Failure::Refused);
    }
    let candidate = &value["candidates"][0];
    match candidate["finishReason"].as_str() {
        Some("MAX_TOKENS") => return Err(Failure::Truncated),
        Some(
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE",
        ) => {
            return Err(Failure::Refused);
        }
        _ => {}
    }
    let parts = candidate["content"]["parts"].as_array().ok_or(Failure::Malformed)?;
    let spoken = parts.iter().filter(|part| part["thought"] != true);
    Ok(Said::Text(spoken.filter_map(|part| part["text"].as_str()).collect()))
}

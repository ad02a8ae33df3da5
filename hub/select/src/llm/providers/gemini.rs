//! The `generateContent` API.

use serde_json::{Value, json};

use super::{
    MAX_OUTPUT_TOKENS, ModelOutput, OutputMode, Question, Response, Usage, schema, task, tokens,
};
use crate::llm::answer::AnswerError;

pub(super) fn request_body(mode: OutputMode, question: &Question) -> Value {
    let mut generation =
        json!({"responseMimeType": "application/json", "maxOutputTokens": MAX_OUTPUT_TOKENS});
    if mode == OutputMode::Schema {
        generation["responseSchema"] = dialect(schema(question.shape));
    }
    json!({
        "systemInstruction": {"parts": [{"text": task(question, mode)}]},
        "contents": [{"role": "user", "parts": [{"text": question.user}]}],
        "generationConfig": generation,
    })
}

/// Converts a schema to Gemini's dialect: types in upper case, and no `additionalProperties`.
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

pub(super) fn parse_response(value: &Value) -> Response {
    let usage = &value["usageMetadata"];
    let cached = tokens(usage, "cachedContentTokenCount");
    Response {
        usage: Usage {
            input: tokens(usage, "promptTokenCount").saturating_sub(cached),
            cached,
            output: tokens(usage, "candidatesTokenCount") + tokens(usage, "thoughtsTokenCount"),
        },
        output: output(value),
    }
}

fn output(value: &Value) -> Result<ModelOutput, AnswerError> {
    if value["promptFeedback"]["blockReason"].is_string() {
        return Err(AnswerError::Refused);
    }
    let candidate = &value["candidates"][0];
    match candidate["finishReason"].as_str() {
        Some("MAX_TOKENS") => return Err(AnswerError::Truncated),
        Some(
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE",
        ) => {
            return Err(AnswerError::Refused);
        }
        _ => {}
    }
    let parts = candidate["content"]["parts"].as_array().ok_or(AnswerError::Malformed)?;
    let without_thoughts = parts.iter().filter(|part| part["thought"] != true);
    Ok(ModelOutput::Text(without_thoughts.filter_map(|part| part["text"].as_str()).collect()))
}

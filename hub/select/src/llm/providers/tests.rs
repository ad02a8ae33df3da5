//! Answers as the providers' documentation shows them.

use std::time::Duration;

use mcphub_hub_wire::config::Provider;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::llm::Candidate;
use crate::llm::question::{categorize, rank};

fn question() -> Question {
    rank("read", &[Candidate { id: "a", description: "d", digest: b"" }], 5)
}

fn read(provider: Provider, value: &Value) -> Response {
    response(provider, value.to_string().as_bytes())
}

fn openai(choice: &Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107, "prompt_tokens_details": {"cached_tokens": 64}},
    })
}

#[test]
fn openai_is_asked_by_a_strict_schema() {
    let body = body(Provider::OpenAI, "m", Style::Schema, &question());
    let format = &body["response_format"];
    assert_eq!(
        (&format["type"], &format["json_schema"]["strict"]),
        (&json!("json_schema"), &json!(true))
    );
    // Strict schemas name every property, and allow no others.
    assert_eq!(format["json_schema"]["schema"]["required"], json!(["tools"]));
    assert_eq!(format["json_schema"]["schema"]["additionalProperties"], false);
    assert_eq!((&body["max_completion_tokens"], &body["max_tokens"]), (&json!(4096), &Value::Null));
    // Models that think refuse another temperature than their own.
    assert_eq!(body.get("temperature"), None);
}

#[test]
fn a_style_without_a_schema_says_the_shape_in_words() {
    for style in [Style::Json, Style::Words] {
        let body = body(Provider::OpenAICompatible, "m", style, &question());
        assert!(
            body["messages"][0]["content"].as_str().unwrap().contains(r#"{"tools": ["id", "id"]}"#)
        );
        assert_eq!(body["max_tokens"], 4096);
    }
}

#[test]
fn anthropic_is_made_to_call_a_tool() {
    let body = body(Provider::Anthropic, "m", Style::Tool, &question());
    assert_eq!(body["tool_choice"]["name"], body["tools"][0]["name"]);
    assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
    assert_eq!((&body["max_tokens"], &body["messages"][0]["role"]), (&json!(4096), &json!("user")));
}

#[test]
fn gemini_gets_a_schema_of_its_dialect() {
    let body = body(Provider::Gemini, "m", Style::Schema, &categorize(&[], &["web"]));
    let text = body["generationConfig"]["responseSchema"].to_string();
    assert!(!text.contains("additionalProperties") && text.contains(r#""type":"ARRAY""#), "{text}");
    assert!(text.contains(r#""type":"OBJECT""#) && !text.contains(r#""type":"string""#), "{text}");
    assert_eq!(body["contents"][0]["role"], "user");
}

#[test]
fn a_gemini_model_may_be_named_with_its_kind() {
    assert_eq!(path(Provider::Gemini, "g-1").1, ["models", "g-1:generateContent"]);
    assert_eq!(
        path(Provider::Gemini, "tunedModels/mine").1,
        ["tunedModels", "mine:generateContent"]
    );
}

#[test]
fn tokens_are_counted_once_however_the_provider_sums_them() {
    let message = json!({"message": {"content": "{}"}, "finish_reason": "stop"});
    assert_eq!(
        read(Provider::OpenAI, &openai(&message)).usage,
        Usage { input: 36, cached: 64, output: 7 }
    );
    let anthropic = json!({"content": [], "usage": {"input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 9, "output_tokens": 3}});
    assert_eq!(
        read(Provider::Anthropic, &anthropic).usage,
        Usage { input: 7, cached: 9, output: 3 }
    );
    let gemini = json!({"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 2, "thoughtsTokenCount": 30, "cachedContentTokenCount": 4}});
    assert_eq!(read(Provider::Gemini, &gemini).usage, Usage { input: 6, cached: 4, output: 32 });
}

#[rstest]
#[case::openai(Provider::OpenAI, openai(&json!({"message": {"role": "assistant", "content": "{\"tools\":[]}", "refusal": null}, "finish_reason": "stop"})), Ok(Said::Text("{\"tools\":[]}".into())))]
#[case::openai_refusal(Provider::OpenAI, openai(&json!({"message": {"content": null, "refusal": "I can't."}, "finish_reason": "stop"})), Err(Failure::Refused))]
#[case::openai_filter(Provider::OpenAI, openai(&json!({"message": {"content": ""}, "finish_reason": "content_filter"})), Err(Failure::Refused))]
#[case::openai_length(Provider::OpenAI, openai(&json!({"message": {"content": "{\"to"}, "finish_reason": "length"})), Err(Failure::Truncated))]
#[case::openai_no_choice(Provider::OpenAI, json!({"choices": []}), Err(Failure::Malformed))]
#[case::compatible_error_with_200(Provider::OpenAICompatible, json!({"error": {"code": 502}}), Err(Failure::Malformed))]
#[case::compatible_parts(Provider::OpenAICompatible, openai(&json!({"message": {"content": [{"type": "text", "text": "[]"}]}})), Ok(Said::Text("[]".into())))]
#[case::anthropic(Provider::Anthropic, json!({"stop_reason": "tool_use", "content": [{"type": "text", "text": "So:"}, {"type": "tool_use", "id": "t", "name": "n", "input": {"tools": []}}]}), Ok(Said::Data(json!({"tools": []}))))]
#[case::anthropic_text(Provider::Anthropic, json!({"stop_reason": "end_turn", "content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "{}"}]}), Ok(Said::Text("{}".into())))]
#[case::anthropic_refusal(Provider::Anthropic, json!({"stop_reason": "refusal", "content": []}), Err(Failure::Refused))]
#[case::anthropic_length(Provider::Anthropic, json!({"stop_reason": "max_tokens", "content": [{"type": "tool_use", "input": {}}]}), Err(Failure::Truncated))]
#[case::anthropic_nothing(Provider::Anthropic, json!({"stop_reason": "end_turn", "content": []}), Err(Failure::Malformed))]
#[case::gemini(Provider::Gemini, json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "hm", "thought": true}, {"text": "{\"to"}, {"text": "ols\":[]}"}]}, "finishReason": "STOP"}]}), Ok(Said::Text("{\"tools\":[]}".into())))]
#[case::gemini_blocked_prompt(Provider::Gemini, json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), Err(Failure::Refused))]
#[case::gemini_safety(Provider::Gemini, json!({"candidates": [{"finishReason": "SAFETY"}]}), Err(Failure::Refused))]
#[case::gemini_length(Provider::Gemini, json!({"candidates": [{"content": {"parts": [{"text": "{"}]}, "finishReason": "MAX_TOKENS"}]}), Err(Failure::Truncated))]
#[case::gemini_nothing(Provider::Gemini, json!({}), Err(Failure::Malformed))]
fn what_a_model_said(
    #[case] provider: Provider,
    #[case] answer: Value,
    #[case] expected: Result<Said, Failure>,
) {
    assert_eq!(read(provider, &answer).said, expected);
}

#[rstest]
#[case::openai_key(Provider::OpenAI, 401, json!({"error": {"message": "Incorrect API key provided: sk-1", "type": "invalid_request_error", "code": "invalid_api_key"}}), Some("invalid_api_key"), true, false)]
#[case::openai_spent(Provider::OpenAI, 429, json!({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}), Some("insufficient_quota"), false, true)]
#[case::anthropic_key(Provider::Anthropic, 401, json!({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}), Some("authentication_error"), true, false)]
#[case::anthropic_overload(Provider::Anthropic, 529, json!({"type": "error", "error": {"type": "overloaded_error"}}), Some("overloaded_error"), false, false)]
#[case::gemini_key(Provider::Gemini, 400, json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}), Some("API_KEY_INVALID"), true, false)]
#[case::a_code_that_quotes_the_key(Provider::OpenAI, 400, json!({"error": {"code": "sk_secret", "type": "sk-secret-1"}}), None, false, false)]
#[case::no_json(Provider::OpenAI, 502, json!("<html>"), None, false, false)]
fn what_a_provider_objects_to(
    #[case] provider: Provider,
    #[case] status: u16,
    #[case] body: Value,
    #[case] code: Option<&str>,
    #[case] key: bool,
    #[case] spent: bool,
) {
    let expected = Problem { code: code.map(str::to_owned), key, spent, wait: None };
    assert_eq!(problem(provider, status, body.to_string().as_bytes(), "sk_secret"), expected);
}

#[test]
fn gemini_says_in_the_body_how_long_to_wait() {
    let body = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"},
    ]}});
    let problem = problem(Provider::Gemini, 429, body.to_string().as_bytes(), "k");
    assert_eq!(problem.wait, Some(Duration::from_millis(1500)));
}

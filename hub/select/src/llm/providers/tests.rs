//! Responses as in the providers' documentation.

use std::time::Duration;

use mcphub_hub_wire::config::Provider;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::llm::Candidate;
use crate::llm::question::{category_question, rank_question};

fn question() -> Question {
    rank_question("read", &[Candidate { id: "a", description: "d", digest: b"" }], 5)
}

fn read(provider: Provider, value: &Value) -> Response {
    parse_response(provider, value.to_string().as_bytes())
}

fn openai(choice: &Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice],
        "usage": {
            "prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107,
            "prompt_tokens_details": {"cached_tokens": 64}
        },
    })
}

#[test]
fn openai_gets_a_strict_schema() {
    let body = request_body(Provider::OpenAI, "m", OutputMode::Schema, &question());
    let format = &body["response_format"];
    assert_eq!(
        (&format["type"], &format["json_schema"]["strict"]),
        (&json!("json_schema"), &json!(true))
    );
    // Strict schemas name every property, and allow no others.
    assert_eq!(format["json_schema"]["schema"]["required"], json!(["tools"]));
    assert_eq!(format["json_schema"]["schema"]["additionalProperties"], false);
    assert_eq!((&body["max_completion_tokens"], &body["max_tokens"]), (&json!(4096), &Value::Null));
    // Models that think reject any temperature but their own.
    assert_eq!(body.get("temperature"), None);
}

#[test]
fn without_a_schema_the_task_describes_the_shape() {
    for style in [OutputMode::Json, OutputMode::Text] {
        let body = request_body(Provider::OpenAICompatible, "m", style, &question());
        assert!(
            body["messages"][0]["content"].as_str().unwrap().contains(r#"{"tools": ["id", "id"]}"#)
        );
        assert_eq!(body["max_tokens"], 4096);
    }
}

#[test]
fn anthropic_gets_a_required_tool_call() {
    let body = request_body(Provider::Anthropic, "m", OutputMode::Tool, &question());
    assert_eq!(body["tool_choice"]["name"], body["tools"][0]["name"]);
    assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
    assert_eq!((&body["max_tokens"], &body["messages"][0]["role"]), (&json!(4096), &json!("user")));
}

#[test]
fn gemini_gets_a_schema_in_its_dialect() {
    let body =
        request_body(Provider::Gemini, "m", OutputMode::Schema, &category_question(&[], &["web"]));
    let text = body["generationConfig"]["responseSchema"].to_string();
    assert!(!text.contains("additionalProperties") && text.contains(r#""type":"ARRAY""#), "{text}");
    assert!(text.contains(r#""type":"OBJECT""#) && !text.contains(r#""type":"string""#), "{text}");
    assert_eq!(body["contents"][0]["role"], "user");
}

#[test]
fn a_gemini_model_may_have_a_prefix() {
    assert_eq!(url_path(Provider::Gemini, "g-1").1, ["models", "g-1:generateContent"]);
    assert_eq!(
        url_path(Provider::Gemini, "tunedModels/mine").1,
        ["tunedModels", "mine:generateContent"]
    );
}

#[test]
fn cached_tokens_are_not_counted_as_input_again() {
    let message = json!({"message": {"content": "{}"}, "finish_reason": "stop"});
    assert_eq!(
        read(Provider::OpenAI, &openai(&message)).usage,
        Usage { input: 36, cached: 64, output: 7 }
    );
    let anthropic = json!({
        "content": [],
        "usage": {
            "input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 9,
            "output_tokens": 3
        }
    });
    assert_eq!(
        read(Provider::Anthropic, &anthropic).usage,
        Usage { input: 7, cached: 9, output: 3 }
    );
    let gemini = json!({
        "usageMetadata": {
            "promptTokenCount": 10, "candidatesTokenCount": 2, "thoughtsTokenCount": 30,
            "cachedContentTokenCount": 4
        }
    });
    assert_eq!(read(Provider::Gemini, &gemini).usage, Usage { input: 6, cached: 4, output: 32 });
}

#[rstest]
#[case::openai(
    Provider::OpenAI,
    openai(
        &json!({
            "message": {"role": "assistant", "content": "{\"tools\":[]}", "refusal": null},
            "finish_reason": "stop"
        })
    ),
    Ok(ModelOutput::Text("{\"tools\":[]}".into()))
)]
#[case::openai_refusal(
    Provider::OpenAI,
    openai(&json!({"message": {"content": null, "refusal": "I can't."}, "finish_reason": "stop"})),
    Err(AnswerError::Refused)
)]
#[case::openai_filter(
    Provider::OpenAI,
    openai(&json!({"message": {"content": ""}, "finish_reason": "content_filter"})),
    Err(AnswerError::Refused)
)]
#[case::openai_length(
    Provider::OpenAI, openai(&json!({"message": {"content": "{\"to"}, "finish_reason": "length"})),
    Err(AnswerError::Truncated)
)]
#[case::openai_no_choice(Provider::OpenAI, json!({"choices": []}), Err(AnswerError::Malformed))]
#[case::compatible_error_with_200(
    Provider::OpenAICompatible, json!({"error": {"code": 502}}), Err(AnswerError::Malformed)
)]
#[case::compatible_parts(
    Provider::OpenAICompatible,
    openai(&json!({"message": {"content": [{"type": "text", "text": "[]"}]}})),
    Ok(ModelOutput::Text("[]".into()))
)]
#[case::anthropic(
    Provider::Anthropic,
    json!({
        "stop_reason": "tool_use",
        "content": [
            {"type": "text", "text": "So:"},
            {"type": "tool_use", "id": "t", "name": "n", "input": {"tools": []}}
        ]
    }),
    Ok(ModelOutput::Json(json!({"tools": []})))
)]
#[case::anthropic_text(
    Provider::Anthropic,
    json!({
        "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "{}"}]
    }),
    Ok(ModelOutput::Text("{}".into()))
)]
#[case::anthropic_refusal(
    Provider::Anthropic, json!({"stop_reason": "refusal", "content": []}), Err(AnswerError::Refused)
)]
#[case::anthropic_length(
    Provider::Anthropic,
    json!({"stop_reason": "max_tokens", "content": [{"type": "tool_use", "input": {}}]}),
    Err(AnswerError::Truncated)
)]
#[case::anthropic_nothing(
    Provider::Anthropic, json!({"stop_reason": "end_turn", "content": []}),
    Err(AnswerError::Malformed)
)]
#[case::gemini(
    Provider::Gemini,
    json!({
        "candidates": [{
            "content": {
                "role": "model",
                "parts": [{"text": "hm", "thought": true}, {"text": "{\"to"}, {"text": "ols\":[]}"}]
            },
            "finishReason": "STOP"
        }]
    }),
    Ok(ModelOutput::Text("{\"tools\":[]}".into()))
)]
#[case::gemini_blocked_prompt(
    Provider::Gemini, json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
    Err(AnswerError::Refused)
)]
#[case::gemini_safety(
    Provider::Gemini, json!({"candidates": [{"finishReason": "SAFETY"}]}), Err(AnswerError::Refused)
)]
#[case::gemini_length(
    Provider::Gemini,
    json!({"candidates": [{"content": {"parts": [{"text": "{"}]}, "finishReason": "MAX_TOKENS"}]}),
    Err(AnswerError::Truncated)
)]
#[case::gemini_nothing(Provider::Gemini, json!({}), Err(AnswerError::Malformed))]
fn outputs_and_errors_of_each_provider_are_recognized(
    #[case] provider: Provider,
    #[case] answer: Value,
    #[case] expected: Result<ModelOutput, AnswerError>,
) {
    assert_eq!(read(provider, &answer).output, expected);
}

#[rstest]
#[case::openai_key(
    Provider::OpenAI, 401,
    json!({
        "error": {
            "message": "Incorrect API key provided: sk-1", "type": "invalid_request_error",
            "code": "invalid_api_key"
        }
    }),
    Some("invalid_api_key"), true, false
)]
#[case::openai_spent(
    Provider::OpenAI, 429,
    json!({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}),
    Some("insufficient_quota"), false, true
)]
#[case::anthropic_key(
    Provider::Anthropic, 401,
    json!(
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    ),
    Some("authentication_error"), true, false
)]
#[case::anthropic_overload(
    Provider::Anthropic, 529, json!({"type": "error", "error": {"type": "overloaded_error"}}),
    Some("overloaded_error"), false, false
)]
#[case::gemini_key(
    Provider::Gemini, 400,
    json!({
        "error": {
            "code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]
        }
    }),
    Some("API_KEY_INVALID"), true, false
)]
#[case::a_code_that_quotes_the_key(
    Provider::OpenAI, 400, json!({"error": {"code": "sk_secret", "type": "sk-secret-1"}}), None,
    false, false
)]
#[case::no_json(Provider::OpenAI, 502, json!("<html>"), None, false, false)]
fn error_bodies_of_each_provider_are_recognized(
    #[case] provider: Provider,
    #[case] status: u16,
    #[case] body: Value,
    #[case] code: Option<&str>,
    #[case] key_rejected: bool,
    #[case] quota_exhausted: bool,
) {
    let expected = ErrorBody {
        code: code.map(str::to_owned),
        key_rejected,
        quota_exhausted,
        retry_after: None,
    };
    assert_eq!(
        parse_error_body(provider, status, body.to_string().as_bytes(), "sk_secret"),
        expected
    );
}

#[test]
fn gemini_sends_the_retry_delay_in_the_body() {
    let body = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"},
    ]}});
    let error = parse_error_body(Provider::Gemini, 429, body.to_string().as_bytes(), "k");
    assert_eq!(error.retry_after, Some(Duration::from_millis(1500)));
}

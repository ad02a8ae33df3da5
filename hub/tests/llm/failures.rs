//! Failures of a provider. Each has its own category of error. None is an empty list.

use std::time::Duration;

use mcphub_hub::llm::Error;
use mcphub_hub_wire::config::Provider;
use rstest::rstest;
use serde_json::{Value, json};

use crate::provider::{PROVIDERS, ScriptedProvider, TestLlm, chooses, cut, json_answer, raw};

const P: Provider = Provider::OpenAI;

fn rate_limited(
    headers: &'static [(&'static str, &'static str)],
) -> Box<dyn Fn() -> axum::response::Response + Send + Sync> {
    Box::new(move || raw(429, headers, r#"{"error":{"type":"rate_limit_error"}}"#))
}

/// Fails once in this way and then succeeds. Returns the result and the number of requests.
async fn once(
    failure: Box<dyn Fn() -> axum::response::Response + Send + Sync>,
) -> (Result<Vec<usize>, Error>, usize, TestLlm) {
    let server =
        ScriptedProvider::in_turn(vec![failure, Box::new(|| chooses(P, &["web__fetch"]))]).await;
    let llm = server.llm(P);
    (llm.rank("p").await, server.requests().len(), llm)
}

#[rstest]
#[case::rate_limited(rate_limited(&[]))]
#[case::rate_limited_for_no_seconds(rate_limited(&[("retry-after", "0")]))]
#[case::rate_limited_for_milliseconds(rate_limited(&[("retry-after-ms", "3")]))]
#[case::rate_limited_until_a_date_that_is_past(
    rate_limited(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")])
)]
#[case::rate_limited_for_nonsense(rate_limited(&[("retry-after", "soon")]))]
#[case::in_trouble(Box::new(|| raw(503, &[], "<html>busy</html>")))]
#[case::overloaded(
    Box::new(|| json_answer(529, json!({"type": "error", "error": {"type": "overloaded_error"}})))
)]
#[case::cut(Box::new(cut))]
#[tokio::test]
async fn a_transient_failure_is_retried(
    #[case] failure: Box<dyn Fn() -> axum::response::Response + Send + Sync>,
) {
    let (result, questions, llm) = once(failure).await;
    assert_eq!((result, questions), (Ok(vec![1]), 2));
    assert_eq!((llm.metric("retries_total", &[]), llm.metric("requests_total", &["ok"])), (1, 1));
    let stats = llm.client.stats().llm;
    assert_eq!((stats.total_calls, stats.successful_calls, stats.total_retries), (1, 1, 1));
}

#[rstest]
#[case::wrong_key(
    || json_answer(401, json!({"error": {"code": "invalid_api_key"}})), "key_refused"
)]
#[case::key_without_rights(
    || json_answer(403, json!({"error": {"code": "forbidden"}})), "key_refused"
)]
#[case::nothing_left_to_spend(
    || json_answer(429, json!({"error": {"code": "insufficient_quota"}})), "spent"
)]
#[case::no_such_model(
    || json_answer(404, json!({"error": {"code": "model_not_found"}})), "rejected"
)]
#[case::elsewhere(|| raw(307, &[("location", "http://127.0.0.1:1/")], ""), "redirected")]
#[case::malformed(|| raw(200, &[], "{\"choices\": [{"), "malformed")]
#[case::not_utf8(|| raw(200, &[], vec![0xff, 0xfe]), "malformed")]
#[case::empty(|| raw(200, &[], ""), "malformed")]
#[case::another_shape(|| says_text(r#"{"best": "web__fetch"}"#), "wrong_answer")]
#[case::ids_that_do_not_exist(|| chooses(P, &["web__fetsh"]), "wrong_answer")]
#[case::words(|| says_text("web__fetch, I guess."), "malformed")]
#[case::refused(
    || choice(json!({"message": {"content": null, "refusal": "No."}, "finish_reason": "stop"})),
    "refused"
)]
#[case::filtered(
    || choice(json!({"message": {"content": ""}, "finish_reason": "content_filter"})), "refused"
)]
#[case::truncated(
    || choice(json!({"message": {"content": "{\"tools\":[\"web"}, "finish_reason": "length"})),
    "truncated"
)]
#[case::huge(|| raw(200, &[], vec![b' '; 3 << 20]), "too_long")]
#[tokio::test]
async fn a_permanent_failure_is_reported_without_a_retry(
    #[case] failure: fn() -> axum::response::Response,
    #[case] category: &str,
) {
    let (result, questions, llm) = once(Box::new(failure)).await;
    let error = result.unwrap_err();
    assert_eq!((error.category(), questions), (category, 1), "{error}");
    assert_eq!(llm.metric("failures_total", &[category]), 1);
    assert_eq!(llm.metric("fallbacks_total", &[]), 1);
    assert_eq!(llm.metric("requests_total", &[error.outcome().label()]), 1);
    // A failure is not cached.
    assert_eq!(llm.rank("p").await, Ok(vec![1]));
}

fn choice(choice: Value) -> axum::response::Response {
    json_answer(200, json!({"choices": [choice]}))
}

fn says_text(text: &str) -> axum::response::Response {
    choice(json!({"message": {"content": text}, "finish_reason": "stop"}))
}

#[rstest]
#[case(
    Provider::Gemini,
    json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 11}})
)]
#[case(
    Provider::Gemini,
    json!({
        "candidates": [{"finishReason": "SAFETY", "index": 0}],
        "usageMetadata": {"promptTokenCount": 11}
    })
)]
#[case(
    Provider::Anthropic,
    json!({"content": [], "stop_reason": "refusal", "usage": {"input_tokens": 11}})
)]
#[case(
    Provider::OpenAI,
    json!({"choices": [{"message": {"refusal": "I'm sorry."}}], "usage": {"prompt_tokens": 11}})
)]
#[tokio::test]
async fn a_refusal_counts_as_caller_error_and_its_tokens_are_counted(
    #[case] provider: Provider,
    #[case] answer: Value,
) {
    let server = ScriptedProvider::start(move |_| json_answer(200, answer.clone())).await;
    let llm = server.llm_with(provider, |llm| llm.circuit_breaker.failure_threshold = 1);
    for prompt in ["one", "two"] {
        assert_eq!(llm.rank(prompt).await.unwrap_err().category(), "refused");
    }
    assert_eq!(llm.metric("requests_total", &["caller_error"]), 2);
    assert_eq!(llm.metric("tokens_total", &["input"]), 22);
    assert_eq!(
        llm.client.stats().llm.circuit_breaker_state,
        Some("closed"),
        "others may still ask"
    );
}

#[tokio::test]
async fn a_wrong_key_of_gemini_is_recognized_although_its_status_is_400() {
    let body = json!({
        "error": {
            "code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]
        }
    });
    let server = ScriptedProvider::start(move |_| json_answer(400, body.clone())).await;
    assert_eq!(server.llm(Provider::Gemini).rank("p").await.unwrap_err().category(), "key_refused");
    assert_eq!(server.requests().len(), 1, "another style would not help");
}

#[tokio::test]
async fn a_failing_provider_is_retried_as_often_as_configured() {
    for provider in PROVIDERS {
        let server = ScriptedProvider::start(|_| raw(500, &[], "")).await;
        let llm = server.llm(provider);
        assert_eq!(llm.rank("p").await.unwrap_err().category(), "http");
        assert_eq!((server.requests().len(), llm.client.stats().llm.total_retries), (4, 3));
    }
}

#[tokio::test]
async fn a_refused_connection_has_its_own_category() {
    let llm = TestLlm::new(P, "http://127.0.0.1:1", |_| {});
    assert_eq!(llm.rank("p").await.unwrap_err().category(), "not_connected");
}

#[tokio::test]
async fn a_slow_provider_times_out() {
    let server = ScriptedProvider::gated(|_| chooses(P, &[])).await;
    let llm = server.llm_with(P, |llm| llm.timeout_ms = 50);
    let error = llm.rank("p").await.unwrap_err();
    assert_eq!(error, Error::TimedOut(Duration::from_millis(50)));
    assert_eq!(llm.client.stats().llm.timeouts, 1);
}

// Waiting until the timeout would only delay the fallback.
#[rstest]
#[case::beyond_the_timeout(5_000, 1_000_000_000)]
#[case::beyond_the_longest_delay(1_000_000_000, 5_000)]
#[tokio::test]
async fn a_retry_after_beyond_the_timeout_or_the_longest_delay_is_not_waited_for(
    #[case] timeout_ms: u64,
    #[case] max_delay_ms: u64,
) {
    let server = ScriptedProvider::start(|_| raw(429, &[("retry-after", "9000")], "")).await;
    let llm = server.llm_with(P, |llm| {
        llm.timeout_ms = timeout_ms;
        llm.retry.max_delay_ms = max_delay_ms;
    });
    assert_eq!(
        llm.rank("p").await,
        Err(Error::RateLimited { retry_after: Some(Duration::from_mins(150)) })
    );
    assert_eq!(server.requests().len(), 1);
}

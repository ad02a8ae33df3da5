//! The API key: read for every question, verified before the first caller, and never exposed.

use mcphub_hub::llm::{Error, Llm};
use mcphub_hub_wire::config::{HeaderValue, Provider};
use prometheus::Registry;
use serde_json::json;

use crate::provider::{
    KEY, PROVIDERS, ScriptedProvider, TestLlm, chooses, config, json_answer, raw,
};

// Providers quote what they received: the key, a part of it, or the prompt.
#[tokio::test]
async fn no_error_metric_or_debug_text_contains_a_key_that_the_provider_echoes() {
    for provider in PROVIDERS {
        for status in [200, 302, 400, 401, 403, 404, 429, 500] {
            let server = ScriptedProvider::start(move |_| {
                let words = json!({
                    "code": KEY, "type": KEY, "status": KEY,
                    "message": format!("Incorrect API key provided: {KEY}"),
                    "details": [{"reason": KEY}]
                });
                let mut answer = json_answer(
                    status,
                    json!({"error": words, "choices": [{"message": {"content": KEY}}]}),
                );
                answer
                    .headers_mut()
                    .insert("location", format!("http://127.0.0.1:1/{KEY}").parse().unwrap());
                answer
            })
            .await;
            let llm = server.llm_with(provider, |llm| llm.retry.max_retries = 0);
            let error = llm.rank("p").await.unwrap_err();
            let everything = format!(
                "{error} {error:?} {:?} {:?} {} {:?}",
                llm.client,
                config(provider, &server.url),
                llm.metrics(),
                llm.client.stats()
            );
            assert!(!everything.contains("0123456789"), "{provider:?} {status}: {everything}");
        }
    }
}

#[tokio::test]
async fn a_redirect_does_not_send_the_key_elsewhere() {
    let elsewhere = ScriptedProvider::start(|_| chooses(Provider::OpenAI, &[])).await;
    let target = elsewhere.url.clone();
    let server = ScriptedProvider::start(move |_| raw(307, &[("location", &target)], "")).await;
    assert_eq!(server.llm(Provider::OpenAI).rank("p").await, Err(Error::Redirected(307)));
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_rotated_key_is_used_for_the_next_question() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let server = ScriptedProvider::start(|_| chooses(Provider::Anthropic, &[])).await;
    let llm = server.llm_with(Provider::Anthropic, |llm| {
        llm.api_key = HeaderValue::File(file.display().to_string());
    });
    let missing = llm.rank("p").await.unwrap_err();
    assert!(missing.is_setup() && missing.to_string().contains("cannot be read"), "{missing}");
    std::fs::write(&file, "  \n").unwrap();
    assert!(llm.rank("p").await.unwrap_err().to_string().contains("is empty"));
    for key in ["one\n", "two"] {
        std::fs::write(&file, key).unwrap();
        llm.rank(&format!("with {key}")).await.unwrap();
    }
    let keys: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.headers["x-api-key"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["one", "two"]);
}

#[tokio::test]
async fn a_compatible_provider_may_need_no_key() {
    let server = ScriptedProvider::start(|_| chooses(Provider::OpenAICompatible, &[])).await;
    let llm = server.llm_with(Provider::OpenAICompatible, |llm| {
        llm.api_key = HeaderValue::Value(String::new());
    });
    llm.rank("p").await.unwrap();
    assert_eq!(server.requests()[0].headers.get("authorization"), None);
}

#[tokio::test]
async fn verify_reports_a_rejected_key() {
    for provider in PROVIDERS {
        for status in [401, 403] {
            let server = ScriptedProvider::start(move |_| {
                json_answer(status, json!({"error": {"code": "no_access"}}))
            })
            .await;
            let llm = server.llm(provider);
            let error = llm.client.verify().await.unwrap_err();
            assert_eq!(
                error,
                Error::KeyRejected {
                    location: "apiKey in the config".into(),
                    status,
                    code: Some("no_access".into())
                }
            );
            assert!(error.is_setup());
            assert_eq!(llm.client.stats().llm.total_calls, 0, "a self-check is no traffic");
        }
    }
}

#[tokio::test]
async fn an_accepted_key_is_verified_again_only_after_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "one").unwrap();
    let server = ScriptedProvider::start(|_| chooses(Provider::OpenAI, &["files__read"])).await;
    let llm = server.llm_with(Provider::OpenAI, |llm| {
        llm.api_key = HeaderValue::File(file.display().to_string());
    });
    for _ in 0..3 {
        llm.client.verify().await.unwrap();
    }
    assert_eq!(server.requests().len(), 1);
    std::fs::write(&file, "two").unwrap();
    llm.client.verify().await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

// An outage of the provider must not fail a rollout.
#[tokio::test]
async fn an_outage_of_the_provider_is_no_setup_error() {
    let server = ScriptedProvider::start(|_| raw(503, &[], "")).await;
    let error = server.llm(Provider::Gemini).client.verify().await.unwrap_err();
    assert!(!error.is_setup(), "{error}");
    let error = TestLlm::new(Provider::OpenAI, "http://127.0.0.1:1", |_| {})
        .client
        .verify()
        .await
        .unwrap_err();
    assert!(!error.is_setup(), "{error}");
}

#[test]
fn a_config_that_can_never_work_fails_at_start() {
    // Fails in all tests but the first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut config = config(Provider::OpenAICompatible, "");
    config.base_url = None;
    let error = Llm::start(&config, &Registry::new()).unwrap_err().to_string();
    assert!(error.contains("baseUrl of filtering.llm is missing"), "{error}");
}

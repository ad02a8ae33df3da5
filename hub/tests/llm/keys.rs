//! The key: read anew, found to be wrong before anybody asks, and seen nowhere.

use mcphub_hub::llm::{Error, Llm};
use mcphub_hub_wire::config::{HeaderValue, Provider};
use prometheus::Registry;
use serde_json::json;

use crate::provider::{Asked, KEY, PROVIDERS, Scripted, chooses, config, json_answer, raw};

// Providers quote what they were sent: the key, a part of it, or the prompt.
#[tokio::test]
async fn the_key_is_in_no_error_metric_or_debug_text_whatever_the_provider_echoes() {
    for provider in PROVIDERS {
        for status in [200, 302, 400, 401, 403, 404, 429, 500] {
            let server = Scripted::start(move |_| {
                let words = json!({"code": KEY, "type": KEY, "status": KEY, "message": format!("Incorrect API key provided: {KEY}"), "details": [{"reason": KEY}]});
                let mut answer = json_answer(status, json!({"error": words, "choices": [{"message": {"content": KEY}}]}));
                answer.headers_mut().insert("location", format!("http://127.0.0.1:1/{KEY}").parse().unwrap());
                answer
            })
            .await;
            let asked = server.llm_with(provider, |llm| llm.retry.max_retries = 0);
            let error = asked.rank("p").await.unwrap_err();
            let everything = format!(
                "{error} {error:?} {:?} {:?} {} {:?}",
                asked.llm,
                config(provider, &server.url),
                asked.metrics(),
                asked.llm.stats()
            );
            assert!(!everything.contains("0123456789"), "{provider:?} {status}: {everything}");
        }
    }
}

#[tokio::test]
async fn a_redirect_takes_the_key_nowhere() {
    let elsewhere = Scripted::start(|_| chooses(Provider::OpenAI, &[])).await;
    let target = elsewhere.url.clone();
    let server = Scripted::start(move |_| raw(307, &[("location", &target)], "")).await;
    assert_eq!(server.llm(Provider::OpenAI).rank("p").await, Err(Error::Redirected(307)));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_rotated_key_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let server = Scripted::start(|_| chooses(Provider::Anthropic, &[])).await;
    let asked = server.llm_with(Provider::Anthropic, |llm| {
        llm.api_key = HeaderValue::File(file.display().to_string())
    });
    let missing = asked.rank("p").await.unwrap_err();
    assert!(missing.is_setup() && missing.to_string().contains("cannot be read"), "{missing}");
    std::fs::write(&file, "  \n").unwrap();
    assert!(asked.rank("p").await.unwrap_err().to_string().contains("is empty"));
    for key in ["one\n", "two"] {
        std::fs::write(&file, key).unwrap();
        asked.rank(&format!("with {key}")).await.unwrap();
    }
    let keys: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.headers["x-api-key"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["one", "two"]);
}

#[tokio::test]
async fn a_model_of_one_s_own_may_want_no_key() {
    let server = Scripted::start(|_| chooses(Provider::OpenAICompatible, &[])).await;
    let asked = server.llm_with(Provider::OpenAICompatible, |llm| {
        llm.api_key = HeaderValue::Value(String::new())
    });
    asked.rank("p").await.unwrap();
    assert_eq!(server.seen()[0].headers.get("authorization"), None);
}

#[tokio::test]
async fn a_key_that_is_refused_is_found_before_the_first_caller() {
    for provider in PROVIDERS {
        for status in [401, 403] {
            let server = Scripted::start(move |_| {
                json_answer(status, json!({"error": {"code": "no_access"}}))
            })
            .await;
            let asked = server.llm(provider);
            let error = asked.llm.verify().await.unwrap_err();
            assert_eq!(
                error,
                Error::KeyRefused {
                    place: "apiKey in the config".into(),
                    status,
                    code: Some("no_access".into())
                }
            );
            assert!(error.is_setup());
            assert_eq!(asked.llm.stats().llm.total_calls, 0, "a self-check is no traffic");
        }
    }
}

#[tokio::test]
async fn a_key_that_was_accepted_is_not_tried_again_until_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "one").unwrap();
    let server = Scripted::start(|_| chooses(Provider::OpenAI, &["files__read"])).await;
    let asked = server.llm_with(Provider::OpenAI, |llm| {
        llm.api_key = HeaderValue::File(file.display().to_string())
    });
    for _ in 0..3 {
        asked.llm.verify().await.unwrap();
    }
    assert_eq!(server.seen().len(), 1);
    std::fs::write(&file, "two").unwrap();
    asked.llm.verify().await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

// An outage of a provider must not fail a rollout that has nothing to do with it.
#[tokio::test]
async fn a_provider_in_trouble_is_no_wrong_setup() {
    let server = Scripted::start(|_| raw(503, &[], "")).await;
    let error = server.llm(Provider::Gemini).llm.verify().await.unwrap_err();
    assert!(!error.is_setup(), "{error}");
    let error =
        Asked::of(Provider::OpenAI, "http://127.0.0.1:1", |_| {}).llm.verify().await.unwrap_err();
    assert!(!error.is_setup(), "{error}");
}

#[test]
fn a_config_that_can_never_work_is_refused_at_start() {
    rustls::crypto::ring::default_provider().install_default().ok(); // once a process; later tests find it
    let mut config = config(Provider::OpenAICompatible, "");
    config.base_url = None;
    let error = Llm::start(&config, &Registry::new()).unwrap_err().to_string();
    assert!(error.contains("baseUrl of filtering.llm is missing"), "{error}");
}

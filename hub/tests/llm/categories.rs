//! Categories by the language model: in batches, cached, and only those of the config.

use std::sync::atomic::{AtomicUsize, Ordering};

use mcphub_hub::llm::{Candidate, CategoryChoice};
use mcphub_hub_wire::config::Provider;
use serde_json::{Value, json};

use crate::provider::{PROVIDERS, ScriptedProvider, TestLlm, json_answer, question, raw, says};

const CATEGORIES: [&str; 3] = ["filesystem", "web", "other"];

async fn server(provider: Provider) -> ScriptedProvider {
    ScriptedProvider::start(move |request| {
        let question = question(request);
        let category = |tool: &Value| {
            let id = tool["id"].as_str().unwrap();
            json!(
                {"id": id, "category": if id.starts_with("fs") { "filesystem" } else { "nonsense" }}
            )
        };
        let given: Vec<Value> =
            question["tools"].as_array().unwrap().iter().map(category).collect();
        json_answer(200, says(provider, &json!({"tools": given})))
    })
    .await
}

fn tools(ids: &[String]) -> Vec<Candidate<'_>> {
    ids.iter().map(|id| Candidate { id, description: "d", digest: b"1" }).collect()
}

fn ids() -> Vec<String> {
    (0..100)
        .map(|number| format!("{}__{number}", if number % 2 == 0 { "fs" } else { "x" }))
        .collect()
}

async fn categorize(llm: &TestLlm, ids: &[String]) -> Vec<Option<CategoryChoice>> {
    let (verdicts, llm) = llm.client.categorize(&tools(ids), &CATEGORIES).await;
    llm.unwrap();
    verdicts
}

#[tokio::test]
async fn tools_are_categorized_in_batches_and_only_once() {
    for provider in PROVIDERS {
        let server = server(provider).await;
        let llm = server.llm(provider);
        let ids = ids();
        let expected: Vec<_> = (0..100)
            .map(|number| {
                Some(if number % 2 == 0 {
                    CategoryChoice::Category(0)
                } else {
                    CategoryChoice::NoneFits
                })
            })
            .collect();
        assert_eq!(llm.client.known(&tools(&ids), &CATEGORIES).await, vec![None; 100]);
        assert_eq!(categorize(&llm, &ids).await, expected);
        assert_eq!(server.requests().len(), 3);
        // A tool without an existing category is not asked about again either.
        assert_eq!(categorize(&llm, &ids).await, expected);
        assert_eq!(llm.client.known(&tools(&ids), &CATEGORIES).await, expected);
        assert_eq!(server.requests().len(), 3);
        let cache = llm.client.stats().llm_cache;
        assert_eq!((cache.size, cache.hits, cache.misses), (100, 200, 100));
        llm.client.categorize(&tools(&ids[..1]), &["web"]).await.1.ok();
        assert_eq!(server.requests().len(), 4, "other categories are another question");
    }
}

#[tokio::test]
async fn after_a_failed_batch_the_earlier_answers_are_cached_and_the_rest_is_asked_later() {
    let asked_before = AtomicUsize::new(0);
    let server = ScriptedProvider::start(move |request| {
        if asked_before.fetch_add(1, Ordering::Relaxed) == 1 {
            return raw(404, &[], "");
        }
        let question = question(request);
        let tools = question["tools"].as_array().unwrap();
        let given: Vec<Value> =
            tools.iter().map(|tool| json!({"id": tool["id"], "category": "web"})).collect();
        json_answer(200, says(Provider::Anthropic, &json!({"tools": given})))
    })
    .await;
    let llm = server.llm(Provider::Anthropic);
    let ids = ids();
    let (verdicts, failed) = llm.client.categorize(&tools(&ids), &CATEGORIES).await;
    assert_eq!(failed.unwrap_err().category(), "rejected");
    let known = llm.client.known(&tools(&ids), &CATEGORIES).await;
    assert_eq!(known, verdicts);
    assert_eq!(
        known.iter().filter(|verdict| **verdict == Some(CategoryChoice::Category(1))).count(),
        40
    );
    assert_eq!(categorize(&llm, &ids).await, vec![Some(CategoryChoice::Category(1)); 100]);
    assert_eq!(server.requests().len(), 2 + 2);
}

// Otherwise one tool that a provider refuses would leave all later tools without a category.
#[tokio::test]
async fn an_unusable_answer_for_one_batch_does_not_stop_the_other_batches() {
    let server = ScriptedProvider::start(|request| {
        let question = question(request);
        let tools = question["tools"].as_array().unwrap();
        let poisoned = tools.iter().any(|tool| tool["id"] == "fs__0");
        let given: Vec<Value> =
            tools.iter().map(|tool| json!({"id": tool["id"], "category": "web"})).collect();
        json_answer(
            200,
            says(Provider::OpenAI, &if poisoned { json!("no") } else { json!({"tools": given}) }),
        )
    })
    .await;
    let llm = server.llm(Provider::OpenAI);
    let (verdicts, failed) = llm.client.categorize(&tools(&ids()), &CATEGORIES).await;
    assert_eq!(failed.unwrap_err().category(), "malformed");
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_none()).count(), 40);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn after_a_truncated_answer_the_batch_is_halved() {
    let server = ScriptedProvider::start(|request| {
        let question = question(request);
        let tools = question["tools"].as_array().unwrap();
        let given: Vec<Value> =
            tools.iter().map(|tool| json!({"id": tool["id"], "category": "web"})).collect();
        let mut answer = says(Provider::OpenAI, &json!({"tools": given}));
        if tools.len() > 10 {
            answer["choices"][0]["finish_reason"] = json!("length");
        }
        json_answer(200, answer)
    })
    .await;
    let llm = server.llm(Provider::OpenAI);
    assert_eq!(categorize(&llm, &ids()).await, vec![Some(CategoryChoice::Category(1)); 100]);
    assert_eq!(
        server.requests().len(),
        7 + 7 + 3,
        "40, 20, 10, 10, 20, 10, 10, the same again, then 20, 10, 10"
    );
}

// Rollout rules judge how long callers wait.
#[tokio::test]
async fn a_background_question_is_counted_without_a_duration() {
    let server = server(Provider::Gemini).await;
    let llm = server.llm(Provider::Gemini);
    categorize(&llm, &ids()).await;
    assert_eq!(llm.metric("requests_total", &["ok"]), 3);
    assert_eq!(llm.metric("request_duration_seconds_count", &["gemini"]), 0);
    assert_eq!(llm.client.stats().llm.average_latency, None);
    for (kind, tokens) in [("input", 150), ("cached", 120), ("output", 27)] {
        assert_eq!(llm.metric("tokens_total", &["gemini", kind]), tokens, "{kind}");
    }
}

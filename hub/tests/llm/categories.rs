//! Categories by the language model: in batches, kept, and only of the config.

use std::sync::atomic::{AtomicUsize, Ordering};

use mcphub_hub::llm::{Candidate, Verdict};
use mcphub_hub_wire::config::Provider;
use serde_json::{Value, json};

use crate::provider::{Asked, PROVIDERS, Scripted, json_answer, question, raw, says};

const CATEGORIES: [&str; 3] = ["filesystem", "web", "other"];

async fn server(provider: Provider) -> Scripted {
    Scripted::start(move |seen| {
        let question = question(seen);
        let category = |tool: &Value| {
            let id = tool["id"].as_str().unwrap();
            json!({"id": id, "category": if id.starts_with("fs") { "filesystem" } else { "nonsense" }})
        };
        let given: Vec<Value> = question["tools"].as_array().unwrap().iter().map(category).collect();
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

async fn categorize(asked: &Asked, ids: &[String]) -> Vec<Option<Verdict>> {
    let (verdicts, asked) = asked.llm.categorize(&tools(ids), &CATEGORIES).await;
    asked.unwrap();
    verdicts
}

#[tokio::test]
async fn tools_are_asked_about_in_batches_once() {
    for provider in PROVIDERS {
        let server = server(provider).await;
        let asked = server.llm(provider);
        let ids = ids();
        let expected: Vec<_> = (0..100)
            .map(|number| Some(if number % 2 == 0 { Verdict::Category(0) } else { Verdict::Unfit }))
            .collect();
        assert_eq!(asked.llm.known(&tools(&ids), &CATEGORIES).await, vec![None; 100]);
        assert_eq!(categorize(&asked, &ids).await, expected);
        assert_eq!(server.seen().len(), 3);
        // What it gave no category that exists is not asked about again either.
        assert_eq!(categorize(&asked, &ids).await, expected);
        assert_eq!(asked.llm.known(&tools(&ids), &CATEGORIES).await, expected);
        assert_eq!(server.seen().len(), 3);
        let cache = asked.llm.stats().llm_cache;
        assert_eq!((cache.size, cache.hits, cache.misses), (100, 200, 100));
        asked.llm.categorize(&tools(&ids[..1]), &["web"]).await.1.ok();
        assert_eq!(server.seen().len(), 4, "other categories are another question");
    }
}

#[tokio::test]
async fn what_was_learned_before_a_failure_stays_known_and_the_rest_is_asked_for_later() {
    let asked_before = AtomicUsize::new(0);
    let server = Scripted::start(move |seen| {
        if asked_before.fetch_add(1, Ordering::Relaxed) == 1 {
            return raw(404, &[], "");
        }
        let question = question(seen);
        let tools = question["tools"].as_array().unwrap();
        let given: Vec<Value> =
            tools.iter().map(|tool| json!({"id": tool["id"], "category": "web"})).collect();
        json_answer(200, says(Provider::Anthropic, &json!({"tools": given})))
    })
    .await;
    let asked = server.llm(Provider::Anthropic);
    let ids = ids();
    let (verdicts, failed) = asked.llm.categorize(&tools(&ids), &CATEGORIES).await;
    assert_eq!(failed.unwrap_err().category(), "rejected");
    let known = asked.llm.known(&tools(&ids), &CATEGORIES).await;
    assert_eq!(known, verdicts);
    assert_eq!(known.iter().filter(|verdict| **verdict == Some(Verdict::Category(1))).count(), 40);
    assert_eq!(categorize(&asked, &ids).await, vec![Some(Verdict::Category(1)); 100]);
    assert_eq!(server.seen().len(), 2 + 2);
}

// One tool whose text a provider will not read would else keep all that come after it from a category.
#[tokio::test]
async fn an_answer_of_no_use_for_some_tools_does_not_keep_the_others_from_theirs() {
    let server = Scripted::start(|seen| {
        let question = question(seen);
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
    let asked = server.llm(Provider::OpenAI);
    let (verdicts, failed) = asked.llm.categorize(&tools(&ids()), &CATEGORIES).await;
    assert_eq!(failed.unwrap_err().category(), "malformed");
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_none()).count(), 40);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_model_that_has_no_room_for_so_many_is_asked_about_fewer() {
    let server = Scripted::start(|seen| {
        let question = question(seen);
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
    let asked = server.llm(Provider::OpenAI);
    assert_eq!(categorize(&asked, &ids()).await, vec![Some(Verdict::Category(1)); 100]);
    assert_eq!(
        server.seen().len(),
        7 + 7 + 3,
        "40, 20, 10, 10, 20, 10, 10, the same again, then 20, 10, 10"
    );
}

// Rollouts are judged by how long callers wait.
#[tokio::test]
async fn what_nobody_waits_for_is_counted_and_not_timed() {
    let server = server(Provider::Gemini).await;
    let asked = server.llm(Provider::Gemini);
    categorize(&asked, &ids()).await;
    assert_eq!(asked.metric("requests_total", &["ok"]), 3);
    assert_eq!(asked.metric("request_duration_seconds_count", &["gemini"]), 0);
    assert_eq!(asked.llm.stats().llm.average_latency, None);
    for (kind, tokens) in [("input", 150), ("cached", 120), ("output", 27)] {
        assert_eq!(asked.metric("tokens_total", &["gemini", kind]), tokens, "{kind}");
    }
}

//! Categories by the language model: in batches, kept, and only of the config.

use std::sync::atomic::{AtomicUsize, Ordering};

use mcphub_hub::llm::Candidate;
use mcphub_wire::config::Provider;
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
    (0..100).map(|number| format!("{}__{number}", if number % 2 == 0 { "fs" } else { "x" })).collect()
}

async fn categorise(asked: &Asked, ids: &[String]) -> Vec<Option<usize>> {
    asked.llm.categorise(&tools(ids), &CATEGORIES).await.unwrap()
}

#[tokio::test]
async fn tools_are_asked_about_in_batches_once() {
    for provider in PROVIDERS {
        let server = server(provider).await;
        let asked = server.llm(provider);
        let ids = ids();
        let expected: Vec<_> = (0..100).map(|number| (number % 2 == 0).then_some(0)).collect();
        assert_eq!(asked.llm.known_categories(&tools(&ids), &CATEGORIES).await, vec![None; 100]);
        assert_eq!(categorise(&asked, &ids).await, expected);
        assert_eq!(server.seen().len(), 3);
        // What it gave no category that exists is not asked about again either.
        assert_eq!(categorise(&asked, &ids).await, expected);
        assert_eq!(asked.llm.known_categories(&tools(&ids), &CATEGORIES).await, expected);
        assert_eq!(server.seen().len(), 3);
        let cache = asked.llm.stats().llm_cache;
        assert_eq!((cache.hits, cache.misses), (100, 100));
        asked.llm.categorise(&tools(&ids[..1]), &["web"]).await.ok();
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
        let given: Vec<Value> = tools.iter().map(|tool| json!({"id": tool["id"], "category": "web"})).collect();
        json_answer(200, says(Provider::Anthropic, &json!({"tools": given})))
    })
    .await;
    let asked = server.llm(Provider::Anthropic);
    let ids = ids();
    assert_eq!(asked.llm.categorise(&tools(&ids), &CATEGORIES).await.unwrap_err().category(), "rejected");
    let known = asked.llm.known_categories(&tools(&ids), &CATEGORIES).await;
    assert_eq!(known.iter().filter(|category| **category == Some(1)).count(), 40);
    assert_eq!(categorise(&asked, &ids).await, vec![Some(1); 100]);
    assert_eq!(server.seen().len(), 2 + 2);
}

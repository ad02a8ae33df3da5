//! Answers that other pods learn.

use mcphub_hub::llm::{Verdict, merge};
use mcphub_hub_wire::config::Provider;
use serde_json::json;

use crate::provider::{Scripted, chooses, json_answer, says, tools};

const P: Provider = Provider::Gemini;

#[tokio::test]
async fn what_one_pod_was_told_another_need_not_ask() {
    let server = Scripted::start(|_| chooses(P, &["web__fetch", "files__read"])).await;
    let (one, other) = (server.llm(P), server.llm(P));
    one.rank("secret project").await.unwrap();
    let bytes = one.llm.export(100_000);
    assert!(
        !String::from_utf8_lossy(&bytes).contains("secret"),
        "prompts stay where they were asked"
    );
    assert!(!String::from_utf8_lossy(&bytes).contains("web"));
    let shared = merge([bytes.as_slice(), &other.llm.export(100_000)], 100_000);
    assert_eq!(other.llm.import(&shared).await, 1);
    assert_eq!(other.rank("secret project").await, Ok(vec![1, 0]));
    assert_eq!(server.seen().len(), 1);
    assert_eq!(other.llm.import(&shared).await, 0, "nothing new");
}

// Without it every pod of every revision would ask about every tool.
#[tokio::test]
async fn categories_that_one_pod_was_told_another_need_not_ask_for() {
    let given = json!({"tools": [{"id": "files__read", "category": "web"}, {"id": "mail__send", "category": "root"}]});
    let server = Scripted::start(move |_| json_answer(200, says(P, &given))).await;
    let (one, other) = (server.llm(P), server.llm(P));
    let (verdicts, asked) = one.llm.categorize(&tools(), &["other", "web"]).await;
    asked.unwrap();
    assert_eq!(verdicts, [Verdict::Category(1), Verdict::Unfit, Verdict::Unfit].map(Some));
    assert_eq!(other.llm.import(&one.llm.export(100_000)).await, 3);
    assert_eq!(other.llm.known(&tools(), &["other", "web"]).await, verdicts);
    assert_eq!(other.llm.categorize(&tools(), &["other", "web"]).await, (verdicts, Ok(())));
    assert_eq!(server.seen().len(), 1);
    assert_eq!(
        other.llm.known(&tools(), &["web", "other"]).await,
        [None; 3],
        "a position of other categories"
    );
}

#[tokio::test]
async fn another_model_s_answers_are_not_taken_for_its_own() {
    let server = Scripted::start(|_| chooses(P, &[])).await;
    let (one, other) = (server.llm(P), server.llm_with(P, |llm| llm.model = "m-2".into()));
    one.rank("p").await.unwrap();
    other.llm.import(&one.llm.export(100_000)).await;
    other.rank("p").await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn an_export_fits_its_bound() {
    let server = Scripted::start(|_| chooses(P, &["web__fetch"])).await;
    let asked = server.llm(P);
    for number in 0..20 {
        asked.rank(&format!("prompt {number}")).await.unwrap();
    }
    let bytes = asked.llm.export(100);
    assert!(bytes.len() <= 100 && bytes.len() > 70, "{}", bytes.len());
}

// Whoever may write the shared state could otherwise make tools appear.
#[tokio::test]
async fn forged_answers_make_nothing_appear_and_break_nothing() {
    let server = Scripted::start(|_| chooses(P, &["web__fetch"])).await;
    let (one, other) = (server.llm(P), server.llm(P));
    one.rank("p").await.unwrap();
    let mut bytes = one.llm.export(100_000);
    // The positions are the last bytes.
    *bytes.last_mut().unwrap() = 200;
    assert_eq!(other.llm.import(&bytes).await, 1);
    assert_eq!(other.rank("p").await, Ok(vec![]));
    assert_eq!(other.llm.import(b"\x01 nonsense").await, 0);
}

#[tokio::test]
async fn answers_without_a_time_to_live_are_not_kept() {
    let server = Scripted::start(|_| chooses(P, &[])).await;
    let asked = server.llm_with(P, |llm| llm.cache.ttl_ms = 0);
    asked.rank("p").await.unwrap();
    asked.rank("p").await.unwrap();
    assert_eq!((server.seen().len(), asked.llm.export(100).len()), (2, 1));
}

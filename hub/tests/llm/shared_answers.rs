//! Cached answers that pods share.

use mcphub_hub::llm::{CategoryChoice, merge};
use mcphub_hub_wire::config::Provider;
use serde_json::json;

use crate::provider::{ScriptedProvider, chooses, json_answer, says, tools};

const P: Provider = Provider::Gemini;

#[tokio::test]
async fn an_imported_answer_saves_a_question() {
    let server = ScriptedProvider::start(|_| chooses(P, &["web__fetch", "files__read"])).await;
    let (one, other) = (server.llm(P), server.llm(P));
    one.rank("secret project").await.unwrap();
    let bytes = one.client.export(100_000);
    assert!(!String::from_utf8_lossy(&bytes).contains("secret"), "the export contains the prompt");
    assert!(!String::from_utf8_lossy(&bytes).contains("web"));
    let shared = merge([bytes.as_slice(), &other.client.export(100_000)], 100_000);
    assert_eq!(other.client.import(&shared).await, 1);
    assert_eq!(other.rank("secret project").await, Ok(vec![1, 0]));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(other.client.import(&shared).await, 0, "nothing new");
}

// Otherwise every pod of every revision would ask about every tool.
#[tokio::test]
async fn imported_categories_save_a_question() {
    let given = json!(
        {
            "tools": [
                {"id": "files__read", "category": "web"}, {"id": "mail__send", "category": "root"}
            ]
        }
    );
    let server = ScriptedProvider::start(move |_| json_answer(200, says(P, &given))).await;
    let (one, other) = (server.llm(P), server.llm(P));
    let (verdicts, llm) = one.client.categorize(&tools(), &["other", "web"]).await;
    llm.unwrap();
    assert_eq!(
        verdicts,
        [CategoryChoice::Category(1), CategoryChoice::NoneFits, CategoryChoice::NoneFits].map(Some)
    );
    assert_eq!(other.client.import(&one.client.export(100_000)).await, 3);
    assert_eq!(other.client.known(&tools(), &["other", "web"]).await, verdicts);
    assert_eq!(other.client.categorize(&tools(), &["other", "web"]).await, (verdicts, Ok(())));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(
        other.client.known(&tools(), &["web", "other"]).await,
        [None; 3],
        "a position of other categories"
    );
}

#[tokio::test]
async fn answers_of_another_model_are_not_used() {
    let server = ScriptedProvider::start(|_| chooses(P, &[])).await;
    let (one, other) = (server.llm(P), server.llm_with(P, |llm| llm.model = "m-2".into()));
    one.rank("p").await.unwrap();
    other.client.import(&one.client.export(100_000)).await;
    other.rank("p").await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_export_stays_within_its_bound() {
    let server = ScriptedProvider::start(|_| chooses(P, &["web__fetch"])).await;
    let llm = server.llm(P);
    for number in 0..20 {
        llm.rank(&format!("prompt {number}")).await.unwrap();
    }
    let bytes = llm.client.export(100);
    assert!(bytes.len() <= 100 && bytes.len() > 70, "{}", bytes.len());
}

// Otherwise whoever can write the shared state could make tools appear.
#[tokio::test]
async fn a_forged_answer_adds_no_tool_and_causes_no_error() {
    let server = ScriptedProvider::start(|_| chooses(P, &["web__fetch"])).await;
    let (one, other) = (server.llm(P), server.llm(P));
    one.rank("p").await.unwrap();
    let mut bytes = one.client.export(100_000);
    // The last byte is a position.
    *bytes.last_mut().unwrap() = 200;
    assert_eq!(other.client.import(&bytes).await, 1);
    assert_eq!(other.rank("p").await, Ok(vec![]));
    assert_eq!(other.client.import(b"\x01 nonsense").await, 0);
}

#[tokio::test]
async fn with_a_ttl_of_0_no_answer_is_cached() {
    let server = ScriptedProvider::start(|_| chooses(P, &[])).await;
    let llm = server.llm_with(P, |llm| llm.cache.ttl_ms = 0);
    llm.rank("p").await.unwrap();
    llm.rank("p").await.unwrap();
    assert_eq!((server.requests().len(), llm.client.export(100).len()), (2, 1));
}

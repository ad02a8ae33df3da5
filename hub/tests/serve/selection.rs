//! The selector in a running hub: when it is loaded, and what it counts, learns and finds.

use serde_json::{Value, json};

use crate::meta::{FILES, OTHERS, prompted, server};
use crate::support::{TestHub, eventually, servers, text_of};

const FOUND: [(&str, &str); 2] = [("backend", "embedded"), ("outcome", "found")];

pub async fn find(hub: &TestHub, query: &str) -> Value {
    let params = json!({"name": "hub__find_tools", "arguments": {"query": query}});
    let (failed, text) = text_of(&hub.ask("tools/call", params).await.json());
    assert!(!failed, "{text}");
    serde_json::from_str(&text).unwrap()
}

// A rule over a missing series has no data, and models that nobody can reach waste memory.
#[tokio::test(flavor = "multi_thread")]
async fn without_search_all_metrics_are_zero_and_no_models_are_loaded() {
    let server = server(FILES).await;
    let mut config = servers(&[("files", &server.url)]);
    let hub = TestHub::start(config.clone()).await;
    hub.list_becomes(&["files__delete_file", "files__read_file", "files__write_file"]).await;
    for backend in ["embedded", "llm"] {
        for outcome in ["found", "nothing_fits", "failed"] {
            let labels = [("backend", backend), ("outcome", outcome)];
            assert_eq!(
                hub.metric("mcp_hub_selection_total", &labels).await,
                Some(0.0),
                "{labels:?}"
            );
        }
    }
    for name in ["mcp_hub_selection_queue", "mcp_hub_selection_learned_total"] {
        assert_eq!(hub.metric(name, &[]).await, Some(0.0), "{name}");
    }
    assert_eq!(hub.metric("mcp_hub_selection_recall", &[]).await, None, "0 would be a recall");
    assert!(!hub.serving.hub.selector.is_loaded());
    config["filtering"] = json!({"mode": "PromptBased"});
    hub.write(&config);
    hub.metric_becomes("mcp_hub_selection_tools", &[("state", "indexed")], 3.0).await;
    assert!(hub.serving.hub.selector.is_loaded());
    config["filtering"] = json!({});
    hub.write(&config);
    eventually("the models are dropped", async || !hub.serving.hub.selector.is_loaded()).await;
    hub.metric_becomes("mcp_hub_selection_tools", &[("state", "indexed")], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_works_at_once_and_every_tool_gets_a_vector() {
    let (hub, _servers) = prompted(json!({})).await;
    assert_eq!(
        find(&hub, "weather forecast").await["tools"][0]["definition"]["name"],
        "others__forecast"
    );
    hub.metric_becomes("mcp_hub_selection_tools", &[("state", "encoded")], 5.0).await;
    assert_eq!(
        find(&hub, "is it going to rain").await["tools"][0]["definition"]["name"],
        "others__forecast"
    );
    assert_eq!(hub.metric("mcp_hub_selection_total", &FOUND).await, Some(2.0));
    find(&hub, "qqqq zzzz xxxx").await;
    let nothing = [FOUND[0], ("outcome", "nothing_fits")];
    assert_eq!(hub.metric("mcp_hub_selection_total", &nothing).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn recall_of_golden_questions_is_measured_and_follows_the_config() {
    let (files, others) = (server(FILES).await, server(OTHERS).await);
    let mut config = servers(&[("files", &files.url), ("others", &others.url)]);
    let questions = json!([
        {"query": "weather forecast for a city", "tools": ["others__forecast"]},
        {"query": "send an email", "tools": ["others__send_email", "others__gone"]},
    ]);
    config["filtering"] = json!({"mode": "PromptBased", "goldenQuestions": questions,
        "promptBased": {"maxTools": 5}});
    let hub = TestHub::start(config.clone()).await;
    // The mean of 1 and 0.5: a tool that does not exist counts as missed.
    hub.metric_becomes("mcp_hub_selection_recall", &[], 0.75).await;
    let golden = hub.serving.hub.selector.golden_result().unwrap();
    assert_eq!(golden.unknown, ["others__gone"]);
    assert_eq!(
        hub.metric("mcp_hub_selection_total", &FOUND).await,
        Some(0.0),
        "the hub's own questions do not count"
    );
    // A worse filter lowers the recall.
    config["mcpServers"]["others"]["tools"] = json!({"deny": ["forecast"]});
    hub.write(&config);
    hub.metric_becomes("mcp_hub_selection_recall", &[], 0.25).await;
    config["filtering"] = json!({"mode": "PromptBased"});
    hub.write(&config);
    eventually("no question, no series", async || {
        hub.metric("mcp_hub_selection_recall", &[]).await.is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successful_call_that_names_its_selection_teaches_once() {
    let (hub, _servers) = prompted(json!({})).await;
    let selection = find(&hub, "weather forecast").await["selectionId"].clone();
    let learned = async || hub.metric("mcp_hub_selection_learned_total", &[]).await;
    let call = async |selection: &Value| {
        let arguments =
            json!({"name": "others__forecast", "arguments": {}, "selectionId": selection});
        let params = json!({"name": "hub__call_destructive", "arguments": arguments});
        assert!(!text_of(&hub.ask("tools/call", params).await.json()).0);
    };
    call(&json!("made up")).await;
    call(&selection).await;
    hub.metric_becomes("mcp_hub_selection_learned_total", &[], 1.0).await;
    call(&selection).await;
    find(&hub, "weather forecast").await;
    assert_eq!(learned().await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_learned_while_memory_is_off() {
    let (hub, _servers) = prompted(json!({"memory": false})).await;
    let selection = find(&hub, "weather forecast").await["selectionId"].clone();
    let arguments = json!({"name": "others__forecast", "arguments": {}, "selectionId": selection});
    hub.ask("tools/call", json!({"name": "hub__call_destructive", "arguments": arguments})).await;
    find(&hub, "weather forecast").await;
    assert_eq!(hub.metric("mcp_hub_selection_learned_total", &[]).await, Some(0.0));
}

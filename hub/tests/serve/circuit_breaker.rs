//! Servers that fail again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;

use crate::fixture::Fixture;
use crate::scripted_server::{ScriptedServer, id_of, json};
use crate::support::{TestHub, eventually, servers, text_of};

const TOOL: &str = r#"{"name":"t","inputSchema":{"type":"object"}}"#;
const STATE: &str = "mcp_hub_circuit_breaker_state";

/// A server that responds with 502 to calls while `broken`.
async fn failing(broken: &Arc<AtomicBool>) -> ScriptedServer {
    let broken = Arc::clone(broken);
    ScriptedServer::start(TOOL, move |seen| {
        if broken.load(Ordering::Relaxed) {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        json(&id_of(seen), r#"{"content":[{"type":"text","text":"done"}]}"#)
    })
    .await
}

async fn call(hub: &TestHub, tool: &str) -> (bool, String) {
    text_of(&hub.ask("tools/call", json!({"name": tool})).await.json())
}

// Otherwise each caller of a server that hangs waits for its timeout, and its calls take the places
// of others.
#[tokio::test(flavor = "multi_thread")]
async fn after_five_failures_a_server_gets_no_calls_until_one_succeeds_and_others_are_served() {
    let broken = Arc::new(AtomicBool::new(true));
    let (bad, good) = (failing(&broken).await, Fixture::legacy(&["echo"]).await);
    let hub = TestHub::start(servers(&[("bad", &bad.url), ("good", &good.url)])).await;
    hub.list_becomes(&["bad__t", "good__echo"]).await;
    let state = |value| hub.metric_becomes(STATE, &[("server", "bad")], value);
    state(0.0).await;
    for _ in 0..5 {
        let (is_error, text) = call(&hub, "bad__t").await;
        assert!(is_error && text.contains("502"), "{text}");
    }
    state(2.0).await;
    let (is_error, text) = call(&hub, "bad__t").await;
    assert!(is_error && text.contains("its last 5 calls failed"), "{text}");
    assert!(text.contains("502") && text.contains("do not repeat the call at once"), "{text}");
    assert_eq!(bad.requests("tools/call").len(), 5, "it is not sent");
    assert!(!call(&hub, "good__echo").await.0);
    hub.metric_becomes(STATE, &[("server", "good")], 0.0).await;
    broken.store(false, Ordering::Relaxed);
    eventually("calls reach it again", async || !call(&hub, "bad__t").await.0).await;
    state(0.0).await;
}

// What a tool says of itself is no sign that its server fails.
#[tokio::test(flavor = "multi_thread")]
async fn tool_errors_and_errors_of_callers_never_open_the_breaker() {
    let server = ScriptedServer::start(TOOL, |seen| {
        if seen.body.contains("\"wrong\"") {
            let error = format!(
                r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32602,"message":"bad"}}}}"#,
                id_of(seen)
            );
            return (StatusCode::BAD_REQUEST, crate::scripted_server::json_text(&error))
                .into_response();
        }
        json(&id_of(seen), r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#)
    })
    .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    for call in 0..12 {
        let arguments = if call % 2 == 0 { json!({"wrong": 1}) } else { json!({}) };
        hub.ask("tools/call", json!({"name": "s__t", "arguments": arguments})).await;
    }
    assert_eq!(server.requests("tools/call").len(), 12);
    hub.metric_becomes(STATE, &[("server", "s")], 0.0).await;
}

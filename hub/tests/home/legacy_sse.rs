//! Servers with the HTTP+SSE transport of 2024-11-05.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures::StreamExt as _;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::HubProcess;

type Streams = Arc<Mutex<Vec<mpsc::UnboundedSender<String>>>>;

/// A server whose stream is at `/sse`, and which knows no POST there.
async fn server() -> String {
    let open = async |State(streams): State<Streams>| {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut streams = streams.lock().unwrap();
        let endpoint = Event::default().event("endpoint").data(format!("/in?s={}", streams.len()));
        streams.push(sender);
        let messages = futures::stream::unfold(receiver, async |mut receiver| {
            let text: String = receiver.recv().await?;
            Some((Event::default().event("message").data(text), receiver))
        });
        let events = futures::stream::iter([endpoint]).chain(messages);
        Sse::new(events.map(Ok::<_, std::convert::Infallible>))
    };
    let take = async |State(streams): State<Streams>, uri: axum::http::Uri, body: String| {
        let message: Value = serde_json::from_str(&body).unwrap();
        let number: usize = uri.query().unwrap().strip_prefix("s=").unwrap().parse().unwrap();
        if let Some(id) = message.get("id") {
            let response = json!({"jsonrpc": "2.0", "id": id, "result": result(&message)});
            streams.lock().unwrap()[number].send(response.to_string()).ok();
        }
        StatusCode::ACCEPTED
    };
    let routes = Router::new().route("/sse", get(open)).route("/in", post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/sse", listener.local_addr().unwrap());
    let routes = routes.with_state(Streams::default());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

fn result(message: &Value) -> Value {
    match message["method"].as_str() {
        Some("initialize") => {
            json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"}})
        }
        Some("tools/list") => {
            json!({"tools": [{"name": "say", "inputSchema": {"type": "object"}}]})
        }
        _ => json!({"content": [{"type": "text", "text": "from an old server"}]}),
    }
}

#[rstest]
#[case::named(json!("sse"))]
#[case::found_out(json!(null))]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_http_and_sse_is_reached(#[case] kind: Value) {
    let config = json!({"mcpServers": {"old": {"url": server().await, "type": kind}}});
    let hub = HubProcess::start(&config);
    assert_eq!(hub.text(None, "old__say", json!({})).await, "from an old server");
}

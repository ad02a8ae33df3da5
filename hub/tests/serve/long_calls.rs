//! Calls that take long: proxies that close silent connections, and clients that disconnect.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, StreamExt as _};
use rstest::rstest;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::scripted_server::{ReceivedRequest, ScriptedServer, id_of};
use crate::support::{TestHub, eventually, modern_meta, request, servers};

const TOOL: &str = r#"{"name":"long","inputSchema":{"type":"object"}}"#;

/// A server whose calls send these events at once and end when the test says so.
struct SlowServer {
    scripted: ScriptedServer,
    end: Arc<Semaphore>,
}

impl SlowServer {
    async fn start(events: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let end = Arc::new(Semaphore::new(0));
        let ended = Arc::clone(&end);
        let call = move |call: &ReceivedRequest| slow(call, &events, &ended);
        Self { scripted: ScriptedServer::start(TOOL, call).await, end }
    }

    async fn is_called(&self) {
        eventually("the server is called", async || {
            !self.scripted.requests("tools/call").is_empty()
        })
        .await;
    }

    fn is_cancelled(&self) -> bool {
        !self.scripted.requests("notifications/cancelled").is_empty()
    }
}

fn slow(
    call: &ReceivedRequest,
    events: &impl Fn(&str) -> String,
    end: &Arc<Semaphore>,
) -> Response {
    let (id, end) = (id_of(call), Arc::clone(end));
    let result = r#"{"content":[{"type":"text","text":"done"}]}"#;
    let response = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n\n");
    let last = stream::once(async move {
        end.acquire().await.unwrap().forget();
        response
    });
    let events = stream::iter([events(&id)]).chain(last);
    let body = Body::from_stream(events.map(Ok::<_, std::io::Error>));
    ([("content-type", "text/event-stream")], body).into_response()
}

fn progress(id: &str) -> String {
    let params = format!(r#"{{"progressToken":{id},"progress":1}}"#);
    let method = "notifications/progress";
    format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}\n\n")
}

/// Sends a call, and returns when the head of the response is there.
async fn call(hub: &TestHub, modern: bool) -> reqwest::Response {
    let mut meta = if modern { modern_meta() } else { json!({}) };
    meta["progressToken"] = json!("mine");
    let body = request("tools/call", json!({"name": "s__long", "_meta": meta}));
    let mut call = hub
        .http
        .post(hub.url("/mcp"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if modern {
        call = call.header("mcp-protocol-version", "2026-07-28");
        call = call.header("mcp-method", "tools/call").header("mcp-name", "s__long");
    }
    call.body(body).send().await.unwrap()
}

async fn next(response: &mut reqwest::Response) -> String {
    let chunk: Bytes = response.chunk().await.unwrap().expect("the stream goes on");
    String::from_utf8(chunk.to_vec()).unwrap()
}

async fn hub_with(server: &SlowServer) -> TestHub {
    let mut config = servers(&[("s", &server.scripted.url)]);
    config["limits"] = json!({"maxConcurrent": 1});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__long"]).await;
    hub
}

/// How many calls were counted, by outcome.
async fn outcomes(hub: &TestHub) -> Vec<(&'static str, f64)> {
    let mut all = Vec::new();
    for outcome in ["ok", "caller_error", "tool_error", "upstream_error", "hub_error"] {
        let labels = [("method", "tools/call"), ("outcome", outcome)];
        let count = hub.metric("mcp_hub_requests_total", &labels).await.unwrap();
        if count > 0.0 {
            all.push((outcome, count));
        }
    }
    all
}

// nginx and cloud load balancers close a connection on which nothing comes for 60 s.
#[rstest]
#[case::silent_with_session(false, false)]
#[case::silent_without_sessions(true, false)]
#[case::after_progress_with_session(false, true)]
#[case::after_progress_without_sessions(true, true)]
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_long_sends_comments_until_its_result_is_there(
    #[case] modern: bool,
    #[case] with_progress: bool,
) {
    let events = move |id: &str| if with_progress { progress(id) } else { String::from("\n") };
    let server = SlowServer::start(events).await;
    let hub = hub_with(&server).await;
    let mut response = call(&hub, modern).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    if with_progress {
        let first = next(&mut response).await;
        assert!(first.contains(r#""progressToken":"mine""#), "{first}");
    }
    assert_eq!(next(&mut response).await, ":\n\n");
    server.end.add_permits(1);
    let last = response.text().await.unwrap();
    assert!(last.contains("done"), "{last}");
}

// "Disconnection SHOULD NOT be interpreted as the client cancelling its request." A tool that
// writes would stop half way.
#[rstest]
#[case::before_the_head(false)]
#[case::in_the_stream(true)]
#[tokio::test(flavor = "multi_thread")]
async fn with_sessions_a_call_goes_on_when_its_client_disconnects_and_is_counted_once(
    #[case] with_progress: bool,
) {
    let events = move |id: &str| if with_progress { progress(id) } else { String::from("\n") };
    let server = SlowServer::start(events).await;
    let hub = hub_with(&server).await;
    if with_progress {
        drop(call(&hub, false).await);
    } else {
        tokio::select! {
            _ = call(&hub, false) => panic!("the call does not end"),
            () = server.is_called() => {}
        }
    }
    eventually("the call goes on without its client", async || {
        hub.serving.hub.outliving.len() == 1
    })
    .await;
    assert_eq!(hub.ask("tools/list", json!({})).await.status, 503, "it holds its place");
    server.end.add_permits(1);
    eventually("the call is counted", async || !outcomes(&hub).await.is_empty()).await;
    assert_eq!(outcomes(&hub).await, [("ok", 1.0)]);
    eventually("its place is free", async || hub.ask("tools/list", json!({})).await.status == 200)
        .await;
    assert!(!server.is_cancelled());
}

#[rstest]
#[case::before_the_head(false)]
#[case::in_the_stream(true)]
#[tokio::test(flavor = "multi_thread")]
async fn without_sessions_a_client_that_disconnects_has_cancelled_and_is_counted_once(
    #[case] with_progress: bool,
) {
    let events = move |id: &str| if with_progress { progress(id) } else { String::from("\n") };
    let server = SlowServer::start(events).await;
    let hub = hub_with(&server).await;
    if with_progress {
        drop(call(&hub, true).await);
    } else {
        tokio::select! {
            _ = call(&hub, true) => panic!("the call does not end"),
            () = server.is_called() => {}
        }
    }
    eventually("the server is told", async || server.is_cancelled()).await;
    eventually("the call is counted", async || !outcomes(&hub).await.is_empty()).await;
    assert_eq!(outcomes(&hub).await, [("caller_error", 1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_client_is_gone_can_still_be_cancelled() {
    let server = SlowServer::start(|_| String::from("\n")).await;
    let hub = hub_with(&server).await;
    let session = hub.session().await;
    let headers = [("mcp-session-id", session.as_str())];
    tokio::select! {
        _ = hub.post(request("tools/call", json!({"name": "s__long"})), &headers) => {
            panic!("the call does not end")
        }
        () = server.is_called() => {}
    }
    eventually("the call goes on", async || hub.serving.hub.outliving.len() == 1).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(hub.post(cancel, &headers).await.status, 202);
    eventually("the server is told", async || server.is_cancelled()).await;
    eventually("the call is counted", async || !outcomes(&hub).await.is_empty()).await;
    assert_eq!(outcomes(&hub).await, [("caller_error", 1.0)]);
}

// A deployment of the hub would otherwise cut the calls that a broken connection did not cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stops_waits_for_calls_whose_client_is_gone() {
    let server = SlowServer::start(|_| String::from("\n")).await;
    let hub = hub_with(&server).await;
    tokio::select! {
        _ = call(&hub, false) => panic!("the call does not end"),
        () = server.is_called() => {}
    }
    let state = Arc::clone(&hub.serving.hub);
    eventually("the call goes on", async || state.outliving.len() == 1).await;
    let end = async {
        eventually("the hub stops", async || state.stopping.is_cancelled()).await;
        server.end.add_permits(1);
    };
    let (stopped, ()) = tokio::join!(hub.serving.stop(), end);
    stopped.unwrap();
    assert!(state.outliving.is_empty() && !server.is_cancelled());
}

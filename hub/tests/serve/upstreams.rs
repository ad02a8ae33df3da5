//! Bad, slow and hung servers, and the sessions with servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use futures::stream::{self, StreamExt as _};
use rstest::rstest;
use serde_json::json;

use crate::fixture::Fixture;
use crate::scripted_server::{ScriptedServer, events, id_of, json, json_text, never};
use crate::support::{PATIENCE, TestHub, eventually, request, servers, text_of};

const TOOL: &str = r#"{"name":"t","inputSchema":{"type":"object"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_server_and_a_dead_server_delay_no_other_server() {
    let good = Fixture::legacy(&["echo", "hang"]).await;
    // Accepts connections and never responds.
    let hung = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung_url = format!("http://{}/mcp", hung.local_addr().unwrap());
    let mut config =
        servers(&[("good", &good.url), ("hung", &hung_url), ("dead", "http://127.0.0.1:1/mcp")]);
    config["startupTimeoutMs"] = json!(500);
    let hub = TestHub::start(config).await;
    // The hub gives the hung server 30 s. A list that waited for it would come after this.
    let names = tokio::time::timeout(Duration::from_secs(20), hub.tool_names()).await;
    assert_eq!(names.expect("a list without waiting"), ["good__echo", "good__hang"]);
    let hanging = hub.ask("tools/call", json!({"name": "good__hang"}));
    let other = async {
        let answer = hub.ask("tools/call", json!({"name": "good__echo"})).await.json();
        assert!(!text_of(&answer).0);
    };
    tokio::select! {
        () = other => {}
        _ = hanging => panic!("hang does not end"),
    }
    assert_eq!(hub.metric("mcp_hub_upstream_up", &[("server", "dead")]).await, Some(0.0));
    assert_eq!(hub.metric("mcp_hub_upstream_up", &[("server", "good")]).await, Some(1.0));
}

#[rstest]
#[case::http_error(|_: &_| StatusCode::BAD_GATEWAY.into_response(),
    "responded with HTTP status 502 Bad Gateway")]
#[case::no_mcp(|_: &_| json_text("<html>"), "sent an invalid MCP response: not a JSON-RPC message")]
#[case::cut(
    |_: &_| events(concat!(
        r#"data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}"#, "\n\n"
    )),
    "closed the connection before its response was complete: the stream ended without a response"
)]
#[case::hung(|_: &_| never(), "did not answer within 0.3 s")]
#[case::no_object(|seen: &_| json(&id_of(seen), "[]"),
    "sent an invalid MCP response: the result of tools/call")]
#[case::input_wanted(
    |seen: &_| json(&id_of(seen), r#"{"resultType":"input_required","requestState":"x"}"#),
    "requested input from the caller, which this hub does not support yet"
)]
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_server_fails_is_a_tool_error_that_says_why(
    #[case] call: impl Fn(&crate::scripted_server::ReceivedRequest) -> axum::response::Response
    + Send
    + Sync
    + 'static,
    #[case] expected: &str,
) {
    let server = ScriptedServer::start(TOOL, call).await;
    let mut config = servers(&[("s", &server.url)]);
    config["mcpServers"]["s"]["tools"] = json!({"timeoutMs": {"t": 300}});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__t"]).await;
    let answer = hub.ask("tools/call", json!({"name": "s__t"})).await;
    assert_eq!(
        (answer.status, text_of(&answer.json())),
        (200, (true, format!("Server \"s\" {expected}.")))
    );
    hub.metric_becomes(
        "mcp_hub_tool_calls_total",
        &[("tool", "s__t"), ("outcome", "upstream_error")],
        1.0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_reconnected_and_its_tools_stay_listed_meanwhile() {
    let server = Fixture::legacy(&["echo"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__echo"]).await;
    let address = format!("127.0.0.1:{}", server.port());
    server.kill();
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "s")], 0.0).await;
    assert_eq!(hub.tool_names().await, ["s__echo"]);
    let (is_error, text) = text_of(&hub.ask("tools/call", json!({"name": "s__echo"})).await.json());
    assert!(is_error && text.contains("cannot be reached"), "{text}");
    let _again =
        Fixture::start(&["echo", "new"], &[rmcp::model::ProtocolVersion::V_2025_11_25], &address)
            .await;
    hub.list_becomes(&["s__echo", "s__new"]).await;
    assert!(!text_of(&hub.ask("tools/call", json!({"name": "s__echo"})).await.json()).0);
}

// A server that dies between its list and the stream of its session would otherwise count as alive
// until the next list is due.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_stream_that_cannot_be_opened_makes_the_hub_list_again_at_once() {
    let server = ScriptedServer::with_stream(StatusCode::BAD_GATEWAY, TOOL, |_| never()).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    eventually("listed again", async || server.requests("tools/list").len() > 1).await;
}

// A server that restarts forgets its sessions. The examples of the SDKs respond with 400 then.
#[rstest]
#[case(404)]
#[case(400)]
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_upstream_session_is_renewed_once_and_the_call_succeeds(#[case] gone: u16) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let server = ScriptedServer::start(TOOL, move |seen| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
            return (StatusCode::from_u16(gone).unwrap(), json_text(error)).into_response();
        }
        json(&id_of(seen), r#"{"content":[{"type":"text","text":"done"}]}"#)
    })
    .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    let before = server.requests("initialize").len();
    assert_eq!(
        text_of(&hub.ask("tools/call", json!({"name": "s__t"})).await.json()),
        (false, "done".into())
    );
    assert_eq!(
        (server.requests("initialize").len() - before, calls.load(Ordering::Relaxed)),
        (1, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_400_that_answers_the_call_itself_keeps_the_session() {
    let server = ScriptedServer::start(TOOL, |seen| {
        let error = format!(
            r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32602,"message":"bad"}}}}"#,
            id_of(seen)
        );
        (StatusCode::BAD_REQUEST, json_text(&error)).into_response()
    })
    .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    let before = server.requests("initialize").len();
    assert_eq!(
        hub.ask("tools/call", json!({"name": "s__t"})).await.json()["error"]["message"],
        "bad"
    );
    assert_eq!(server.requests("initialize").len(), before);
}

#[rstest]
#[case::shared("Shared", true)]
#[case::per_principal("PerPrincipal", true)]
#[case::per_session("PerSession", false)]
#[tokio::test(flavor = "multi_thread")]
async fn isolation_decides_who_shares_an_upstream_session(
    #[case] isolation: &str,
    #[case] shared: bool,
) {
    let server = Fixture::legacy(&["whoami"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["mcpServers"]["s"]["isolation"] = json!(isolation);
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__whoami"]).await;
    let (a, b) = (hub.session().await, hub.session().await);
    let whoami = async |session: &str| {
        let answer = hub
            .post(
                request("tools/call", json!({"name": "s__whoami"})),
                &[("mcp-session-id", session)],
            )
            .await;
        text_of(&answer.json()).1
    };
    let (first, second, again) = (whoami(&a).await, whoami(&b).await, whoami(&a).await);
    assert_eq!(first, again);
    assert_eq!(first == second, shared, "{first} {second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_max_sessions_a_call_is_a_tool_error_until_a_session_ends() {
    let server = Fixture::legacy(&["whoami"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["mcpServers"]["s"]["isolation"] = json!("PerSession");
    config["mcpServers"]["s"]["maxSessions"] = json!(2); // one is the hub's own, for the list
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__whoami"]).await;
    let (a, b) = (hub.session().await, hub.session().await);
    let whoami = async |session: &str| {
        let answer = hub
            .post(
                request("tools/call", json!({"name": "s__whoami"})),
                &[("mcp-session-id", session)],
            )
            .await;
        text_of(&answer.json())
    };
    assert!(!whoami(&a).await.0);
    let (is_error, text) = whoami(&b).await;
    assert!(is_error && text.contains("the limit of maxSessions"), "{text}");
    hub.http.delete(hub.url("/mcp")).header("mcp-session-id", &a).send().await.unwrap();
    assert!(!whoami(&b).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_client_cancels_is_cancelled_upstream_and_counts_as_caller_error() {
    let server = Fixture::legacy(&["hang"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__hang"]).await;
    let session = hub.session().await;
    let mut hanging = server.shared.hanging.subscribe();
    let headers = [("mcp-session-id", session.as_str())];
    let call = hub.post(request("tools/call", json!({"name": "s__hang"})), &headers);
    let give_up = async {
        hanging.wait_for(|(begun, _)| *begun == 1).await.unwrap();
        let cancel =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
        assert_eq!(hub.post(cancel, &headers).await.status, 202);
    };
    let (answer, ()) = tokio::join!(call, give_up);
    assert!(text_of(&answer.json()).0);
    let cancelled = hanging.wait_for(|(_, cancelled)| *cancelled == 1);
    tokio::time::timeout(PATIENCE, cancelled).await.expect("the server is told").unwrap();
    hub.metric_becomes(
        "mcp_hub_requests_total",
        &[("method", "tools/call"), ("outcome", "caller_error")],
        1.0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_from_a_file_is_read_again_when_the_file_changes() {
    let server = ScriptedServer::start(TOOL, |seen| json(&id_of(seen), r#"{"content":[]}"#)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "Bearer one\n").unwrap();
    let config = json!({"schema": 1, "servers": [
        {"name": "s", "prefix": "s", "url": server.url,
            "headers": [{"name": "Authorization", "file": file}]}]});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__t"]).await;
    assert_eq!(server.requests("initialize")[0].headers["authorization"], "Bearer one");
    std::fs::write(&file, "Bearer two\n").unwrap();
    eventually("the new token is sent", async || {
        hub.ask("tools/call", json!({"name": "s__t"})).await;
        server
            .requests("tools/call")
            .last()
            .is_some_and(|seen| seen.headers["authorization"] == "Bearer two")
    })
    .await;
}

// Servers of 2025-11-25 may close a stream to save connections. The response comes on the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_early_is_resumed_after_its_last_event() {
    let server = ScriptedServer::start(TOOL, |seen| {
        events(&format!("id: call-{}\nretry: 20\ndata:\n\n", id_of(seen)))
    })
    .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    let answer = hub.ask("tools/call", json!({"name": "s__t"})).await;
    assert_eq!(text_of(&answer.json()), (false, "resumed".into()));
}

// A proxy or a restart breaks streams in the middle of a chunk.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_resumed_after_its_last_event() {
    let server = ScriptedServer::start(TOOL, |seen| {
        let first = Ok(format!("id: call-{}\nretry: 20\ndata:\n\n", id_of(seen)));
        let broken = stream::once(async {
            tokio::task::yield_now().await; // the first event is sent meanwhile
            Err(std::io::Error::other("broken"))
        });
        let body = Body::from_stream(stream::iter([first]).chain(broken));
        ([("content-type", "text/event-stream")], body).into_response()
    })
    .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    let answer = hub.ask("tools/call", json!({"name": "s__t"})).await;
    assert_eq!(text_of(&answer.json()), (false, "resumed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_each_stream_at_once_is_asked_less_and_less_often() {
    let server = ScriptedServer::start(TOOL, |_| events("id: nothing\nretry: 0\ndata:\n\n")).await;
    let mut config = servers(&[("s", &server.url)]);
    config["mcpServers"]["s"]["timeoutMs"] = json!(2000);
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__t"]).await;
    let (is_error, text) = text_of(&hub.ask("tools/call", json!({"name": "s__t"})).await.json());
    assert!(is_error && text.contains("did not answer within 2 s"), "{text}");
    // 0.1 + 0.2 + 0.4 + 0.8 s, and not thousands.
    assert!((1..=5).contains(&server.resumes()), "{}", server.resumes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let other = ScriptedServer::start(TOOL, |seen| json(&id_of(seen), r#"{"content":[]}"#)).await;
    let target = other.url.clone();
    let server = ScriptedServer::start(TOOL, move |_| {
        (StatusCode::TEMPORARY_REDIRECT, [("location", target.clone())]).into_response()
    })
    .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    let (is_error, text) = text_of(&hub.ask("tools/call", json!({"name": "s__t"})).await.json());
    assert!(is_error && text.contains("307"), "{text}");
    assert!(other.requests("tools/call").is_empty());
}

//! Flags that change while a hub runs: in `dataplane.json`, and in the config file of a standalone
//! hub.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::operator::{REVISION, compiled, pod};
use crate::support::{PATIENCE, TestHub, names, request, servers};

type Events = Pin<Box<dyn Stream<Item = String> + Send>>;

/// Writes these flags into the data plane state of a pod.
fn set(mounted: &tempfile::TempDir, generation: u64, flags: &Value) {
    let state = json!({"role": "canary", "weight": 10, "flags": flags});
    let dataplane = json!({"schema": 1, "generation": generation, "revisions": {REVISION: state}});
    std::fs::write(mounted.path().join("new"), dataplane.to_string()).unwrap();
    std::fs::rename(mounted.path().join("new"), mounted.path().join("dataplane.json")).unwrap();
}

/// Opens a session on this path that has received its list.
async fn session(hub: &TestHub, path: &str) -> String {
    let initialize =
        request("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}}));
    let session = hub.post_to(path, initialize, &[]).await.session();
    list(hub, path, &session).await;
    session
}

async fn list(hub: &TestHub, path: &str, session: &str) -> Vec<String> {
    names(
        &hub.post_to(path, request("tools/list", json!({})), &[("mcp-session-id", session)])
            .await
            .json(),
    )
}

/// Opens the stream of a session.
async fn stream(hub: &TestHub, path: &str, session: &str) -> Events {
    let request = hub
        .http
        .get(hub.url(path))
        .header("accept", "text/event-stream")
        .header("mcp-session-id", session);
    let stream = request.send().await.unwrap().bytes_stream();
    let mut stream =
        Box::pin(stream.map(|bytes| String::from_utf8(bytes.unwrap().to_vec()).unwrap()));
    assert_eq!(stream.next().await.as_deref(), Some(":\n\n"));
    stream
}

async fn told(stream: &mut Events) -> String {
    let event = tokio::time::timeout(PATIENCE, stream.next()).await.expect("told in time").unwrap();
    assert!(event.contains("notifications/tools/list_changed"), "{event}");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_flag_notifies_only_sessions_whose_list_changes() {
    let server = Fixture::legacy(&["a", "b"]).await;
    let mut config = compiled(&[("s", &server.url)]);
    config["filtering"] = json!({"views": [{"name": "one", "tools": ["s__a"]}]});
    let (hub, mounted) = pod(config).await;
    hub.list_becomes(&["s__a", "s__b"]).await;
    let (streaming, silent, other) =
        (session(&hub, "/mcp").await, session(&hub, "/mcp").await, "/mcp/v/one");
    let viewing = session(&hub, other).await;
    let mut events = stream(&hub, "/mcp", &streaming).await;
    let mut seen_there = stream(&hub, other, &viewing).await;

    set(&mounted, 4, &json!({"hierarchicalTools": true}));
    told(&mut events).await;
    assert_eq!(list(&hub, "/mcp", &streaming).await, ["s__do"]);
    // A session without a stream is notified with the next answer.
    let call = request("tools/call", json!({"name": "s__a", "arguments": {}}));
    let answer = hub.post(call, &[("mcp-session-id", &silent)]).await;
    assert_eq!(answer.text.matches("list_changed").count(), 1, "{}", answer.text);
    assert_eq!(list(&hub, "/mcp", &silent).await, ["s__do"]);
    let exposed = [("server", "s"), ("state", "exposed")];
    assert_eq!(
        hub.metric("mcp_hub_tools", &exposed).await,
        Some(2.0),
        "both are in the list, as actions"
    );

    set(&mounted, 5, &json!({"hierarchicalTools": false}));
    told(&mut events).await;
    assert_eq!(list(&hub, "/mcp", &streaming).await, ["s__a", "s__b"]);

    // The list of the view has not changed before, so this is its first notification.
    server.set_tools(&["b"]).await;
    let mut heard = told(&mut seen_there).await;
    let ended =
        hub.http.delete(hub.url(other)).header("mcp-session-id", &viewing).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    heard.extend(seen_there.collect::<Vec<_>>().await);
    assert_eq!(heard.matches("list_changed").count(), 1, "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_is_edited_in_the_config_file_notifies_sessions_too() {
    let server = Fixture::legacy(&["a", "b"]).await;
    let mut config = servers(&[("s", &server.url)]);
    let hub = TestHub::start(config.clone()).await;
    hub.list_becomes(&["s__a", "s__b"]).await;
    let session = session(&hub, "/mcp").await;
    let mut events = stream(&hub, "/mcp", &session).await;
    for (on, expected) in [(true, &["s__do"][..]), (false, &["s__a", "s__b"])] {
        config["flags"] = json!({"hierarchicalTools": on});
        hub.write(&config);
        told(&mut events).await;
        assert_eq!(list(&hub, "/mcp", &session).await, expected);
    }
}

// Series by tool must go without a restart, and the series that rollouts are judged by must stay.
#[tokio::test(flavor = "multi_thread")]
async fn durations_by_tool_exist_while_the_flag_is_on() {
    const BY_TOOL: &str = "mcp_hub_tool_call_duration_by_tool_seconds_count";
    const BY_SERVER: &str = "mcp_hub_tool_call_duration_seconds_count";
    let server = Fixture::legacy(&["a", "b"]).await;
    let (hub, mounted) = pod(compiled(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__a", "s__b"]).await;
    let call = async || hub.ask("tools/call", json!({"name": "s__a", "arguments": {}})).await;
    let a = [("server", "s"), ("tool", "s__a")];
    call().await;
    assert_eq!(hub.metric(BY_TOOL, &a).await, Some(1.0));
    assert_eq!(hub.metric(BY_TOOL, &[("tool", "s__b")]).await, None, "nobody has called it");

    set(&mounted, 4, &json!({"performanceMonitoring": false}));
    hub.metric_becomes("mcp_hub_feature_flag", &[("flag", "performanceMonitoring")], 0.0).await;
    call().await;
    assert_eq!(hub.metric(BY_TOOL, &a).await, None);
    assert_eq!(hub.metric(BY_SERVER, &[("server", "s")]).await, Some(2.0));

    set(&mounted, 5, &json!({"performanceMonitoring": true}));
    hub.metric_becomes("mcp_hub_feature_flag", &[("flag", "performanceMonitoring")], 1.0).await;
    call().await;
    assert_eq!(hub.metric(BY_TOOL, &a).await, Some(1.0), "it begins anew");
    server.set_tools(&["b"]).await;
    hub.list_becomes(&["s__b"]).await;
    assert_eq!(hub.metric(BY_TOOL, &a).await, None, "a tool that is gone takes its series along");
}

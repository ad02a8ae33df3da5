//! Reload and drain, and which sessions survive them.

use std::time::Duration;

use serde_json::json;

use crate::fixture::Fixture;
use crate::support::{TestHub, call, eventually, request, servers, text_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_config_is_put_in_force_unless_it_is_invalid() {
    let (a, b) = (Fixture::legacy(&["whoami"]).await, Fixture::legacy(&["echo"]).await);
    let hub = TestHub::start(servers(&[("a", &a.url)])).await;
    hub.list_becomes(&["a__whoami"]).await;
    let client = hub.legacy_client().await;
    let before = call(&client, "a__whoami", json!({})).await;
    hub.write(&servers(&[("a", &a.url), ("b", &b.url)]));
    hub.list_becomes(&["a__whoami", "b__echo"]).await;
    assert_eq!(
        call(&client, "a__whoami", json!({})).await,
        before,
        "a server that did not change keeps its sessions"
    );
    hub.write(&json!({"mcpServers": {"a": {"url": "${NOT_SET_ANYWHERE}"}}}));
    hub.write(&servers(&[("b", &b.url)]));
    hub.list_becomes(&["b__echo"]).await;
    assert_eq!(
        hub.metric("mcp_hub_upstream_up", &[("server", "a")]).await,
        None,
        "series of removed servers go"
    );
    client.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_changed_config_apply_at_once() {
    let server = Fixture::legacy(&["hang"]).await;
    let mut config = servers(&[("s", &server.url)]);
    let hub = TestHub::start(config.clone()).await;
    hub.list_becomes(&["s__hang"]).await;
    let mut hanging = server.shared.hanging.subscribe();
    let changed = async {
        hanging.wait_for(|(begun, _)| *begun == 1).await.unwrap();
        config["limits"] = json!({"maxConcurrent": 1});
        hub.write(&config);
        eventually("there is one place", async || {
            hub.ask("tools/list", json!({})).await.status == 503
        })
        .await;
        config["limits"] = json!({"maxConcurrent": 2, "maxRequestBytes": 100});
        hub.write(&config);
        eventually("there are two", async || hub.ask("tools/list", json!({})).await.status == 200)
            .await;
        assert_eq!(hub.post(" ".repeat(101), &[]).await.status, 413);
    };
    tokio::select! {
        () = changed => {}
        _ = hub.ask("tools/call", json!({"name": "s__hang"})) => panic!("hang does not end"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_pod_stays_ready_serves_its_sessions_and_stops_when_they_have_ended() {
    let server = Fixture::legacy(&["echo"]).await;
    let config = json!({"schema": 1, "servers": [{"name": "s", "prefix": "s", "url": server.url}]});
    let hub = TestHub::start_with(config, |args| args.hub = Some("demo".into())).await;
    hub.list_becomes(&["s__echo"]).await;
    let session = hub.session().await;
    let headers = [("mcp-session-id", session.as_str())];
    let drained = hub.http.post(hub.admin_url("/drain")).send().await.unwrap();
    assert_eq!(
        (drained.status().as_u16(), drained.text().await.unwrap().as_str()),
        (202, r#"{"left":1}"#)
    );
    // Kubernetes sends a terminating pod no new traffic. If it were also not ready, it would no
    // longer be "serving", and routers would treat its sessions as lost.
    assert_eq!(hub.get(hub.url("/ready")).await.status, 200);
    assert_eq!(hub.get(hub.url("/api/health")).await.json()["state"], "draining");
    assert_eq!(hub.get(hub.url("/health")).await.status, 200);
    let called = hub.post(request("tools/call", json!({"name": "s__echo"})), &headers).await;
    assert!(!text_of(&called.json()).0);

    let url = hub.url("/mcp");
    let http = hub.http.clone();
    let stopping = tokio::spawn(hub.serving.stop());
    let ping = || {
        http.post(&url)
            .header("content-type", "application/json")
            .header("mcp-session-id", &session)
            .body(request("ping", json!({})))
            .send()
    };
    for _ in 0..5 {
        assert_eq!(ping().await.unwrap().status(), 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!stopping.is_finished());
    http.delete(&url).header("mcp-session-id", &session).send().await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), stopping)
        .await
        .expect("stopped in time")
        .unwrap()
        .unwrap();
    assert!(ping().await.is_err());
}

// Routers notice late that a pod is terminating. If it closed its connections at once, their
// requests would fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_sessions_drains_until_routers_have_noticed() {
    let hub = TestHub::start_with(json!({"schema": 1, "servers": []}), |args| {
        args.hub = Some("demo".into());
    })
    .await;
    let drain = || async {
        hub.http.post(hub.admin_url("/drain")).send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(drain().await, r#"{"left":1}"#);
    eventually("nothing is left", async || drain().await == r#"{"left":0}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_hub_stops_without_draining_but_lets_calls_in_flight_finish() {
    let server =
        crate::scripted_server::ScriptedServer::start(r#"{"name":"t","inputSchema":{}}"#, |seen| {
            // the work of a call, in a separate server
            std::thread::sleep(Duration::from_millis(500));
            crate::scripted_server::json(
                &crate::scripted_server::id_of(seen),
                r#"{"content":[{"type":"text","text":"done"}]}"#,
            )
        })
        .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__t"]).await;
    let _session = hub.session().await;
    let post = hub.http.post(hub.url("/mcp")).header("content-type", "application/json");
    let calling = tokio::spawn(post.body(request("tools/call", json!({"name": "s__t"}))).send());
    eventually("the call is under way", async || !server.requests("tools/call").is_empty()).await;
    tokio::time::timeout(Duration::from_secs(5), hub.serving.stop())
        .await
        .expect("stopped in time")
        .unwrap();
    assert_eq!(calling.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_table_is_bounded() {
    let mut config = servers(&[]);
    config["sessions"] = json!({"max": 2});
    let hub = TestHub::start(config).await;
    let first = hub.session().await;
    let (_second, _third) = (hub.session().await, hub.session().await);
    assert_eq!(hub.metric("mcp_hub_sessions", &[]).await, Some(2.0));
    assert_eq!(
        hub.post(request("ping", json!({})), &[("mcp-session-id", &first)]).await.status,
        404
    );
}

// A pod does not take over the sessions of other pods yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_pod_is_unknown() {
    let (one, other) = (TestHub::start(servers(&[])).await, TestHub::start(servers(&[])).await);
    let session = one.session().await;
    assert_eq!(
        other.post(request("ping", json!({})), &[("mcp-session-id", &session)]).await.status,
        404
    );
}

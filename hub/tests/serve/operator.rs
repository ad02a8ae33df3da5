//! What the operator and Prometheus see: self-check, flags, metrics.

use mcphub_hub_routing::session_id;
use mcphub_hub_wire::admin::SelfCheck;
use mcphub_hub_wire::keys::MasterKey;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::{TestHub, eventually, servers};

pub const REVISION: &str = "0a1b2c3d";

fn dataplane(generation: u64, flag: bool) -> String {
    json!({"schema": 1, "generation": generation,
        "revisions": {REVISION: {"role": "canary", "weight": 10,
            "flags": {"autoCorrection": flag}}}})
    .to_string()
}

/// A pod as the operator creates it: keys, data plane state and config are mounted.
pub async fn pod(config: Value) -> (TestHub, tempfile::TempDir) {
    let mounted = tempfile::tempdir().unwrap();
    let ring = MasterKey::new([9; 32]).ring("uid", 1);
    std::fs::write(mounted.path().join("keys.json"), serde_json::to_vec(&ring).unwrap()).unwrap();
    std::fs::write(mounted.path().join("dataplane.json"), dataplane(3, true)).unwrap();
    let hub = TestHub::start_with(config, |args| {
        args.hub = Some("demo".into());
        args.namespace = Some("default".into());
        args.revision = Some(REVISION.parse().unwrap());
        args.pod = Some("demo-r-0a1b2c3d-x".into());
        args.keys = Some(mounted.path().into());
        args.runtime = Some(mounted.path().into());
    })
    .await;
    (hub, mounted)
}

pub async fn self_check(hub: &TestHub) -> SelfCheck {
    let token = MasterKey::new([9; 32]).ring("uid", 1).current().admin_token();
    let answer =
        hub.http.get(hub.admin_url("/self-check")).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

pub fn compiled(servers: &[(&str, &str)]) -> Value {
    let servers: Vec<Value> = servers
        .iter()
        .map(|(name, url)| json!({"name": name, "prefix": name, "url": url}))
        .collect();
    json!({"schema": 1, "servers": servers, "startupTimeoutMs": 500,
        "flags": {"autoCorrection": false, "enhancedErrorMessages": true}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_self_check_passes_reports_every_server_and_is_not_counted() {
    let server = Fixture::legacy(&["echo", "b", "c"]).await;
    let (hub, _mounted) =
        pod(compiled(&[("good", &server.url), ("dead", "http://127.0.0.1:1/mcp")])).await;
    eventually("ready", async || hub.get(hub.url("/ready")).await.status == 200).await;
    let check = self_check(&hub).await;
    assert!(check.passed, "{check:?}");
    let names: Vec<&str> = check.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "listening",
            "generation",
            "initialize",
            "discover",
            "tools/list",
            "filtering",
            "selection"
        ]
    );
    let [good, dead] = check.servers.as_slice() else { panic!("two servers") };
    assert_eq!((good.connected, good.tools, good.message.as_str()), (true, 3, ""));
    assert!(!dead.connected && dead.message.contains("cannot be reached"), "{dead:?}");
    assert_eq!(check.visible_tools, Some(3));
    for method in ["initialize", "server/discover", "tools/list"] {
        assert_eq!(
            hub.metric("mcp_hub_requests_total", &[("method", method), ("outcome", "ok")]).await,
            Some(0.0),
            "{method}"
        );
    }
    assert_eq!(hub.metric("mcp_hub_sessions", &[]).await, Some(0.0));
    assert_eq!(hub.get(hub.admin_url("/self-check")).await.status, 401);
}

// Everything is hidden, and nobody says why.
#[tokio::test(flavor = "multi_thread")]
async fn the_self_check_counts_what_clients_see_and_names_filters_that_fit_no_tool() {
    let server = Fixture::legacy(&["echo", "b", "c"]).await;
    let mut config = compiled(&[("a", &server.url)]);
    config["filtering"] = json!({"mode": "Static", "staticTools": ["echo"]});
    config["servers"][0]["tools"] = json!({"deny": ["a__b"]});
    let (hub, _mounted) = pod(config).await;
    eventually("ready", async || hub.get(hub.url("/ready")).await.status == 200).await;
    let check = self_check(&hub).await;
    assert_eq!((check.servers[0].tools, check.visible_tools), (3, Some(0)));
    assert_eq!(
        check.warnings,
        [
            "filtering.static.tools: \"echo\" matches no tool; did you mean \"a__echo\"?",
            "servers[a].tools.deny: \"a__b\" matches no tool of the server; did you mean \"b\"?",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_the_data_plane_override_the_config_and_change_without_a_restart() {
    let (hub, mounted) = pod(compiled(&[])).await;
    let flag = async |flag: &str| hub.metric("mcp_hub_feature_flag", &[("flag", flag)]).await;
    assert_eq!(flag("autoCorrection").await, Some(1.0));
    assert_eq!(flag("enhancedErrorMessages").await, Some(1.0));
    assert_eq!(flag("hierarchicalTools").await, Some(0.0));
    assert_eq!(hub.metric("mcp_hub_config_generation", &[]).await, Some(3.0));
    std::fs::write(mounted.path().join("new"), dataplane(4, false)).unwrap();
    std::fs::rename(mounted.path().join("new"), mounted.path().join("dataplane.json")).unwrap();
    hub.metric_becomes("mcp_hub_feature_flag", &[("flag", "autoCorrection")], 0.0).await;
    assert_eq!(hub.metric("mcp_hub_config_generation", &[]).await, Some(4.0));
    assert!(!hub.serving.hub.flag("autoCorrection"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_id_names_its_revision_and_pod() {
    let (hub, _mounted) = pod(compiled(&[])).await;
    let claims =
        session_id::open(&MasterKey::new([9; 32]).ring("uid", 1), &hub.session().await).unwrap();
    assert_eq!(claims.revision.unwrap().as_str(), REVISION);
    assert_eq!(
        (claims.pod.as_str(), claims.protocol_version.as_str()),
        ("demo-r-0a1b2c3d-x", "2025-11-25")
    );
    assert_eq!(claims.client_info.unwrap().get(), r#"{"name":"t","version":"1"}"#);
}

// A rule over a missing series has no data, so a canary without errors would be on hold forever.
#[tokio::test(flavor = "multi_thread")]
async fn every_bounded_series_starts_at_zero_with_the_labels_of_the_pod() {
    let server = Fixture::legacy(&["echo"]).await;
    let (hub, _mounted) = pod(compiled(&[("s", &server.url)])).await;
    let labels = [("namespace", "default"), ("hub", "demo"), ("revision", REVISION)];
    assert_eq!(hub.metric("mcp_hub_info", &labels).await, Some(1.0));
    for outcome in ["ok", "caller_error", "tool_error", "upstream_error", "hub_error"] {
        for method in ["initialize", "ping", "server/discover", "tools/list", "tools/call", "other"]
        {
            let found = hub
                .metric(
                    "mcp_hub_requests_total",
                    &[("method", method), ("outcome", outcome), labels[2]],
                )
                .await;
            assert_eq!(found, Some(0.0), "{method} {outcome}");
        }
        assert_eq!(
            hub.metric("mcp_hub_tool_calls_total", &[("server", "s"), ("outcome", outcome)]).await,
            Some(0.0)
        );
        hub.metric_becomes(
            "mcp_hub_tool_calls_total",
            &[("tool", "s__echo"), ("outcome", outcome)],
            0.0,
        )
        .await;
    }
    assert_eq!(
        hub.metric("mcp_hub_request_duration_seconds_count", &[("method", "tools/call")]).await,
        Some(0.0)
    );
    assert_eq!(
        hub.metric("mcp_hub_overhead_seconds_count", &[("method", "tools/call")]).await,
        Some(0.0)
    );
    assert_eq!(
        hub.metric("mcp_hub_tool_call_duration_seconds_count", &[("server", "s")]).await,
        Some(0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_outcome() {
    let server = Fixture::legacy(&["echo", "explode", "fail", "refuse"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__echo", "s__explode", "s__fail", "s__refuse"]).await;
    for tool in ["s__echo", "s__explode", "s__fail", "s__refuse", "s__unknown"] {
        hub.ask("tools/call", json!({"name": tool})).await;
    }
    let requests = async |outcome: &str| {
        hub.metric("mcp_hub_requests_total", &[("method", "tools/call"), ("outcome", outcome)])
            .await
    };
    assert_eq!(requests("ok").await, Some(1.0));
    assert_eq!(requests("tool_error").await, Some(2.0), "explode and fail");
    assert_eq!(requests("caller_error").await, Some(2.0), "refuse and unknown");
    let calls = async |tool: &str, outcome: &str| {
        hub.metric("mcp_hub_tool_calls_total", &[("tool", tool), ("outcome", outcome)]).await
    };
    assert_eq!(calls("s__fail", "tool_error").await, Some(1.0));
    assert_eq!(calls("s__refuse", "caller_error").await, Some(1.0));
    hub.post("{", &[]).await;
    hub.ask("no/such/method", json!({})).await;
    assert_eq!(
        hub.metric("mcp_hub_requests_total", &[("method", "other"), ("outcome", "caller_error")])
            .await,
        Some(2.0)
    );
    hub.metric_becomes("mcp_hub_tools", &[("server", "s"), ("state", "exposed")], 4.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_tool_answers_byte_for_byte_like_an_unknown_tool() {
    let server = Fixture::legacy(&["deny1", "echo", "hide2"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["mcpServers"]["s"]["tools"] =
        json!({"deny": ["deny*"], "rename": {"echo": "say"}, "describe": {"echo": "Says it."}});
    config["filtering"] = json!({"mode": "Static", "staticTools": ["*say"]});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__say"]).await;
    let ask = async |name: &str| {
        let answer = hub.ask("tools/call", json!({"name": name})).await;
        (answer.status, answer.text.replace(name, "NAME"))
    };
    let never = ask("s__never").await;
    assert_eq!(
        never.1,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: NAME"}}"#
    );
    for denied in ["s__deny1", "s__hide2", "s__echo", "deny1", "hide2"] {
        assert_eq!(ask(denied).await, never, "{denied}");
    }
    let listed = hub.ask("tools/list", json!({})).await.json();
    assert_eq!(listed["result"]["tools"][0]["description"], "Says it.");
    assert!(ask("s__say").await.1.contains(r#"\"tool\":\"echo\""#));
    assert!(
        ask("say").await.1.contains(r#"\"tool\":\"echo\""#),
        "a bare name that is unique resolves"
    );
}

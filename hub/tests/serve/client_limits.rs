//! Tools that big vendors refuse are named in metrics, REST, the self-check and `check`.

use std::process::{Command, Output};

use serde_json::json;

use crate::operator::{compiled, pod, self_check};
use crate::scripted_server::{ScriptedServer, id_of, json as answered};
use crate::support::{TestHub, eventually, servers};

const TOOLS: &str = r#"{"name":"good","inputSchema":{"type":"object"}},
    {"name":"composed","inputSchema":{"type":"object","oneOf":[{"required":["a"]}]}},
    {"name":"numbers","inputSchema":{"type":"object","properties":{"a":{"enum":[1,2]}}}}"#;

async fn server() -> ScriptedServer {
    ScriptedServer::start(TOOLS, |seen| answered(&id_of(seen), r#"{"content":[]}"#)).await
}

async fn refused(hub: &TestHub, vendor: &str) -> Option<f64> {
    hub.metric("mcp_hub_vendor_breaches", &[("server", "s"), ("vendor", vendor)]).await
}

// One such tool fails every request that lists it, in a client whose error does not name it.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_vendors_refuse_is_named_in_metrics_rest_and_self_check() {
    let server = server().await;
    let (hub, _mounted) = pod(compiled(&[("s", &server.url)])).await;
    hub.metric_becomes("mcp_hub_vendor_breaches", &[("server", "s"), ("vendor", "gemini")], 2.0)
        .await;
    assert_eq!(
        (refused(&hub, "openai").await, refused(&hub, "anthropic").await),
        (Some(1.0), Some(1.0))
    );
    let state = &hub.get(hub.url("/api/servers")).await.json()["servers"][0];
    assert_eq!(
        state["vendorBreaches"],
        json!([
            {"tool": "s__composed", "reason": "OpenAI, Anthropic and Gemini refuse anyOf, oneOf, \
                                               allOf, enum and not at the root; put them into a \
                                               property"},
            {"tool": "s__numbers", "reason": "Gemini refuses an enum of anything but non-empty \
                                              strings (at /properties/a)"},
        ])
    );
    let check = self_check(&hub).await;
    let [state] = check.servers.as_slice() else { panic!("one server") };
    assert!(check.passed && state.connected, "it is served all the same: {check:?}");
    assert!(
        state.message.starts_with("2 of 3 tools are refused by OpenAI, Anthropic, Gemini"),
        "{}",
        state.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_tool_is_not_reported_as_refused() {
    let server = server().await;
    let mut config = servers(&[("s", &server.url)]);
    let hub = TestHub::start(config.clone()).await;
    hub.metric_becomes("mcp_hub_vendor_breaches", &[("server", "s"), ("vendor", "gemini")], 2.0)
        .await;
    config["filtering"] = json!({"mode": "Static", "staticTools": ["*__numbers"]});
    hub.write(&config);
    hub.metric_becomes("mcp_hub_vendor_breaches", &[("server", "s"), ("vendor", "openai")], 0.0)
        .await;
    assert_eq!(refused(&hub, "gemini").await, Some(1.0));
    let text = hub.get(hub.url("/api/servers")).await.text;
    assert!(text.contains("s__numbers") && !text.contains("composed"), "{text}");
    config["mcpServers"] = json!({});
    config["filtering"] = json!({});
    hub.write(&config);
    eventually("a server that is gone has no series", async || {
        refused(&hub, "gemini").await.is_none()
    })
    .await;
}

async fn check(arguments: Vec<std::ffi::OsString>) -> (bool, String) {
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_mcp-hub")).arg("check").args(arguments).output().unwrap()
    };
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.unwrap();
    let log = String::from_utf8(stderr).unwrap();
    let problems = log.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>().join("\n");
    (status.success(), String::from_utf8(stdout).unwrap() + &problems)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_tools_that_vendors_refuse_with_connect_and_with_catalog() {
    let server = server().await;
    let dir = tempfile::tempdir().unwrap();
    let (config, tools) = (dir.path().join("hub.json"), dir.path().join("tools.json"));
    std::fs::write(&config, servers(&[("s", &server.url)]).to_string()).unwrap();
    std::fs::write(&tools, format!(r#"{{"s":{{"tools":[{TOOLS}]}}}}"#)).unwrap();
    let named = "servers.s: s__numbers: Gemini refuses an enum of anything but non-empty strings \
                 (at /properties/a)\n";
    let asked = check(vec![(&config).into(), "--connect".into()]).await;
    let given = check(vec![(&config).into(), "--catalog".into(), (&tools).into()]).await;
    for (good, text) in [asked, given] {
        assert!(
            good && text.contains("hub.json: good, 1 server\n") && text.contains(named),
            "{text}"
        );
        assert!(text.contains("s__composed") && !text.contains("s__good"), "{text}");
    }
    let (good, text) = check(vec![(&config).into()]).await;
    assert!(good && !text.contains("s__"), "without being told to it asks nobody: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_servers_that_did_not_list_their_tools() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("hub.json");
    let mut text = servers(&[("gone", "http://127.0.0.1:1/mcp")]);
    text["startupTimeoutMs"] = json!(500);
    std::fs::write(&config, text.to_string()).unwrap();
    let (good, text) = check(vec![(&config).into(), "--connect".into()]).await;
    assert!(!good && text.ends_with("these servers did not list their tools: gone"), "{text}");
}

//! Stdio servers as children of the hub.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{HubProcess, exists, stdio_server, until};

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut server = stdio_server();
    change(&mut server);
    json!({"mcpServers": {"s": server}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_its_variables_and_folder_and_is_gone_after_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "FROM_FILE=file\nBOTH=file\n").unwrap();
    let mut hub = HubProcess::start(&with(|server| {
        server["env"] = json!({"FROM_ENV": "env", "BOTH": "env"});
        server["envFile"] = json!(dir.path().join(".env"));
        server["cwd"] = json!(dir.path());
    }));
    let mut variables = Vec::new();
    for name in ["FROM_ENV", "FROM_FILE", "BOTH"] {
        variables.push(hub.text(None, "s__env", json!({"name": name})).await);
    }
    assert_eq!(variables, ["env", "file", "env"]);
    let cwd = hub.text(None, "s__cwd", json!({})).await;
    assert_eq!(cwd, dir.path().canonicalize().unwrap().display().to_string());
    // The log of a server is in that of the hub, with the name of the server.
    let named = |line: Value| line["message"] == "the server starts" && line["server"] == "s";
    until("the log of the server", || {
        hub.log().lines().filter_map(|line| serde_json::from_str(line).ok()).any(named)
    })
    .await;
    let pid = hub.pid(None, "s").await;
    hub.stop(Signal::SIGTERM).await;
    assert!(!exists(pid), "the hub waits for its servers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_hub_leaves_no_server_and_none_of_their_children() {
    let mut hub = HubProcess::start(&with(|server| server["env"] = json!({"STUBBORN": "1"})));
    let pid = hub.pid(None, "s").await;
    let child: i32 = hub.text(None, "s__fork", json!({})).await.parse().unwrap();
    hub.stop(Signal::SIGKILL).await;
    until("the server is gone", || !exists(pid)).await;
    until("its child is gone", || !exists(child)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_started_again_and_its_tools_stay() {
    let hub = HubProcess::start(&with(|_| {}));
    let session = hub.session().await;
    let first = hub.pid(Some(&session), "s").await;
    let response = hub.call(Some(&session), "s__exit", json!({})).await;
    assert!(response["error"].is_object() || response["result"]["isError"] == true, "{response}");
    let second = hub.pid(Some(&session), "s").await;
    assert_ne!(first, second);
    assert!(!exists(first), "no zombie");
    assert!(hub.tools().await.contains(&"s__pid".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_ending_is_not_started_all_the_time() {
    let good = stdio_server();
    let mut broken = stdio_server();
    broken["env"] = json!({"BROKEN": "1"});
    let hub = HubProcess::start(&json!({"mcpServers": {"good": good, "broken": broken}}));
    // The other server does not suffer.
    hub.pid(None, "good").await;
    hub.logged("keeps ending soon after its start").await;
    assert!(hub.log().matches("the server starts").count() < 10, "{}", hub.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_exist_is_named() {
    let hub = HubProcess::start(&json!({"mcpServers": {"s": {"command": "no-such-program"}}}));
    hub.logged("no-such-program: No such file or directory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_is_stopped_and_the_next_call_starts_it() {
    let hub = HubProcess::start(&with(|server| server["idleTimeout"] = json!("300ms")));
    let first = hub.pid(None, "s").await;
    until("the server is stopped", || !exists(first)).await;
    assert!(hub.tools().await.contains(&"s__pid".to_owned()), "its tools stay listed");
    assert_ne!(hub.pid(None, "s").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn isolation_decides_who_shares_a_process() {
    let isolated = |isolation: &str| {
        let mut server = stdio_server();
        server["isolation"] = json!(isolation);
        server
    };
    let hub = HubProcess::start(&json!({"mcpServers": {
        "each": isolated("PerSession"), "all": isolated("Shared")}}));
    let (a, b) = (hub.session().await, hub.session().await);
    let (of_a, of_b) = (hub.pid(Some(&a), "each").await, hub.pid(Some(&b), "each").await);
    assert_ne!(of_a, of_b);
    assert_eq!(hub.pid(Some(&a), "each").await, of_a);
    assert_eq!(hub.pid(Some(&a), "all").await, hub.pid(Some(&b), "all").await);
    let ended = hub.http.delete(format!("{}/mcp", hub.url)).header("mcp-session-id", &a);
    ended.send().await.unwrap();
    until("the process of the ended session is gone", || !exists(of_a)).await;
    assert!(exists(of_b));
}

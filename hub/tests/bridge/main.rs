//! The bridge as it runs in the container of a server: the real binary and real processes.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod odd_json;
mod stdio_server;
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};
use support::{Bridge, PATIENCE, call, exists, mcp_hub, until};

#[test]
#[ignore = "no test: the server behind the bridge in the tests"]
fn stdio_server() {
    stdio_server::serve();
}

#[test]
#[ignore = "no test: the server behind the bridge in the tests of odd JSON"]
fn raw_server() {
    odd_json::serve_raw();
}

#[tokio::test]
async fn a_client_of_the_official_sdk_initializes_lists_and_calls() {
    let bridge = Bridge::start(&[]);
    let transport = StreamableHttpClientTransport::from_uri(format!("{}/mcp", bridge.url));
    let client = ().serve(transport).await.unwrap();
    assert_eq!(client.peer_info().unwrap().server_info.as_ref().unwrap().name, "stdio-server");
    assert!(client.list_all_tools().await.unwrap().is_empty());
    let mut params = CallToolRequestParams::new("echo");
    params.arguments = json!({"a": 1}).as_object().cloned();
    let result = serde_json::to_value(client.call_tool(params).await.unwrap()).unwrap();
    assert_eq!(result["content"][0]["text"], r#"{"a":1}"#);
    client.cancel().await.unwrap();
    bridge.logged("stdin closed").await;
}

#[tokio::test]
async fn each_session_has_its_own_server_and_delete_stops_it() {
    let bridge = Bridge::start(&[]);
    let (one, two) = (bridge.initialize().await, bridge.initialize().await);
    assert_eq!(bridge.text(&one, "count", json!({})).await, "1");
    assert_eq!(bridge.text(&one, "count", json!({})).await, "2");
    assert_eq!(bridge.text(&two, "count", json!({})).await, "1");
    let pid = bridge.pid(&one).await;
    assert_eq!(bridge.delete(&one).await, 204);
    until("the server is gone, and no zombie", || !exists(pid)).await;
    assert_eq!(bridge.call(&one, "count", json!({})).await.0, 404);
    assert_eq!(bridge.delete(&one).await, 404);
    assert_eq!(bridge.text(&two, "count", json!({})).await, "2");
}

#[tokio::test]
async fn payloads_pass_unchanged_and_line_ends_between_tokens_are_accepted() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let pretty =
        "{\n \"jsonrpc\": \"2.0\",\r\n \"id\": \"\\u0061\",\n \"method\": \"tools/call\",\n
        \"params\": {\"name\": \"echo\", \"arguments\": {\"text\": \"a\\nb\"}}\n}";
    let request =
        bridge.http.post(format!("{}/mcp", bridge.url)).header("mcp-session-id", &session);
    let answer: Value = request.body(pretty).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["id"], "a");
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"text":"a\nb"}"#);
    let big = bridge.text(&session, "big", json!({"bytes": 20_000_000})).await;
    assert_eq!(big.len(), 20_000_000);
    let long = "y".repeat(5_000_000);
    assert_eq!(bridge.text(&session, "echo", json!(long)).await.len(), 5_000_002);
}

#[tokio::test]
async fn concurrent_calls_get_their_own_responses() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let calls = (0..200).map(|n| {
        let request = bridge.post(Some(&session), &call(n, "echo", json!({"n": n})));
        async move { (n, request.send().await.unwrap().json::<Value>().await.unwrap()) }
    });
    for (n, answer) in futures::future::join_all(calls).await {
        assert_eq!(answer["id"], n);
        assert_eq!(answer["result"]["content"][0]["text"], json!({"n": n}).to_string());
    }
}

#[tokio::test]
async fn when_a_server_dies_its_calls_fail_at_once_and_its_session_gets_404() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let hanging = tokio::spawn(bridge.post(Some(&session), &call(5, "hang", json!({}))).send());
    bridge.logged("hanging on 5").await;
    let pid = bridge.pid(&session).await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let answer: Value = hanging.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["id"], 5);
    assert_eq!(answer["error"]["message"], "the server process has ended: signal SIGKILL");
    assert_eq!(bridge.call(&session, "count", json!({})).await.0, 404);
    assert!(!exists(pid), "the server is a zombie");

    let session = bridge.initialize().await;
    let (status, answer) = bridge.call(&session, "exit", json!({})).await;
    assert_eq!((status, &answer["error"]["data"]["reason"]), (200, &json!("server_ended")));
    assert_eq!(bridge.metric("mcp_bridge_deaths_total").await, 2);
}

// A proxy between hub and bridge closes a connection that is silent for too long.
#[tokio::test]
async fn a_call_that_takes_long_sends_comments_until_its_response_is_there() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let pid = bridge.pid(&session).await;
    let mut response =
        bridge.post(Some(&session), &call(5, "hang", json!({}))).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let first = response.chunk().await.unwrap().expect("the stream goes on");
    assert!(first.starts_with(b":"), "{first:?}");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let rest = response.text().await.unwrap();
    assert!(rest.contains("the server process has ended"), "{rest}");
}

#[tokio::test]
async fn a_server_that_closes_its_stdout_counts_as_dead() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let pid = bridge.pid(&session).await;
    let (_, answer) = bridge.call(&session, "close_stdout", json!({})).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("closed its stdout"), "{message}");
    assert!(!exists(pid));
}

#[tokio::test]
async fn the_child_processes_of_a_server_end_with_it() {
    let bridge = Bridge::start(&[]);
    let (deleted, killed) = (bridge.initialize().await, bridge.initialize().await);
    let mut left = Vec::new();
    for session in [&deleted, &killed] {
        left.push(bridge.text(session, "fork", json!({})).await.parse::<i32>().unwrap());
    }
    let pid = bridge.pid(&killed).await;
    bridge.delete(&deleted).await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    // Their parent here is init, which may reap them late. A zombie counts as ended.
    let runs = |pid: i32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    until("no child of a server runs", || !left.iter().any(|pid| runs(*pid))).await;
}

// In a container the bridge is PID 1, and every orphan becomes its child.
#[tokio::test]
async fn as_pid_1_the_bridge_reaps_orphans() {
    let unshare = ["--pid", "--mount-proc", "--fork", "--kill-child", "--"];
    let possible = Command::new("unshare")
        .args(unshare)
        .arg("true")
        .output()
        .is_ok_and(|o| o.status.success());
    if !possible {
        eprintln!("skipped: cannot create a PID namespace here (unshare --pid needs root)");
        return;
    }
    let bridge =
        Bridge::spawn(Command::new("unshare").args(unshare).arg(mcp_hub()).arg("bridge"), &[]);
    let session = bridge.initialize().await;
    let server = bridge.pid(&session).await;
    assert!(server < 100, "not in its own namespace: pid {server}");
    let orphan = bridge.text(&session, "fork", json!({})).await;
    bridge.delete(&session).await;
    let namespace = children_of(bridge.child.id());
    assert_eq!(namespace.len(), 1, "{namespace:?}");
    until("only the bridge is left", || children_of(namespace[0]).is_empty()).await;
    assert!(!orphan.is_empty());
    // unshare ignores signals and ends only after the bridge.
    kill(Pid::from_raw(i32::try_from(namespace[0]).unwrap()), Signal::SIGTERM).unwrap();
}

/// The child processes of a process, including zombies.
fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| {
            children.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test]
async fn a_session_over_max_processes_gets_503_with_the_reason() {
    let bridge = Bridge::start(&["--max-processes", "2"]);
    let (one, _two) = (bridge.initialize().await, bridge.initialize().await);
    let response = bridge.try_initialize().await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["id"], 0);
    assert!(
        answer["error"]["message"].as_str().unwrap().starts_with("all 2 server processes"),
        "{answer}"
    );
    bridge.delete(&one).await;
    // The permit is released when the process has ended, which takes a moment.
    let released = async { while bridge.try_initialize().await.status() != 200 {} };
    tokio::time::timeout(PATIENCE, released).await.expect("the permit is released");
    assert!(bridge.metric("mcp_bridge_refused_total{reason=\"max_processes\"}").await >= 1);
}

#[tokio::test]
async fn a_call_over_its_timeout_is_an_error_and_the_server_gets_a_cancellation() {
    let bridge = Bridge::start(&["--call-timeout", "300ms"]);
    let session = bridge.initialize().await;
    let (status, answer) = bridge.call(&session, "hang", json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(answer["error"]["data"]["reason"], "timeout");
    assert_eq!(answer["error"]["message"], "the server did not answer within 300ms");
    bridge.logged("cancelled 1").await;
    assert_eq!(bridge.metric("mcp_bridge_call_timeouts_total").await, 1);
    assert_eq!(bridge.text(&session, "count", json!({})).await, "2");
}

#[tokio::test]
async fn an_idle_server_is_stopped_and_the_next_call_starts_it_again_in_the_same_session() {
    let bridge = Bridge::start(&["--idle-timeout", "500ms"]);
    let session = bridge.initialize().await;
    let pid = bridge.pid(&session).await;
    until("the idle server is gone", || !exists(pid)).await;
    // Concurrent calls start only one server.
    let calls = (0..5).map(|n| bridge.post(Some(&session), &call(n, "pid", json!({}))).send());
    let mut pids = Vec::new();
    for answer in futures::future::join_all(calls).await {
        let answer: Value = answer.unwrap().json().await.unwrap();
        pids.push(answer["result"]["content"][0]["text"].clone());
    }
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
    assert_ne!(pids[0], json!(pid.to_string()));
    assert_eq!(bridge.metric("mcp_bridge_starts_total").await, 2);
    assert_eq!(bridge.metric("mcp_bridge_deaths_total").await, 0);
}

// Otherwise the half-started process keeps its permit, and every later call is refused.
#[tokio::test]
async fn a_start_is_completed_although_its_caller_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    std::fs::write(&gate, "").unwrap();
    let bridge = Bridge::spawn(
        Command::new(mcp_hub()).args(["bridge", "--max-processes", "1", "--idle-timeout", "500ms"]),
        &[("GATE", gate.to_str().unwrap())],
    );
    let session = bridge.initialize().await;
    let pid = bridge.pid(&session).await;
    until("the idle server is gone", || !exists(pid)).await;
    std::fs::remove_file(&gate).unwrap();
    let call = bridge.post(Some(&session), &call(7, "pid", json!({}))).send();
    tokio::select! {
        answer = call => panic!("answered before the gate opened: {answer:?}"),
        () = bridge.logged("server waits for its gate") => {}
    }
    std::fs::write(&gate, "").unwrap();
    assert_ne!(bridge.pid(&session).await, pid);
    assert_eq!(bridge.metric("mcp_bridge_starts_total").await, 2);
}

// A hub polls lists every half minute and listens all the time, so its servers would never stop.
#[tokio::test]
async fn lists_pings_and_listeners_neither_keep_a_server_running_nor_start_it() {
    let bridge = Bridge::start(&["--idle-timeout", "500ms"]);
    let session = bridge.initialize().await;
    let listening =
        bridge.http.get(format!("{}/mcp", bridge.url)).header("mcp-session-id", &session);
    let _stream = listening.send().await.unwrap();
    let list = json!(
        {"jsonrpc": "2.0", "id": "l", "method": "tools/list", "params": {"cursor": "changed"}}
    );
    let ping = json!({"jsonrpc": "2.0", "id": 7, "method": "ping"});
    let ask = async |message: &Value| -> Value {
        bridge.post(Some(&session), message).send().await.unwrap().json().await.unwrap()
    };
    let pid = bridge.pid(&session).await;
    let running = ask(&list).await;
    assert_eq!(running["result"]["tools"][0]["name"], "after-1");
    let since = Instant::now();
    while exists(pid) {
        assert!(since.elapsed() < PATIENCE, "lists and pings keep the server running");
        assert_eq!(ask(&list).await, running);
        assert_eq!(ask(&ping).await, json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
    }
    assert_eq!(ask(&list).await, running, "the tools of a stopped server stay listed");
    assert_eq!(ask(&ping).await["result"], json!({}));
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(bridge.post(Some(&session), &initialized).send().await.unwrap().status(), 202);
    assert_eq!(bridge.metric("mcp_bridge_starts_total").await, 1, "the server is still stopped");
    assert_eq!(bridge.text(&session, "count", json!({})).await, "1");
    assert_eq!(bridge.metric("mcp_bridge_starts_total").await, 2);
}

#[tokio::test]
async fn a_changed_list_starts_a_stopped_server() {
    let bridge = Bridge::start(&["--idle-timeout", "500ms"]);
    let session = bridge.initialize().await;
    let listening =
        bridge.http.get(format!("{}/mcp", bridge.url)).header("mcp-session-id", &session);
    let _stream = listening.send().await.unwrap();
    let list =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "changed"}});
    let name = async || {
        let answer: Value =
            bridge.post(Some(&session), &list).send().await.unwrap().json().await.unwrap();
        answer["result"]["tools"][0]["name"].clone()
    };
    let pid = bridge.pid(&session).await;
    assert_eq!(name().await, "after-1");
    assert_eq!(bridge.text(&session, "change", json!({})).await, "changed");
    until("the idle server is gone", || !exists(pid)).await;
    assert_eq!(name().await, "after-0", "the list is from the restarted server");
    assert_eq!(bridge.metric("mcp_bridge_starts_total").await, 2);
}

#[tokio::test]
async fn progress_arrives_on_the_stream_of_its_call_before_the_response() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let mut message = call(1, "progress", json!({}));
    message["params"]["_meta"] = json!({"progressToken": "t"});
    let response = bridge.post(Some(&session), &message).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = messages(&response.text().await.unwrap());
    let steps: Vec<_> = events.iter().map(|event| event["params"]["progress"].clone()).collect();
    assert_eq!(steps, [json!(1), json!(2), json!(3), json!(null)]);
    assert_eq!(events[3]["result"]["content"][0]["text"], "done");
}

#[tokio::test]
async fn a_request_of_the_server_reaches_the_listener_and_the_response_reaches_the_server() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let listening =
        bridge.http.get(format!("{}/mcp", bridge.url)).header("mcp-session-id", &session);
    let mut stream = listening.send().await.unwrap().bytes_stream();
    assert_eq!(bridge.text(&session, "ask", json!({})).await, "asked");
    let event = messages(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    assert_eq!(event, [json!({"jsonrpc": "2.0", "id": "from-server", "method": "roots/list"})]);
    let answer = json!({"jsonrpc": "2.0", "id": "from-server", "result": {"roots": []}});
    assert_eq!(bridge.post(Some(&session), &answer).send().await.unwrap().status(), 202);
    let event = messages(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    assert_eq!(event[0]["params"]["data"], answer);
    bridge.delete(&session).await;
    assert!(stream.next().await.is_none(), "the stream ends with its session");
}

fn messages(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_request_without_a_valid_session_or_from_a_web_page_is_refused() {
    let bridge = Bridge::start(&[]);
    let session = bridge.initialize().await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let status =
        async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(bridge.post(None, &list)).await, 400);
    assert_eq!(status(bridge.post(Some("another"), &list)).await, 404);
    assert_eq!(status(bridge.post(Some(&session), &json!([list]))).await, 400);
    assert_eq!(
        status(bridge.post(Some(&session), &list).header("origin", "http://evil.example")).await,
        403
    );
    assert_eq!(status(bridge.post(Some(&session), &list)).await, 200);
    for path in ["/health", "/ready"] {
        assert_eq!(status(bridge.http.get(format!("{}{path}", bridge.url))).await, 200);
    }
}

#[tokio::test]
async fn after_sigterm_pending_calls_finish_and_no_process_is_left() {
    let mut bridge = Bridge::with_env(&[("STUBBORN", "1"), ("GREETING", "hello")]);
    let session = bridge.initialize().await;
    bridge.logged("GREETING=hello").await;
    let pid = bridge.pid(&session).await;
    let slow = tokio::spawn(bridge.post(Some(&session), &call(9, "slow", json!({}))).send());
    bridge.logged("slow call").await;
    bridge.signal(Signal::SIGTERM);
    let answer: Value = slow.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "slow");
    let since = Instant::now();
    until("the bridge has ended", || bridge.child.try_wait().unwrap().is_some()).await;
    assert!(bridge.child.wait().unwrap().success());
    // The server ignores that its stdin is closed, so it gets SIGTERM after two seconds.
    assert!((Duration::from_secs(2)..PATIENCE).contains(&since.elapsed()), "{:?}", since.elapsed());
    assert!(!exists(pid));
}

// Dashboards and alerts query these names and labels.
#[tokio::test]
async fn a_bridge_that_has_served_nothing_exposes_exactly_these_series_as_0() {
    let bridge = Bridge::start(&[]);
    let text = bridge.metrics().await;
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        series,
        [
            "mcp_bridge_call_timeouts_total 0",
            "mcp_bridge_connections 1", // this one
            "mcp_bridge_connections_limited_total{reason=\"full\"} 0",
            "mcp_bridge_connections_limited_total{reason=\"idle\"} 0",
            "mcp_bridge_connections_limited_total{reason=\"slow_head\"} 0",
            "mcp_bridge_deaths_total 0",
            "mcp_bridge_dropped_total 0",
            "mcp_bridge_idle_stops_total 0",
            "mcp_bridge_refused_total{reason=\"max_calls\"} 0",
            "mcp_bridge_refused_total{reason=\"max_processes\"} 0",
            "mcp_bridge_refused_total{reason=\"max_sessions\"} 0",
            "mcp_bridge_sessions 0",
            "mcp_bridge_starts_total 0",
        ]
    );
}

#[test]
fn a_command_that_does_not_exist_is_reported_at_start() {
    let output = Command::new(mcp_hub())
        .args(["bridge", "--listen", "127.0.0.1:0", "--", "no-such-server"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("no-such-server: no such program in this container"), "{log}");
}

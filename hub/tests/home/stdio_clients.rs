//! Clients that only run commands: `serve --stdio` and `connect`.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};

use crate::support::{ConfigDir, HubProcess, PATIENCE, exists, mcp_hub, stdio_server, until};

fn config() -> Value {
    json!({"mcpServers": {"s": stdio_server()}})
}

async fn client(command: std::process::Command) -> RunningService<RoleClient, ()> {
    let process = TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
    ().serve(process).await.unwrap()
}

async fn pid(client: &RunningService<RoleClient, ()>) -> i32 {
    let since = Instant::now();
    loop {
        // The server may still be starting.
        let result = client.call_tool(CallToolRequestParams::new("s__pid")).await;
        let result = result.map(|result| serde_json::to_value(result).unwrap());
        let text = result.as_ref().ok().and_then(|it| it["content"][0]["text"].as_str());
        if let Some(pid) = text.and_then(|text| text.parse().ok()) {
            return pid;
        }
        assert!(since.elapsed() < PATIENCE, "{result:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_runs_the_hub_as_a_command() {
    let dir = ConfigDir::new(&config());
    let mut command = mcp_hub();
    command.args(["serve", "--stdio", "--config"]).arg(dir.file());
    let client = client(command).await;
    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "s__pid"), "{tools:?}");
    let pid = pid(&client).await;
    client.cancel().await.unwrap();
    until("the server ends with the hub", || !exists(pid)).await;
}

// Clients of the protocol without sessions send no handshake.
#[test]
fn every_protocol_version_passes_on_stdio() {
    let dir = ConfigDir::new(&config());
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    let call = |id: &str, name: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name,
            "arguments": {"a": "b\nc"}, "_meta": meta}})
    };
    let list =
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": meta}});
    let messages = [list, call("x", "s__echo"), call("y", "none__such")];
    let lines: Vec<String> = messages.iter().map(|message| format!("{message}\n")).collect();
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), format!("{}not json\n", lines.concat())).unwrap();
    let mut command = mcp_hub();
    command.args(["serve", "--stdio", "--config"]).arg(dir.file());
    command.stdin(std::fs::File::open(input.path()).unwrap()).stderr(Stdio::null());
    let Output { stdout, status, .. } = command.output().unwrap();
    assert!(status.success());
    let stdout = String::from_utf8(stdout).unwrap();
    let answers: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = |id: Value| {
        let found = answers.iter().find(|answer| answer["id"] == id);
        found.unwrap_or_else(|| panic!("no answer to {id} in {stdout}")).clone()
    };
    assert_eq!(answers.len(), 4, "{stdout}");
    assert!(answer(json!(7))["result"]["tools"].is_array());
    let echoed = answer(json!("x"));
    assert_eq!(echoed["result"]["content"][0]["text"], r#"{"a":"b\nc"}"#, "{echoed}");
    assert_eq!(answer(json!("y"))["error"]["code"], -32602);
    assert_eq!(answer(json!(null))["error"]["code"], -32700);
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_reaches_a_hub_and_goes_on_after_its_restart() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut hub = HubProcess::start_on(&address.to_string(), &config());
    let mut command = mcp_hub();
    command.args(["connect", &format!("{}/mcp", hub.url), "--header", "X-Test: 1"]);
    let client = client(command).await;
    let first = pid(&client).await;
    // The new hub does not know the session, and the client does not notice.
    hub.stop(Signal::SIGTERM).await;
    let _hub = HubProcess::start_on(&address.to_string(), &config());
    assert_ne!(pid(&client).await, first);
    client.cancel().await.unwrap();
}

#[test]
fn connect_says_what_is_wrong_with_its_arguments() {
    for (arguments, expected) in [
        (&["connect", "localhost:7000"][..], "not an http or https URL"),
        (&["connect", "http://h/mcp", "-H", "Bearer x"], "--header has no colon"),
        (&["connect", "http://h/mcp", "-H", "A: ${NOT_SET_ANYWHERE}"], "is not set"),
    ] {
        let Output { status, stderr, .. } = mcp_hub().args(arguments).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(!status.success() && stderr.contains(expected), "{stderr}");
    }
}

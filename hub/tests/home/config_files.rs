//! Where config files are found, and what is said about them.

use std::process::Output;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use serde_json::json;

use crate::support::{ConfigDir, mcp_hub, stdio_server};

fn output(command: &mut std::process::Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (status.success(), text)
}

#[test]
fn check_prints_what_it_understands_and_no_secret() {
    let dir = ConfigDir::new(&json!({"theme": "dark", "mcpServers": {
        "files": {"command": "npx", "args": ["-y", "s3cret"], "env": {"K": "s3cret"},
            "autoApprove": ["read"], "disabledTools": ["write"]},
        "web": {"serverUrl": "https://web.example/s3cret/mcp", "headers": {"A": "s3cret"}}}}));
    let (good, text) = output(mcp_hub().arg("check").arg(dir.file()));
    assert!(good, "{text}");
    assert!(text.contains("hub.json: good, 2 servers\n"), "{text}");
    for expected in [
        "files   files   stdio        npx (2 arguments)    60s",
        "without write",
        "web     web     http or sse  https://web.example  60s",
        "warning: mcpServers.files.autoApprove: is for the client and not for the hub",
        "warning: theme: has no effect on mcp-hub",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn without_config_the_first_file_with_servers_is_taken_and_named() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    let check = || {
        let mut command = mcp_hub();
        command.arg("check").current_dir(project.path()).env("HOME", home.path());
        output(&mut command)
    };
    let (good, text) = check();
    assert!(!good && text.contains("no file with MCP servers in"), "{text}");
    let write = |path: &std::path::Path, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    // Client settings without servers are no config.
    write(&home.path().join(".claude.json"), r#"{"numStartups": 3}"#);
    write(&home.path().join(".cursor/mcp.json"), r#"{"mcpServers": {"c": {"url": "http://c"}}}"#);
    let (good, text) = check();
    assert!(good && text.contains(".cursor/mcp.json: good, 1 server"), "{text}");
    write(&project.path().join(".vscode/mcp.json"), r#"{"servers": {"v": {"command": "v"}}}"#);
    let (good, text) = check();
    assert!(good && text.contains(".vscode/mcp.json: good, 1 server"), "{text}");
    assert!(text.contains("not used; add it with --config"), "{text}");
}

// Otherwise it would list its own tools again and again.
#[test]
fn a_hub_does_not_connect_to_itself() {
    let dir = ConfigDir::new(&json!({"mcpServers": {
        "web": {"url": "http://localhost:7000/mcp"},
        "command": {"command": "mcp-hub", "args": ["connect", "http://127.0.0.1:7000/mcp"]},
        "stdio": {"command": "/usr/bin/mcp-hub", "args": ["serve", "--stdio"]},
        "other": {"url": "http://localhost:7002/mcp"}}}));
    let (good, text) = output(mcp_hub().arg("check").arg(dir.file()));
    assert!(good && text.matches("disabled").count() == 3, "{text}");
    assert!(text.contains("warning: web: is this hub itself, so it is left out"), "{text}");
}

#[test]
fn several_files_are_merged() {
    let user = ConfigDir::new(&json!({"mcpServers": {"a": {"url": "http://a"}}}));
    let project = ConfigDir::new(&json!({"servers": {"b": {"command": "b"}}}));
    let (good, text) = output(mcp_hub().arg("check").args([user.file(), project.file()]));
    assert!(good && text.contains("good, 2 servers"), "{text}");
}

// A refused key would only show as worse results.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_of_the_language_model_is_an_error_of_check_connect() {
    let provider = Router::new().fallback(any(async || StatusCode::FORBIDDEN));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, provider).await });
    let llm = json!({"provider": "OpenAICompatible", "model": "m", "baseUrl": url,
        "apiKey": {"value": "s3cret"}, "timeout": "5s"});
    let dir = ConfigDir::new(&json!({"mcpServers": {"s": stdio_server()},
        "filtering": {"selector": {"backend": "Llm"}, "llm": llm}}));
    let file = dir.file();
    let check = move || output(mcp_hub().args(["check", "--connect"]).arg(file));
    let (good, text) = tokio::task::spawn_blocking(check).await.unwrap();
    assert!(!good && text.contains("the provider rejected the key of filtering.llm"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

//! The binary itself.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::Fixture;
use crate::support::{PATIENCE, http, servers};

fn hub() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hub"));
    command.env_remove("RUST_LOG").env("MY_TOKEN", "s3cret-value");
    command
}

fn check(content: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hub.json");
    std::fs::write(&file, content).unwrap();
    let Output { status, stdout, stderr } = hub().arg("check").arg(&file).output().unwrap();
    (
        status.success(),
        format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)),
    )
}

#[test]
fn check_says_where_the_error_is_and_what_to_write_and_exits_with_a_code() {
    let (good, text) = check(
        r#"{"mcpServers":{"a":{"url":"https://a.example/mcp","headers":{"X":"${MY_TOKEN}"}}}}"#,
    );
    assert!(good && text.contains("hub.json: good, 1 server\n"), "{text}");
    let (good, text) = check(
        r#"{"mcpServers":{"a":{"ulr":"http://a"},"b":{"url":"https://b","headers":{"X":"${NOT_SET_ANYWHERE}"}}}}"#,
    );
    assert!(!good);
    // Lines for people and their editors, also in a pipeline: no timestamps and no JSON.
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with("hub.json: 3 problems") && lines.len() == 4, "{text}");
    assert!(lines[1].starts_with("mcpServers.a.ulr: is unknown"), "{text}");
    assert!(
        lines[3].starts_with("mcpServers.b.headers.X: ${NOT_SET_ANYWHERE} is not set"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_answers_logs_no_secret_and_stops_on_sigterm() {
    let server = Fixture::legacy(&["echo"]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = servers(&[("s", &server.url)]);
    config["mcpServers"]["s"]["headers"] =
        serde_json::json!({"Authorization": "Bearer ${MY_TOKEN}"});
    std::fs::write(dir.path().join("hub.json"), config.to_string()).unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let child = hub()
        .args([
            "serve",
            "--admin-listen",
            "127.0.0.1:0",
            "--listen",
            &address.to_string(),
            "--config",
        ])
        .arg(dir.path().join("hub.json"))
        .env("RUST_LOG", "trace")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let http = http();
    let until = Instant::now() + PATIENCE;
    while !http
        .get(format!("http://{address}/ready"))
        .send()
        .await
        .is_ok_and(|answer| answer.status() == 200)
    {
        assert!(Instant::now() < until, "not ready in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let post =
        http.post(format!("http://{address}/mcp")).header("content-type", "application/json");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"s__echo","arguments":{"x":"payload-1"}}}"#;
    let answer = post.body(call).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("payload-1"), "{answer}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let Output { status, stderr, .. } =
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let log = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{log}");
    assert!(
        log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "not JSON: {log}"
    );
    for secret in ["s3cret-value", "payload-1"] {
        let line = log.lines().find(|line| line.contains(secret) && line.contains("mcphub"));
        assert_eq!(line, None, "secrets and payloads are no log lines");
    }
}

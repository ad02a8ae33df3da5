//! A stdio MCP server for tests, with the bad habits of real ones. See `call` for its tools.
//!
//! The server is the test binary itself, started as
//! `BINARY --ignored --exact stdio_server --nocapture`. The output of the test harness on stdout is
//! one of the bad habits.

#![allow(clippy::print_stdout, reason = "a stdio server writes to stdout")]

use std::io::{BufRead as _, Write as _};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

/// Waits until the file that `GATE` names exists.
fn wait_for_gate() {
    let Ok(gate) = std::env::var("GATE") else { return };
    if !std::fs::exists(&gate).unwrap() {
        eprintln!("server waits for its gate");
    }
    while !std::fs::exists(&gate).unwrap() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Serves until stdin is closed.
pub fn serve() {
    eprintln!("server starts with GREETING={}", std::env::var("GREETING").unwrap_or_default());
    println!("a greeting on stdout, which is no message");
    let mut calls = 0;
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (id, method) = (message.get("id"), message["method"].as_str());
        match (id, method) {
            (Some(id), Some("initialize")) => {
                wait_for_gate();
                let version = &message["params"]["protocolVersion"];
                let info =
                    json!({"name": "stdio-server", "version": "1", "pid": std::process::id()});
                let capabilities = json!({"tools": {}});
                answer(
                    id,
                    &json!(
                        {
                            "protocolVersion": version, "capabilities": capabilities,
                            "serverInfo": info
                        }
                    ),
                );
            }
            (Some(id), Some("tools/call")) => {
                calls += 1;
                call(id, &message["params"], calls);
            }
            (Some(id), Some("tools/list")) if message["params"]["cursor"] == "changed" => {
                let now =
                    json!({"name": format!("after-{calls}"), "inputSchema": {"type": "object"}});
                answer(id, &json!({"tools": [now]}));
            }
            (Some(id), Some("tools/list")) => answer(id, &json!({"tools": []})),
            (Some(id), Some("ping")) => answer(id, &json!({})),
            (Some(id), Some(_)) => {
                say(&json!(
                    {"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}}
                ));
            }
            // The client's response to our request. It is sent back so that the test can check it.
            (Some(_), None) => say(&json!({"jsonrpc": "2.0", "method": "notifications/message",
                "params": {"level": "info", "data": message}})),
            (None, Some("notifications/cancelled")) => {
                eprintln!("cancelled {}", message["params"]["requestId"]);
            }
            (None, _) => {}
        }
    }
    eprintln!("stdin closed");
    if std::env::var_os("STUBBORN").is_some() {
        std::thread::sleep(Duration::from_mins(10));
    }
}

fn call(id: &Value, params: &Value, calls: u32) {
    let arguments = &params["arguments"];
    match params["name"].as_str().unwrap() {
        "echo" => text(id, &arguments.to_string()),
        "count" => text(id, &calls.to_string()),
        "pid" => text(id, &std::process::id().to_string()),
        "big" => {
            text(id, &"x".repeat(usize::try_from(arguments["bytes"].as_u64().unwrap()).unwrap()));
        }
        "hang" => eprintln!("hanging on {id}"),
        "slow" => {
            eprintln!("slow call");
            std::thread::sleep(Duration::from_secs(1));
            text(id, "slow");
        }
        "exit" => std::process::exit(7),
        "close_stdout" => {
            nix::unistd::close(1).unwrap();
            std::thread::sleep(Duration::from_mins(10));
        }
        "progress" => {
            let token = &params["_meta"]["progressToken"];
            for step in 1..=3 {
                let progress = json!({"progressToken": token, "progress": step});
                say(&json!(
                    {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}
                ));
            }
            text(id, "done");
        }
        "change" => {
            say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
            text(id, "changed");
        }
        "ask" => {
            say(&json!({"jsonrpc": "2.0", "id": "from-server", "method": "roots/list"}));
            text(id, "asked");
        }
        // Leaves behind a child that holds none of our pipes.
        "fork" => {
            let mut sleep = Command::new("sleep");
            sleep.arg("600").stdin(null()).stdout(null()).stderr(null());
            text(id, &sleep.spawn().unwrap().id().to_string());
        }
        other => panic!("no tool {other}"),
    }
}

fn null() -> std::process::Stdio {
    std::process::Stdio::null()
}

fn text(id: &Value, text: &str) {
    answer(id, &json!({"content": [{"type": "text", "text": text}]}));
}

fn answer(id: &Value, result: &Value) {
    say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
}

fn say(message: &Value) {
    println!("{message}");
    std::io::stdout().flush().unwrap();
}

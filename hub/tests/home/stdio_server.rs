//! A stdio MCP server for tests. It is the test binary itself, started as
//! `BINARY --ignored --exact stdio_server --nocapture`.

#![allow(clippy::print_stdout, reason = "a stdio server writes to stdout")]

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const TOOLS: [&str; 7] = ["pid", "env", "cwd", "exit", "fork", "echo", "ask"];

/// Serves until stdin is closed. With `STUBBORN`, it stays after that.
pub fn serve() {
    eprintln!("the server starts");
    if std::env::var_os("BROKEN").is_some() {
        std::process::exit(3);
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).unwrap();
        let Some(id) = message.get("id") else { continue };
        let result = match message["method"].as_str() {
            Some("initialize") => json!({"protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {"listChanged": true}},
                "serverInfo": {"name": "home", "version": "1"}}),
            Some("tools/list") => {
                let tool = |name| json!({"name": name, "inputSchema": {"type": "object"}});
                json!({"tools": TOOLS.map(tool)})
            }
            Some("tools/call") => {
                let text = call(&message["params"]);
                json!({"content": [{"type": "text", "text": text}]})
            }
            _ => json!({}),
        };
        println!("{}", json!({"jsonrpc": "2.0", "id": id, "result": result}));
        std::io::stdout().flush().unwrap();
    }
    if std::env::var_os("STUBBORN").is_some() {
        std::thread::sleep(std::time::Duration::from_mins(10));
    }
}

fn call(params: &Value) -> String {
    let arguments = &params["arguments"];
    match params["name"].as_str().unwrap() {
        "pid" => std::process::id().to_string(),
        "env" => std::env::var(arguments["name"].as_str().unwrap()).unwrap_or_default(),
        "cwd" => std::env::current_dir().unwrap().display().to_string(),
        "exit" => std::process::exit(7),
        // A child that reads no stdin, as an `npx` or a shell would leave it.
        "fork" => {
            let mut sleep = Command::new("sleep");
            sleep.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            #[allow(clippy::zombie_processes, reason = "that is the bad habit")]
            let child = sleep.spawn().unwrap();
            child.id().to_string()
        }
        "echo" => arguments.to_string(),
        other => format!("no tool {other}"),
    }
}

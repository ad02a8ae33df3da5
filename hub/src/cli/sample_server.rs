//! `mcp-hub sample-server`: a stdio MCP server to try a hub with. It needs no network.

use std::io::{BufRead as _, Write as _};

use mcphub_hub_protocol::message::{self, Message, Request};
use mcphub_hub_protocol::rewrite;
use serde_json::{Value, json};

/// Serves until stdin is closed.
pub fn run() -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let response = match message::parse(&line) {
            Ok(Message::Request(request)) => answer(&request),
            Ok(_) => continue,
            Err(error) => rewrite::error_response(
                error.id(),
                &rewrite::error(error.code(), &error.to_string()),
            ),
        };
        writeln!(stdout, "{response}")?;
        stdout.flush()?;
    }
    Ok(())
}

fn answer(request: &Request<'_>) -> String {
    let result = match &*request.method {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "mcp-hub-sample", "version": env!("CARGO_PKG_VERSION")},
            "instructions": "A sample server: it repeats texts, adds numbers and counts words.",
        }),
        "ping" => json!({}),
        "tools/list" => json!({"tools": tools()}),
        "tools/call" => call(request),
        method => {
            let error = rewrite::error(-32601, &format!("Method not found: {method}"));
            return rewrite::error_response(Some(request.id), &error);
        }
    };
    rewrite::response(request.id, &result.to_string())
}

fn tools() -> Value {
    let text = json!({"type": "object", "properties": {"text": {"type": "string"}},
        "required": ["text"]});
    let number = json!({"type": "number"});
    let numbers = json!({"type": "object", "properties": {"a": number, "b": number},
        "required": ["a", "b"]});
    let read_only = json!({"readOnlyHint": true});
    json!([
        {"name": "echo", "description": "Repeats a text.", "inputSchema": text,
            "annotations": read_only},
        {"name": "add", "description": "Adds two numbers.", "inputSchema": numbers,
            "annotations": read_only},
        {"name": "count_words", "description": "Counts the words of a text.", "inputSchema": text,
            "annotations": read_only},
    ])
}

fn call(request: &Request<'_>) -> Value {
    let read = |text: Option<&str>| {
        text.and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default()
    };
    let arguments = read(request.params.arguments);
    let text = arguments["text"].as_str();
    let result = match read(request.params.name).as_str() {
        Some("echo") => text.map(str::to_owned).ok_or("text is missing"),
        Some("count_words") => {
            text.map(|text| text.split_whitespace().count().to_string()).ok_or("text is missing")
        }
        Some("add") => match (arguments["a"].as_f64(), arguments["b"].as_f64()) {
            (Some(a), Some(b)) => Ok((a + b).to_string()),
            _ => Err("a and b must be numbers"),
        },
        _ => Err("there is no such tool"),
    };
    let (text, is_error) = match result {
        Ok(text) => (text, false),
        Err(error) => (error.to_owned(), true),
    };
    json!({"content": [{"type": "text", "text": text}], "isError": is_error})
}

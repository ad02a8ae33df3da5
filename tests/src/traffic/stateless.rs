//! A client of the stateless protocol: there is no session, and every request carries all that it
//! needs.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

const PROTOCOL: &str = "2026-07-28";

/// Sends one request and returns `result`.
pub async fn request(url: &str, method: &str, mut params: Value) -> Result<Value> {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientInfo": {"name": "mcphub-tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut request = reqwest::Client::new()
        .post(url)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", PROTOCOL)
        .header("mcp-method", method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("mcp-name", name.to_owned());
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = request.json(&body).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{method}: {status} {text}");
    let lines = text.lines().map(|line| line.strip_prefix("data:").unwrap_or(line));
    let messages = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut answer =
        messages.into_iter().find(|message| message["id"] == 1).with_context(|| text.clone())?;
    ensure!(answer.get("error").is_none(), "{method}: {answer}");
    Ok(answer["result"].take())
}

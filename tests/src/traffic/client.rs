//! One MCP client with one session: the handshake of 2025-11-25 over Streamable HTTP, JSON or SSE answers.

use std::sync::LazyLock;

use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

const PROTOCOL: &str = "2025-11-25";

/// How one request ended, as `Rollback` in the rollout contract defines failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Answered, without `isError`.
    Ok,
    /// Answered by the server with `isError` or a JSON-RPC error.
    ToolError,
    /// Connection error, 5xx, or no success after one new initialize.
    Failed(String),
}

/// A client and its session.
pub struct Client {
    url: String,
    session: Option<String>,
    revision: String,
    next_id: u64,
}

enum Answer {
    Body(Value),
    SessionGone,
    Failed(String),
}

impl Client {
    /// A client without a session yet.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), session: None, revision: String::new(), next_id: 1 }
    }

    /// The revision that answered last (`Mcp-Hub-Revision`).
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The session id, while there is one.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Opens a session.
    pub async fn initialize(&mut self) -> Reply {
        self.session = None;
        let params = json!({
            "protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": {"name": "mcphub-tests", "version": "1"},
        });
        match self.ask("initialize", &params).await {
            Answer::Body(body) if body.get("result").is_some() => {}
            Answer::Body(body) => return Reply::Failed(format!("initialize: {body}")),
            Answer::SessionGone => return Reply::Failed("initialize: 404".into()),
            Answer::Failed(why) => return Reply::Failed(format!("initialize: {why}")),
        }
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        match self.request(Method::POST).json(&initialized).send().await {
            Ok(answer) if answer.status().is_success() => Reply::Ok,
            Ok(answer) => Reply::Failed(format!("notifications/initialized: {}", answer.status())),
            Err(error) => Reply::Failed(format!("notifications/initialized: {error:?}")),
        }
    }

    /// Calls a tool; a session that is gone (404) is opened anew once, as the specification tells clients to.
    pub async fn call(&mut self, tool: &str, arguments: &Value) -> Reply {
        let params = json!({"name": tool, "arguments": arguments});
        for attempt in 0..2 {
            match self.ask("tools/call", &params).await {
                Answer::Body(body) if body.get("error").is_some() => return Reply::ToolError,
                Answer::Body(body) if body["result"]["isError"] == true => return Reply::ToolError,
                Answer::Body(_) => return Reply::Ok,
                Answer::Failed(why) => return Reply::Failed(format!("{tool}: {why}")),
                Answer::SessionGone if attempt == 0 => {
                    if let Reply::Failed(why) = self.initialize().await {
                        return Reply::Failed(format!("{tool}, after 404: {why}"));
                    }
                }
                Answer::SessionGone => {}
            }
        }
        Reply::Failed(format!("{tool}: 404 after a new initialize"))
    }

    /// Names of the tools that this client sees, in the order of the list.
    pub async fn tools(&mut self) -> Result<Vec<String>, String> {
        match self.ask("tools/list", &json!({})).await {
            Answer::Body(body) => body["result"]["tools"]
                .as_array()
                .map(|tools| {
                    tools
                        .iter()
                        .filter_map(|tool| tool["name"].as_str().map(str::to_owned))
                        .collect()
                })
                .ok_or_else(|| format!("no tools in {body}")),
            Answer::SessionGone => Err("404".into()),
            Answer::Failed(why) => Err(why),
        }
    }

    /// Ends the session.
    pub async fn end(&mut self) -> Reply {
        let ended = self.request(Method::DELETE).send().await;
        self.session = None;
        match ended {
            // A session that its revision has lost meanwhile is ended as well.
            Ok(answer)
                if answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND =>
            {
                Reply::Ok
            }
            Ok(answer) => Reply::Failed(format!("DELETE: {}", answer.status())),
            Err(error) => Reply::Failed(format!("DELETE: {error:?}")),
        }
    }

    async fn ask(&mut self, method: &str, params: &Value) -> Answer {
        let id = self.next_id;
        self.next_id += 1;
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let answer = match self.request(Method::POST).json(&body).send().await {
            Ok(answer) => answer,
            Err(error) => return Answer::Failed(format!("{error:?}")),
        };
        if answer.status() == StatusCode::NOT_FOUND {
            return Answer::SessionGone;
        }
        if !answer.status().is_success() {
            let status = answer.status();
            return Answer::Failed(format!("{status} {}", answer.text().await.unwrap_or_default()));
        }
        if let Some(revision) =
            answer.headers().get("mcp-hub-revision").and_then(|value| value.to_str().ok())
        {
            revision.clone_into(&mut self.revision);
        }
        if let Some(session) =
            answer.headers().get("mcp-session-id").and_then(|value| value.to_str().ok())
        {
            self.session = Some(session.to_owned());
        }
        match body_of(answer, id).await {
            Ok(body) => Answer::Body(body),
            Err(why) => Answer::Failed(why),
        }
    }

    fn request(&self, method: Method) -> RequestBuilder {
        let request = http()
            .request(method, &self.url)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", PROTOCOL);
        match &self.session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        }
    }
}

async fn body_of(answer: Response, id: u64) -> Result<Value, String> {
    let sse = answer
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !sse {
        return answer.json().await.map_err(|error| format!("{error:?}"));
    }
    let mut events = answer.bytes_stream().eventsource();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| error.to_string())?;
        match serde_json::from_str::<Value>(&event.data) {
            Ok(message) if message["id"] == id => return Ok(message),
            Ok(_) => {} // a notification on the way to the answer
            Err(_) if event.data.is_empty() => {} // the priming event
            Err(error) => return Err(format!("{error} in {}", event.data)),
        }
    }
    Err("the stream ended before the answer".into())
}

fn http() -> &'static reqwest::Client {
    // One pool for all: thousands of sessions must not mean thousands of connections.
    static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let _ = rustls::crypto::ring::default_provider().install_default(); // already set by another part: fine
        reqwest::Client::builder()
            .tcp_nodelay(true)
            .timeout(std::time::Duration::from_secs(30))
            .build()
            .unwrap_or_default()
    });
    &HTTP
}

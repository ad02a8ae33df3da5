//! One MCP client with one session: the handshake of protocol 2025-11-25 over Streamable HTTP, with
//! JSON or SSE answers.
//!
//! The client does what the specification asks of clients: when a request with a session id gets
//! 404, the session is gone, and the client opens a new one without a session id and sends the
//! request again. The rollout contract allows one such re-initialization per request. Anything that
//! does not succeed then has failed.

#[cfg(test)]
mod tests;

use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

const PROTOCOL: &str = "2025-11-25";

/// How one request ended. `Failed` is the failure of the rollout contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Answered, without `isError`.
    Ok,
    /// The MCP server answered with `isError` or with a JSON-RPC error.
    ToolError,
    /// A connection error, an HTTP error, or no success after one new initialize.
    Failed(String),
}

/// Why one HTTP request brought no answer.
enum Failure {
    /// 404: the server does not know the session.
    SessionGone,
    /// Everything that a new session would not cure.
    Final(String),
}

/// A client and its session.
pub struct Client {
    http: reqwest::Client,
    url: String,
    session: Option<String>,
    revision: String,
    next_id: u64,
    reinitializations: u64,
}

impl Client {
    /// A client without a session yet, with connections of its own.
    pub fn new(url: &str) -> Self {
        Self::with_pool(connection_pool(), url)
    }

    /// A client that shares connections with others: thousands of sessions do not need thousands of
    /// connections.
    pub fn with_pool(http: reqwest::Client, url: &str) -> Self {
        Self {
            http,
            url: url.to_owned(),
            session: None,
            revision: String::new(),
            next_id: 1,
            reinitializations: 0,
        }
    }

    /// The revision that answered last (`Mcp-Hub-Revision`).
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The session id, while there is one.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// How often this client had to open another session because the server had lost the one it
    /// used.
    pub fn reinitializations(&self) -> u64 {
        self.reinitializations
    }

    /// Opens a session. A session that is gone before `notifications/initialized` arrives is opened
    /// once more.
    pub async fn initialize(&mut self) -> Reply {
        let opened = match self.handshake().await {
            Err(Failure::SessionGone) => self.reinitialize().await,
            opened => opened,
        };
        match opened {
            Ok(()) => Reply::Ok,
            Err(failure) => Reply::Failed(failure.explain("initialize")),
        }
    }

    /// Calls a tool.
    pub async fn call(&mut self, tool: &str, arguments: &Value) -> Reply {
        let params = json!({"name": tool, "arguments": arguments});
        match self.request("tools/call", &params).await {
            Ok(body) if body.get("error").is_some() => Reply::ToolError,
            Ok(body) if body["result"]["isError"] == true => Reply::ToolError,
            Ok(_) => Reply::Ok,
            Err(failure) => Reply::Failed(failure.explain(tool)),
        }
    }

    /// Names of the tools that this client sees, in the order of the list. The error says why there
    /// is no list.
    pub async fn tools(&mut self) -> Result<Vec<String>, String> {
        let body = self.request("tools/list", &json!({})).await;
        let body = body.map_err(|failure| failure.explain("tools/list"))?;
        let tools = body["result"]["tools"].as_array();
        let tools = tools.ok_or_else(|| format!("tools/list: no tools in {body}"))?;
        Ok(tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect())
    }

    /// Ends the session.
    pub async fn end(&mut self) -> Reply {
        let ended = self.http_request(Method::DELETE).send().await;
        self.session = None;
        match ended.map(|answer| answer.status()) {
            // A session that the server has lost in the meantime has ended as well.
            Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => Reply::Ok,
            Ok(status) => Reply::Failed(format!("DELETE: {status}")),
            Err(error) => Reply::Failed(format!("DELETE: {error:?}")),
        }
    }

    /// Sends a request in the session. If the session is gone, opens a new one and sends the
    /// request once more.
    async fn request(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        match self.post(method, params).await {
            Err(Failure::SessionGone) => {
                self.reinitialize().await?;
                self.post(method, params).await
            }
            answer => answer,
        }
    }

    async fn reinitialize(&mut self) -> Result<(), Failure> {
        self.reinitializations += 1;
        self.handshake().await
    }

    /// `initialize` without a session id, then `notifications/initialized` with the new one.
    async fn handshake(&mut self) -> Result<(), Failure> {
        self.session = None;
        let params = json!({
            "protocolVersion": PROTOCOL, "capabilities": {},
            "clientInfo": {"name": "mcphub-tests", "version": "1"},
        });
        let body = self.post("initialize", &params).await?;
        if body.get("result").is_none() {
            return Err(Failure::Final(format!("initialize was refused: {body}")));
        }
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.send(&initialized).await.map(drop)
    }

    async fn post(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        let id = self.next_id;
        self.next_id += 1;
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let answer = self.send(&body).await?;
        let header =
            |name: &str| Some(answer.headers().get(name)?.to_str().unwrap_or_default().to_owned());
        if let Some(revision) = header("mcp-hub-revision") {
            self.revision = revision;
        }
        if let Some(session) = header("mcp-session-id") {
            self.session = Some(session);
        }
        read_body(answer, id).await.map_err(Failure::Final)
    }

    /// Posts one message and returns the answer when its status is a success.
    async fn send(&self, message: &Value) -> Result<Response, Failure> {
        let answer = self.http_request(Method::POST).json(message).send().await;
        let answer = answer.map_err(|error| Failure::Final(format!("{error:?}")))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(Failure::SessionGone),
            status => {
                let text = answer.text().await.unwrap_or_default();
                Err(Failure::Final(format!("{status} {text}")))
            }
        }
    }

    fn http_request(&self, method: Method) -> RequestBuilder {
        let request = self
            .http
            .request(method, &self.url)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", PROTOCOL);
        match &self.session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        }
    }
}

impl Failure {
    fn explain(self, request: &str) -> String {
        match self {
            Self::SessionGone => format!("{request}: 404 again after a new initialize"),
            Self::Final(cause) => format!("{request}: {cause}"),
        }
    }
}

async fn read_body(answer: Response, id: u64) -> Result<Value, String> {
    let content_type = answer.headers().get("content-type");
    let is_stream = content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !is_stream {
        return answer.json().await.map_err(|error| format!("{error:?}"));
    }
    let mut events = answer.bytes_stream().eventsource();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| error.to_string())?;
        match serde_json::from_str::<Value>(&event.data) {
            Ok(message) if message["id"] == id => return Ok(message),
            Ok(_) => {} // a notification that precedes the answer
            Err(_) if event.data.is_empty() => {} // the priming event
            Err(error) => return Err(format!("{error} in {}", event.data)),
        }
    }
    Err("the stream ended before the answer".into())
}

/// Connections for clients of one server.
///
/// A pool belongs to one test: its connections are driven by the runtime that opened them, and die
/// with it.
pub fn connection_pool() -> reqwest::Client {
    // An error says that the provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tcp_nodelay(true)
        .timeout(std::time::Duration::from_secs(30))
        // Shorter than the idle timeout of any server. Otherwise a connection could be reused just
        // as the server closes it, and a request would be lost that the server never saw.
        .pool_idle_timeout(std::time::Duration::from_secs(5))
        .build()
        .unwrap_or_default()
}

//! A hub on loopback, and ways to send it requests.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mcphub_hub::args;
use mcphub_hub::serve::{self, HubServer};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rmcp::model::{CallToolRequestParams, ClientConfig, ProtocolVersion};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt as _, ServiceExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing takes longer than this, unless there is a bug.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct TestHub {
    pub serving: HubServer,
    pub http: reqwest::Client,
    dir: TempDir,
}

/// An HTTP response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("JSON, not {}", self.text))
    }

    pub fn session(&self) -> String {
        self.headers["mcp-session-id"].to_str().unwrap().to_owned()
    }
}

/// A config with these servers, as people write it.
pub fn servers(list: &[(&str, &str)]) -> Value {
    let servers: serde_json::Map<String, Value> =
        list.iter().map(|(name, url)| ((*name).to_owned(), json!({"url": url}))).collect();
    json!({"mcpServers": servers})
}

fn write(dir: &Path, config: &Value) {
    std::fs::write(dir.join("new"), config.to_string()).unwrap();
    std::fs::rename(dir.join("new"), dir.join("hub.json")).unwrap();
}

/// An HTTP client.
pub fn http() -> reqwest::Client {
    // Fails if another test of this process has installed it already.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl TestHub {
    pub async fn start(config: Value) -> Self {
        Self::start_with(config, |_| {}).await
    }

    pub async fn start_with(config: Value, change: impl FnOnce(&mut args::Serve)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &config);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut args = args::Serve {
            config: vec![dir.path().join("hub.json")],
            stdio: false,
            runtime: None,
            keys: None,
            hub: None,
            namespace: None,
            revision: None,
            pod: None,
            listen: Some(any),
            admin_listen: Some(any),
            skip_llm_check: true,
        };
        change(&mut args);
        let http = http();
        let serving = serve::start(args).await.unwrap();
        Self { serving, http, dir }
    }

    /// Replaces the config file.
    pub fn write(&self, config: &Value) {
        write(self.dir.path(), config);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.serving.address)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.serving.admin_address)
    }

    /// Sends a body to `/mcp`. These headers override the usual ones.
    pub async fn post(&self, body: impl Into<String>, headers: &[(&str, &str)]) -> Answer {
        self.post_to("/mcp", body, headers).await
    }

    /// Sends a body to another path.
    pub async fn post_to(
        &self,
        path: &str,
        body: impl Into<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut all = HeaderMap::new();
        all.insert("content-type", HeaderValue::from_static("application/json"));
        all.insert("accept", HeaderValue::from_static("application/json, text/event-stream"));
        for (name, value) in headers {
            all.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        answer(self.http.post(self.url(path)).headers(all).body(body.into())).await
    }

    pub async fn get(&self, url: String) -> Answer {
        answer(self.http.get(url)).await
    }

    /// Sends a request without a session.
    pub async fn ask(&self, method: &str, params: Value) -> Answer {
        self.post(request(method, params), &[]).await
    }

    /// Opens a session.
    pub async fn session(&self) -> String {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"}});
        let answer = self.ask("initialize", params).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.session()
    }

    /// Sends a request of the protocol without sessions, with everything that the specification
    /// requires.
    pub async fn modern(&self, method: &str, mut params: Value) -> Answer {
        params["_meta"] = modern_meta();
        let name = params["name"].as_str().map(str::to_owned);
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        self.post(request(method, params), &headers).await
    }

    /// The names in the list of a client without a session.
    pub async fn tool_names(&self) -> Vec<String> {
        names(&self.ask("tools/list", json!({})).await.json())
    }

    /// An SDK client with a session.
    pub async fn legacy_client(&self) -> RunningService<RoleClient, ClientConfig> {
        let transport = StreamableHttpClientTransport::from_uri(self.url("/mcp"));
        ClientConfig::default().serve(transport).await.unwrap()
    }

    /// An SDK client of the protocol without sessions.
    pub async fn modern_client(&self) -> RunningService<RoleClient, ClientConfig> {
        let transport = StreamableHttpClientTransport::from_uri(self.url("/mcp"));
        let mode = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        };
        ClientConfig::default().serve_with_lifecycle(transport, mode).await.unwrap()
    }

    /// The value of the series with this name and these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let text = self.get(self.admin_url("/metrics")).await.text;
        text.lines().find_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            let all =
                labels.iter().all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")));
            (found == name && all).then(|| value.parse().unwrap())
        })
    }

    /// Waits until the series has the value.
    pub async fn metric_becomes(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        eventually(&format!("{name}{labels:?} is {value}"), async || {
            self.metric(name, labels).await == Some(value)
        })
        .await;
    }

    /// Waits until the list is this.
    pub async fn list_becomes(&self, expected: &[&str]) {
        eventually(&format!("the list is {expected:?}"), async || {
            self.tool_names().await == expected
        })
        .await;
    }
}

/// Waits until the condition holds. The failure message says what was awaited.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < until, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

pub fn request(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

pub fn names(list: &Value) -> Vec<String> {
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("a list, not {list}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// Whether the result of a call is an error, and its text.
pub fn text_of(answer: &Value) -> (bool, String) {
    let result = &answer["result"];
    let text =
        result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("text, not {answer}"));
    (result["isError"] == true, text.to_owned())
}

/// Calls a tool with an SDK client, and returns the text of the result.
pub async fn call(
    client: &RunningService<RoleClient, ClientConfig>,
    tool: &'static str,
    arguments: Value,
) -> String {
    let Value::Object(arguments) = arguments else { panic!("an object") };
    let result =
        client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap();
    result.content[0].as_text().unwrap().text.clone()
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response =
        tokio::time::timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

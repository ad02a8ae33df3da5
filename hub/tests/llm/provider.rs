//! A scripted provider of a language model, and a client for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use mcphub_hub::llm::{Candidate, Error, Llm};
use mcphub_hub_wire::config::{self, Provider};
use prometheus::{Encoder as _, Registry, TextEncoder};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub const KEY: &str = "sk-live_0123456789abcdefSECRET";
pub const PROVIDERS: [Provider; 4] =
    [Provider::Gemini, Provider::OpenAI, Provider::Anthropic, Provider::OpenAICompatible];

/// A request that the provider received.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

type Script = dyn Fn(&ReceivedRequest) -> Response + Send + Sync;

pub struct ScriptedProvider {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    requests: Mutex<Vec<ReceivedRequest>>,
    script: Box<Script>,
    /// The provider responds to as many requests as there are permits. Once the semaphore is
    /// closed, it responds to all.
    gate: Semaphore,
}

impl ScriptedProvider {
    pub async fn start(
        script: impl Fn(&ReceivedRequest) -> Response + Send + Sync + 'static,
    ) -> Self {
        let provider = Self::gated(script).await;
        provider.inner.gate.close();
        provider
    }

    /// Responds to a request only after a call of `open`.
    pub async fn gated(
        script: impl Fn(&ReceivedRequest) -> Response + Send + Sync + 'static,
    ) -> Self {
        let inner =
            Inner { requests: Mutex::default(), script: Box::new(script), gate: Semaphore::new(0) };
        let inner = Arc::new(inner);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(any(answer)).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, inner }
    }

    /// Gives these responses in turn, and repeats the last one.
    pub async fn in_turn(answers: Vec<Box<dyn Fn() -> Response + Send + Sync>>) -> Self {
        let answers = Mutex::new(VecDeque::from(answers));
        Self::start(move |_| {
            let mut answers = answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front().unwrap()() } else { answers[0]() }
        })
        .await
    }

    pub fn open(&self, questions: usize) {
        self.inner.gate.add_permits(questions);
    }

    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.inner.requests.lock().unwrap().clone()
    }

    /// A client for this provider that retries at once.
    pub fn llm(&self, provider: Provider) -> TestLlm {
        self.llm_with(provider, |_| {})
    }

    pub fn llm_with(&self, provider: Provider, change: impl FnOnce(&mut config::Llm)) -> TestLlm {
        TestLlm::new(provider, &self.url, change)
    }
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = ReceivedRequest {
        path: uri.to_string(),
        headers,
        body: serde_json::from_slice(&body).unwrap(),
    };
    inner.requests.lock().unwrap().push(request.clone());
    if let Ok(permit) = inner.gate.acquire().await {
        permit.forget();
    }
    (inner.script)(&request)
}

pub struct TestLlm {
    pub client: Arc<Llm>,
    pub registry: Registry,
}

impl TestLlm {
    pub fn new(provider: Provider, url: &str, change: impl FnOnce(&mut config::Llm)) -> Self {
        let mut config = config(provider, url);
        change(&mut config);
        // Fails in all tests but the first.
        rustls::crypto::ring::default_provider().install_default().ok();
        let registry = Registry::new();
        Self { client: Llm::start(&config, &registry).unwrap(), registry }
    }

    /// Ranks `files__read`, `web__fetch` and `mail__send`.
    pub async fn rank(&self, prompt: &str) -> Result<Vec<usize>, Error> {
        let tools = tools();
        let llm = self.client.rank(prompt, &tools, 10);
        // Only a bug makes this take longer.
        tokio::time::timeout(Duration::from_secs(20), llm).await.expect("an end")
    }

    /// The value of the series with this name and these labels.
    pub fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let text = self.metrics();
        let line = text.lines().find(|line| {
            line.starts_with(&format!("mcp_hub_llm_{name}"))
                && labels.iter().all(|label| line.contains(&format!("\"{label}\"")))
        });
        line.unwrap_or_else(|| panic!("no {name} {labels:?} in {text}"))
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap()
    }

    pub fn metrics(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Waits until the condition holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(tokio::time::Instant::now() < patience, "never: {what}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

pub fn config(provider: Provider, url: &str) -> config::Llm {
    config::Llm {
        provider,
        model: "m-1".into(),
        base_url: Some(url.into()),
        api_key: config::HeaderValue::Value(KEY.into()),
        timeout_ms: 10_000,
        retry: config::Retry {
            max_retries: 3,
            initial_delay_ms: 1,
            max_delay_ms: 5_000,
            backoff_multiplier: 2,
        },
        circuit_breaker: config::CircuitBreaker::default(),
        cache: config::Cache::default(),
        max_concurrent: 5,
    }
}

pub fn tools() -> [Candidate<'static>; 3] {
    [
        ("files__read", "Reads a file."),
        ("web__fetch", "Fetches a page."),
        ("mail__send", "Sends a mail."),
    ]
    .map(|(id, description)| Candidate { id, description, digest: b"1" })
}

/// The question in a request to any provider.
pub fn question(request: &ReceivedRequest) -> Value {
    let body = &request.body;
    let texts = [
        &body["messages"][1]["content"],
        &body["messages"][0]["content"],
        &body["contents"][0]["parts"][0]["text"],
    ];
    serde_json::from_str(texts.iter().find_map(|text| text.as_str()).unwrap()).unwrap()
}

/// The body of a response in which the model says this.
pub fn says(provider: Provider, said: &Value) -> Value {
    match provider {
        Provider::OpenAI | Provider::OpenAICompatible => json!({
            "object": "chat.completion",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": said.to_string(), "refusal": null},
                "finish_reason": "stop"
            }],
            "usage": {
                "prompt_tokens": 90, "completion_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 40}
            },
        }),
        Provider::Anthropic => json!({
            "type": "message", "role": "assistant", "stop_reason": "tool_use",
            "content": [
                {"type": "tool_use", "id": "toolu_1", "name": "chosen_tools", "input": said}
            ],
            "usage": {"input_tokens": 50, "cache_read_input_tokens": 40, "output_tokens": 9},
        }),
        Provider::Gemini => json!({
            "candidates": [{
                "content": {"role": "model", "parts": [{"text": said.to_string()}]},
                "finishReason": "STOP"
            }],
            "usageMetadata": {
                "promptTokenCount": 90, "cachedContentTokenCount": 40, "candidatesTokenCount": 4,
                "thoughtsTokenCount": 5
            },
        }),
    }
}

pub fn chooses(provider: Provider, ids: &[&str]) -> Response {
    json_answer(200, says(provider, &json!({"tools": ids})))
}

pub fn json_answer(status: u16, body: Value) -> Response {
    raw(status, &[("content-type", "application/json")], body.to_string())
}

pub fn raw(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// Sends the head and a part of the body, and then breaks the connection.
pub fn cut() -> Response {
    let parts = vec![Ok(Bytes::from_static(b"{\"choices\":[")), Err(std::io::Error::other("cut"))];
    Body::from_stream(futures::stream::iter(parts)).into_response()
}

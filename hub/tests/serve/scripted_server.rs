//! A server whose responses the test writes byte for byte, without an SDK that normalizes them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use mcphub_hub_protocol::message::{Message, parse};

/// A request that the server received.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub headers: HeaderMap,
    pub body: String,
}

type Answer = dyn Fn(&ReceivedRequest) -> Response + Send + Sync;

pub struct ScriptedServer {
    pub url: String,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
}

struct Script {
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
    call: Box<Answer>,
    definition: String,
    /// The response to a GET that opens the stream of a session.
    stream: StatusCode,
}

impl ScriptedServer {
    /// A server with sessions and these tools. `call` answers `tools/call`.
    pub async fn start(
        definition: &str,
        call: impl Fn(&ReceivedRequest) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::with_stream(StatusCode::METHOD_NOT_ALLOWED, definition, call).await
    }

    /// The same, with this status as the response to opening a stream.
    pub async fn with_stream(
        stream: StatusCode,
        definition: &str,
        call: impl Fn(&ReceivedRequest) -> Response + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Script {
            seen: Arc::clone(&seen),
            call: Box::new(call),
            definition: definition.into(),
            stream,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let app = Router::new().fallback(any(answer)).with_state(Arc::new(script));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen }
    }

    /// The received requests with this method, in order.
    pub fn requests(&self, method: &str) -> Vec<ReceivedRequest> {
        let wanted = format!("\"method\":\"{method}\"");
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.body.contains(&wanted))
            .cloned()
            .collect()
    }

    /// How often a stream was resumed.
    pub fn resumes(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.headers.contains_key("last-event-id")).count()
    }
}

async fn answer(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    let seen = ReceivedRequest { headers, body: String::from_utf8(body.to_vec()).unwrap() };
    script.seen.lock().unwrap().push(seen.clone());
    match method_of(&seen.body).as_deref() {
        Some("initialize") => {
            let result = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"}}"#;
            ([("mcp-session-id", "one")], json(&id_of(&seen), result)).into_response()
        }
        Some("tools/list") => {
            json(&id_of(&seen), &format!("{{\"tools\":[{}]}}", script.definition))
        }
        Some("tools/call") => (script.call)(&seen),
        Some(notification) if notification.starts_with("notifications/") => {
            StatusCode::ACCEPTED.into_response()
        }
        _ => match seen
            .headers
            .get("last-event-id")
            .map(|id| id.to_str().unwrap().replace("call-", ""))
        {
            Some(id) if id == "nothing" => events("id: nothing\nretry: 0\ndata:\n\n"),
            Some(id) => {
                let result = r#"{"content":[{"type":"text","text":"resumed"}]}"#;
                events(&format!(
                    "id: last\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n\n"
                ))
            }
            None => script.stream.into_response(),
        },
    }
}

fn method_of(body: &str) -> Option<String> {
    match parse(body).ok()? {
        Message::Request(request) => Some(request.method.into()),
        Message::Notification(notification) => Some(notification.method.into()),
        Message::Response => None,
    }
}

/// The id of the request, as JSON text.
pub fn id_of(seen: &ReceivedRequest) -> String {
    let Message::Request(request) = parse(&seen.body).unwrap() else { panic!("a request") };
    request.id.to_owned()
}

/// A JSON response with this result.
pub fn json(id: &str, result: &str) -> Response {
    json_text(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// A JSON response.
pub fn json_text(text: &str) -> Response {
    ([("content-type", "application/json")], text.to_owned()).into_response()
}

/// A response that is an event stream.
pub fn events(text: &str) -> Response {
    ([("content-type", "text/event-stream")], text.to_owned()).into_response()
}

/// A response that never comes.
pub fn never() -> Response {
    (
        [("content-type", "application/json")],
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()),
    )
        .into_response()
}

//! One request of the client: sent, answered, and sent again where that is safe.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use mcphub_hub_protocol::message::{UpstreamMessage, parse_upstream};
use mcphub_hub_protocol::rewrite;
use mcphub_hub_protocol::sse::Decoder;

use super::link::Link;
use super::peer::Error;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The longest message of the server.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
const INTERNAL_ERROR: i32 = -32603;
/// How often a stream is resumed before its response counts as lost.
const MAX_RESUMES: usize = 5;

/// A request of the client.
pub(super) struct Call {
    /// Raw JSON.
    pub(super) id: String,
    pub(super) method: String,
    /// The headers, if its protocol version has no sessions.
    pub(super) stateless: Option<HeaderMap>,
    pub(super) message: String,
}

/// What one HTTP exchange has ended with.
enum End {
    /// The response has been written for the client, or kept, if the caller wants it.
    Answered(String),
    /// The server does not know the session, so it has not run the request.
    SessionGone,
}

/// Sends a request, and writes its response for the client.
pub(super) async fn run(link: &Arc<Link>, call: &Call) {
    let session = link.session.id();
    let mut end = exchange(link, call).await;
    if matches!(end, Ok(End::SessionGone)) {
        end = match reopen(link, session.as_ref()).await {
            Ok(()) => exchange(link, call).await,
            Err(reason) => Err(reason),
        };
    }
    finish(link, call, end).await;
}

/// Opens the session, and writes the response for the client.
pub(super) async fn initialize(link: &Arc<Link>, call: &Call) {
    let end = open(link, call).await.map(End::Answered);
    finish(link, call, end).await;
}

async fn finish(link: &Link, call: &Call, end: Result<End, String>) {
    let response = match end {
        Ok(End::Answered(response)) => response,
        Ok(End::SessionGone) => error(call, "the server has closed the session twice"),
        Err(reason) => error(call, &reason),
    };
    if call.method == "tools/list" {
        link.tools.read(&response);
    }
    link.write(&response).await;
}

fn error(call: &Call, reason: &str) -> String {
    rewrite::error_response(Some(&call.id), &rewrite::error(INTERNAL_ERROR, reason))
}

async fn open(link: &Link, call: &Call) -> Result<String, String> {
    let response = send(link, Method::POST, HeaderMap::new(), &call.message).await?;
    let headers = response.headers().clone();
    let success = response.status().is_success();
    let answered = read_response(link, call, response).await?;
    if success {
        link.session.opened(&call.message, &headers);
        link.session.set_version(&answered);
    }
    Ok(answered)
}

/// Opens another session with the client's own handshake. `gone` is the session that the server
/// does not know any more.
async fn reopen(link: &Arc<Link>, gone: Option<&HeaderValue>) -> Result<(), String> {
    let _guard = link.session.opening.lock().await;
    if link.session.id().as_ref() != gone {
        return Ok(()); // another request has opened it
    }
    let message = link.session.initialize_message().ok_or("there is no session")?;
    tracing::info!("the server has closed the session, opening another one");
    let call = Call {
        id: id_of(&message).unwrap_or_else(|| "0".to_owned()),
        method: "initialize".into(),
        stateless: None,
        message,
    };
    open(link, &call).await?;
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    link.post(initialized.to_owned()).await;
    start_listening(link);
    Ok(())
}

fn id_of(message: &str) -> Option<String> {
    match mcphub_hub_protocol::message::parse(message) {
        Ok(mcphub_hub_protocol::message::Message::Request(request)) => Some(request.id.to_owned()),
        _ => None,
    }
}

async fn exchange(link: &Link, call: &Call) -> Result<End, String> {
    let headers = call.stateless.clone().unwrap_or_else(|| link.session.headers());
    let in_session = headers.contains_key(super::session::SESSION_ID);
    let response = send(link, Method::POST, headers, &call.message).await?;
    if in_session && response.status() == StatusCode::NOT_FOUND {
        return Ok(End::SessionGone);
    }
    read_response(link, call, response).await.map(End::Answered)
}

/// Sends a request. Waits for a server that cannot be reached, because hubs are restarted.
async fn send(
    link: &Link,
    method: Method,
    headers: HeaderMap,
    body: &str,
) -> Result<reqwest::Response, String> {
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(10)
        .with_jitter();
    let attempt = || link.peer.send(method.clone(), headers.clone(), body.to_owned());
    let sent = attempt.retry(delays).when(|error| matches!(error, Error::NotConnected(_))).await;
    sent.map_err(|error| error.to_string())
}

/// Reads the response to a request. Messages before it are written for the client.
async fn read_response(
    link: &Link,
    call: &Call,
    mut response: reqwest::Response,
) -> Result<String, String> {
    if !is_event_stream(&response) {
        return read_json(call, response).await;
    }
    let mut last_event = None;
    for _ in 0..=MAX_RESUMES {
        let mut stream = EventStream::new(response);
        while let Some(text) = stream.next().await? {
            if answers(&text, &call.id) {
                return Ok(text);
            }
            link.write(&text).await;
        }
        last_event = stream.last_event.or(last_event);
        let Some(last) = last_event.clone().filter(|_| call.stateless.is_none()) else { break };
        tokio::time::sleep(stream.retry).await;
        let mut headers = link.session.headers();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.extend(HeaderValue::from_str(&last).ok().map(|last| (LAST_EVENT_ID, last)));
        response = send(link, Method::GET, headers, "").await?;
        if !response.status().is_success() || !is_event_stream(&response) {
            break;
        }
    }
    Err("the server closed the connection before its response was complete".into())
}

async fn read_json(call: &Call, response: reqwest::Response) -> Result<String, String> {
    let status = response.status();
    let bytes = response.bytes().await.map_err(|error| error.without_url().to_string())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match parse_upstream(&text) {
        Some(UpstreamMessage::Result { .. }) => Ok(text),
        Some(UpstreamMessage::Error { id: Some(id), .. }) if id == call.id => Ok(text),
        // An error about the HTTP request has no id, and a stdio client would wait forever.
        Some(UpstreamMessage::Error { error, .. }) => {
            Ok(rewrite::error_response(Some(&call.id), error))
        }
        _ if status == StatusCode::UNAUTHORIZED => {
            Err("the server wants credentials (HTTP 401); add --header \"Authorization: …\"".into())
        }
        _ if status.is_redirection() => {
            Err(format!("the server sent a redirect (HTTP {status}); use the final URL"))
        }
        _ => Err(format!("the server responded with HTTP status {status}")),
    }
}

fn answers(text: &str, id: &str) -> bool {
    match parse_upstream(text) {
        Some(UpstreamMessage::Result { id: answered, .. }) => answered == id,
        Some(UpstreamMessage::Error { id: answered, .. }) => answered == Some(id),
        _ => false,
    }
}

fn is_event_stream(response: &reqwest::Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream"))
}

/// Listens for what the server sends outside of responses.
pub(super) fn start_listening(link: &Arc<Link>) {
    let listening = Arc::clone(link);
    let task = tokio::spawn(async move { listen(&listening).await });
    link.set_listener(task.abort_handle());
}

/// Writes for the client what the server sends on the stream of the session. Returns when the
/// server has no such stream or has closed the session.
async fn listen(link: &Link) {
    let delays = || {
        let delays = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200));
        delays.with_max_delay(Duration::from_secs(30)).without_max_times().with_jitter().build()
    };
    let mut wait = delays();
    let mut last_event: Option<String> = None;
    while link.session.id().is_some() {
        let mut headers = link.session.headers();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let last = last_event.as_deref().and_then(|last| HeaderValue::from_str(last).ok());
        headers.extend(last.map(|last| (LAST_EVENT_ID, last)));
        match link.peer.send(Method::GET, headers, String::new()).await {
            Ok(response) if is_event_stream(&response) && response.status().is_success() => {
                wait = delays();
                let mut stream = EventStream::new(response);
                while let Ok(Some(text)) = stream.next().await {
                    link.write(&text).await;
                }
                last_event = stream.last_event.or(last_event);
            }
            // The next request opens another session, and listens again.
            Ok(response) if response.status().is_client_error() => return,
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(wait.next().unwrap_or_default()).await;
    }
}

/// The messages of an event stream.
struct EventStream {
    response: reqwest::Response,
    decoder: Decoder,
    ready: std::collections::VecDeque<String>,
    last_event: Option<String>,
    retry: Duration,
}

impl EventStream {
    fn new(response: reqwest::Response) -> Self {
        Self {
            response,
            decoder: Decoder::default(),
            ready: std::collections::VecDeque::new(),
            last_event: None,
            retry: Duration::from_secs(1),
        }
    }

    /// The next message. `None` at the end of the stream, also if the connection has broken.
    async fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            if let Some(text) = self.ready.pop_front() {
                return Ok(Some(text));
            }
            let Ok(Some(chunk)) = self.response.chunk().await else { return Ok(None) };
            for event in self.decoder.push(&chunk) {
                self.last_event = event.id.or(self.last_event.take());
                if let Some(retry) = event.retry_ms {
                    self.retry = Duration::from_millis(retry.clamp(100, 30_000));
                }
                let is_message = event.kind.is_none_or(|kind| kind == "message");
                if is_message && !event.data.is_empty() {
                    self.ready.push_back(event.data);
                }
            }
            if self.decoder.buffered_bytes() > MAX_MESSAGE_BYTES {
                return Err("the server sent a message that is too long".into());
            }
        }
    }
}

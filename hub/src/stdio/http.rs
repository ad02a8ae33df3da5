//! The Streamable HTTP endpoint (MCP 2025-11-25, basic/transports): POST, GET and DELETE of `/mcp`.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::stream::{self, Stream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mcphub_hub_listen::ConnectionMetrics;
use mcphub_hub_protocol::message::{Message, Notification, Request, parse};

use super::call::{Call, CallEvent, CallOwner as _};
use super::error::Error;
use super::idle_responses::RequestKind;
use super::launcher::Launcher;
use super::messages;
use super::metrics::Metrics;
use super::program::Program;
use super::session::{Session, SessionRequest};
use super::sessions::Sessions;

/// Longest message of a client. The hub's own bound is far lower.
const MAX_REQUEST_BYTES: usize = 64 << 20;
/// A body that trickles in would hold memory.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an event stream gets a comment, so that a dead reader is noticed, and after what time
/// a call without an answer becomes a stream. Proxies close connections that are silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const SESSION_ID: &str = "mcp-session-id";

/// A stdio server with its sessions.
pub(crate) struct StdioServer {
    sessions: Sessions,
    metrics: Arc<Metrics>,
    call_timeout: Duration,
    stopping: AtomicBool,
}

impl StdioServer {
    /// A server without sessions. At most `max_processes` of its processes run at a time.
    pub(crate) fn new(
        program: Arc<dyn Program>,
        max_processes: u32,
        call_timeout: Duration,
    ) -> prometheus::Result<Arc<Self>> {
        let metrics = Arc::new(Metrics::new()?);
        let launcher = Launcher::new(program, max_processes, Arc::clone(&metrics));
        let sessions = Sessions::new(Arc::new(launcher));
        Ok(Arc::new(Self { sessions, metrics, call_timeout, stopping: AtomicBool::new(false) }))
    }

    /// Stops idle processes and ends abandoned sessions. Never returns.
    pub(crate) async fn sweep(&self, idle_timeout: Duration) {
        self.sessions.sweep(idle_timeout).await;
    }

    /// From now on, `/ready` says no.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The metrics of the port that serves it.
    pub(crate) fn connection_metrics(&self) -> prometheus::Result<ConnectionMetrics> {
        self.metrics.connections()
    }

    /// The number of calls that wait for a response.
    pub(crate) fn pending_calls(&self) -> usize {
        self.sessions.pending_calls()
    }

    /// Ends all sessions and waits for their processes.
    pub(crate) async fn end_all(&self) {
        self.sessions.end_all().await;
    }
}

pub(crate) fn router(server: Arc<StdioServer>) -> Router {
    Router::new()
        .route("/mcp", post(post_message).get(listen).delete(end_session))
        .route("/health", get(async || StatusCode::OK))
        .route("/ready", get(ready))
        .route(
            "/metrics",
            get(async |State(server): State<Arc<StdioServer>>| server.metrics.text()),
        )
        .with_state(server)
}

async fn ready(State(server): State<Arc<StdioServer>>) -> StatusCode {
    if server.stopping.load(Ordering::Relaxed) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

async fn post_message(
    State(server): State<Arc<StdioServer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return browser_refused();
    }
    let body = match read(body).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        return error_response(
            StatusCode::BAD_REQUEST,
            None,
            -32700,
            "the body is not UTF-8",
            "parse",
        );
    };
    let message = match parse(text) {
        Ok(message) => message,
        Err(error) => {
            return error_response(
                StatusCode::BAD_REQUEST,
                error.id(),
                error.code(),
                &error.to_string(),
                "parse",
            );
        }
    };
    let line = one_line(&body);
    if let Message::Request(request) = &message
        && request.method == "initialize"
    {
        return initialize(&server, line, request.id).await;
    }
    let id = if let Message::Request(request) = &message { Some(request.id) } else { None };
    let session = match session(&server, &headers, id) {
        Ok(session) => session,
        Err(response) => return *response,
    };
    match message {
        Message::Request(request) => call(&server, &session, &headers, line, &request).await,
        Message::Notification(notification) => {
            session.send_message(line).await;
            if let Some(id) = cancelled_id(&notification) {
                session.cancel(id);
            }
            StatusCode::ACCEPTED.into_response()
        }
        Message::Response => {
            session.send_message(line).await;
            StatusCode::ACCEPTED.into_response()
        }
    }
}

/// Reads a body. `Err` is the response to send instead.
async fn read(body: Body) -> Result<Bytes, Box<Response>> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_REQUEST_BYTES).collect());
    let (status, message) = match read.await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long")
        }
        Ok(Err(_)) => (StatusCode::BAD_REQUEST, "the body did not arrive"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
    };
    Err(Box::new(error_response(status, None, -32600, message, "body")))
}

async fn initialize(server: &StdioServer, line: Bytes, id: &str) -> Response {
    match server.sessions.open(line, id.to_owned()).await {
        Ok((message, session)) => {
            let mut response = json(StatusCode::OK, message);
            if let Some(session) = session.and_then(|session| HeaderValue::from_str(&session).ok())
            {
                response.headers_mut().insert(SESSION_ID, session);
            }
            response
        }
        Err(error) => refusal(&error, id),
    }
}

async fn call(
    server: &StdioServer,
    session: &Arc<Session>,
    headers: &HeaderMap,
    line: Bytes,
    request: &Request<'_>,
) -> Response {
    let accepts_stream = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| accept.contains("text/event-stream") || accept.contains("*/*"));
    let session_request = SessionRequest {
        message: line,
        id: request.id.to_owned(),
        kind: RequestKind::from_request(request),
        progress_token: request
            .params
            .meta
            .as_ref()
            .and_then(|meta| meta.progress_token)
            .map(str::to_owned),
        accepts_stream,
        timeout: server.call_timeout,
    };
    match session.send_request(session_request).await {
        Ok(mut call) => {
            let first = if accepts_stream {
                tokio::time::timeout(KEEP_ALIVE, call.next()).await.ok()
            } else {
                Some(call.next().await)
            };
            match first {
                Some(CallEvent::Response(response)) => json(StatusCode::OK, response),
                Some(CallEvent::Related(first)) => {
                    event_stream(call_messages(Some(first), call)).into_response()
                }
                None => event_stream(call_messages(None, call)).into_response(),
            }
        }
        Err(error) => refusal(&error, request.id),
    }
}

async fn listen(State(server): State<Arc<StdioServer>>, headers: HeaderMap) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return browser_refused();
    }
    match session(&server, &headers, None) {
        Ok(session) => {
            let messages = session.listen();
            // The stream must not keep the session alive: it ends when the session ends.
            drop(session);
            let messages = stream::unfold(messages, async |mut messages| {
                Some((messages.recv().await?, messages))
            });
            event_stream(messages).into_response()
        }
        Err(response) => *response,
    }
}

async fn end_session(State(server): State<Arc<StdioServer>>, headers: HeaderMap) -> Response {
    let id = headers.get(SESSION_ID).and_then(|id| id.to_str().ok());
    match id {
        Some(id) if server.sessions.end(id) => StatusCode::NO_CONTENT.into_response(),
        Some(_) => unknown_session(None),
        None => missing_session_id(None),
    }
}

fn session(
    server: &StdioServer,
    headers: &HeaderMap,
    id: Option<&str>,
) -> Result<Arc<Session>, Box<Response>> {
    let Some(session) = headers.get(SESSION_ID) else {
        return Err(Box::new(missing_session_id(id)));
    };
    let session = session.to_str().ok().and_then(|session| server.sessions.get(session));
    session.ok_or_else(|| Box::new(unknown_session(id)))
}

/// The message on one line. A server would read a message with a line end in it as two messages.
/// JSON has line ends only between tokens, so a space can replace them.
fn one_line(body: &Bytes) -> Bytes {
    if body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        body.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
    } else {
        body.clone()
    }
}

fn cancelled_id<'a>(notification: &Notification<'a>) -> Option<&'a str> {
    if notification.method == "notifications/cancelled" {
        notification.params.request_id
    } else {
        None
    }
}

fn call_messages(first: Option<Bytes>, call: Call) -> impl Stream<Item = Bytes> {
    let rest = stream::unfold(Some(call), async |call| {
        let mut call = call?;
        Some(match call.next().await {
            CallEvent::Related(message) => (message, Some(call)),
            CallEvent::Response(response) => (response, None),
        })
    });
    futures::StreamExt::chain(stream::iter(first), rest)
}

fn event_stream(
    messages: impl Stream<Item = Bytes> + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = futures::StreamExt::map(messages, |message| {
        Ok(Event::default().event("message").data(String::from_utf8_lossy(&message)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn error_response(
    status: StatusCode,
    id: Option<&str>,
    code: i32,
    message: &str,
    reason: &str,
) -> Response {
    json(status, messages::error(id, code, message, reason))
}

fn refusal(error: &Error, id: &str) -> Response {
    let message = error.to_string();
    let unavailable = |reason| {
        let mut response =
            error_response(StatusCode::SERVICE_UNAVAILABLE, Some(id), -32000, &message, reason);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    };
    match error {
        Error::MaxProcesses(_) => unavailable("max_processes"),
        Error::KeepsEnding(_) => unavailable("keeps_ending"),
        Error::MaxSessions => unavailable("max_sessions"),
        Error::TooManyCalls => unavailable("max_calls"),
        Error::NotStarted(_) => {
            error_response(StatusCode::BAD_GATEWAY, Some(id), -32603, &message, "not_started")
        }
        Error::IdInUse => {
            error_response(StatusCode::BAD_REQUEST, Some(id), -32600, &message, "id_in_use")
        }
        Error::SessionEnded => unknown_session(Some(id)),
    }
}

fn unknown_session(id: Option<&str>) -> Response {
    error_response(
        StatusCode::NOT_FOUND,
        id,
        -32001,
        "unknown session; initialize again",
        "unknown_session",
    )
}

fn missing_session_id(id: Option<&str>) -> Response {
    error_response(
        StatusCode::BAD_REQUEST,
        id,
        -32600,
        "Mcp-Session-Id is missing; initialize first",
        "session_missing",
    )
}

/// Only the hub may call the server. A browser that a web page tricks into calling it (DNS
/// rebinding) sends an Origin header.
fn browser_refused() -> Response {
    error_response(
        StatusCode::FORBIDDEN,
        None,
        -32600,
        "requests from web pages are refused",
        "origin",
    )
}

//! The Streamable HTTP side (2025-11-25, basic/transports): POST, GET and DELETE of `/mcp`.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::stream::{self, Stream};
use mcphub_hub_protocol::message::{Message, Notification, Request, parse};

use super::answers;
use super::asleep::Purpose;
use super::call::{Call, Part};
use super::metrics::Metrics;
use super::session::{Ask, Session};
use super::sessions::{Refused, Sessions};

/// Longest message of a client; the hub's own bound is far below.
const MAX_REQUEST_BYTES: usize = 64 << 20;
/// An event stream says that it is alive this often, so that a dead reader is noticed.
const PING: Duration = Duration::from_secs(15);
const SESSION_ID: &str = "mcp-session-id";

/// What the handlers share.
pub(super) struct Bridge {
    pub(super) sessions: Sessions,
    pub(super) metrics: Arc<Metrics>,
    pub(super) call_timeout: Duration,
    pub(super) stopping: AtomicBool,
}

/// All paths.
pub(super) fn router(bridge: Arc<Bridge>) -> Router {
    Router::new()
        .route("/mcp", post(take).get(listen).delete(end))
        .route("/health", get(async || StatusCode::OK))
        .route("/ready", get(ready))
        .route("/metrics", get(async |State(bridge): State<Arc<Bridge>>| bridge.metrics.text()))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(bridge)
}

async fn ready(State(bridge): State<Arc<Bridge>>) -> StatusCode {
    if bridge.stopping.load(Ordering::Relaxed) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

async fn take(State(bridge): State<Arc<Bridge>>, headers: HeaderMap, body: Bytes) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return from_browser();
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        return failed(StatusCode::BAD_REQUEST, None, -32700, "the body is not UTF-8", "parse");
    };
    let message = match parse(text) {
        Ok(message) => message,
        Err(error) => {
            return failed(
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
        return begin(&bridge, line, request.id).await;
    }
    let id = if let Message::Request(request) = &message { Some(request.id) } else { None };
    let session = match session(&bridge, &headers, id) {
        Ok(session) => session,
        Err(response) => return *response,
    };
    match message {
        Message::Request(request) => ask(&bridge, &session, &headers, line, &request).await,
        Message::Notification(notification) => {
            session.tell(line).await;
            if let Some(id) = cancelled(&notification) {
                session.cancel(id);
            }
            StatusCode::ACCEPTED.into_response()
        }
        Message::Response => {
            session.tell(line).await;
            StatusCode::ACCEPTED.into_response()
        }
    }
}

async fn begin(bridge: &Bridge, line: Bytes, id: &str) -> Response {
    match bridge.sessions.begin(line, id.to_owned()).await {
        Ok((answer, session)) => {
            let mut response = json(StatusCode::OK, answer);
            if let Some(session) = session.and_then(|session| HeaderValue::from_str(&session).ok())
            {
                response.headers_mut().insert(SESSION_ID, session);
            }
            response
        }
        Err(refused) => refusal(&refused, id),
    }
}

async fn ask(
    bridge: &Bridge,
    session: &Arc<Session>,
    headers: &HeaderMap,
    line: Bytes,
    request: &Request<'_>,
) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ask = Ask {
        message: line,
        id: request.id.to_owned(),
        purpose: Purpose::of(request),
        progress_token: request
            .params
            .meta
            .as_ref()
            .and_then(|meta| meta.progress_token)
            .map(str::to_owned),
        streams: accepted
            .into_iter()
            .any(|accept| accept.contains("text/event-stream") || accept.contains("*/*")),
        within: bridge.call_timeout,
    };
    match session.ask(ask).await {
        Ok(mut call) => match call.next().await {
            Part::Answer(answer) => json(StatusCode::OK, answer),
            Part::Related(first) => events(parts(first, call)).into_response(),
        },
        Err(refused) => refusal(&refused, request.id),
    }
}

async fn listen(State(bridge): State<Arc<Bridge>>, headers: HeaderMap) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return from_browser();
    }
    match session(&bridge, &headers, None) {
        Ok(session) => {
            let messages = session.listen();
            // The session is not held: its end ends the stream.
            drop(session);
            let messages = stream::unfold(messages, async |mut messages| {
                Some((messages.recv().await?, messages))
            });
            events(messages).into_response()
        }
        Err(response) => *response,
    }
}

async fn end(State(bridge): State<Arc<Bridge>>, headers: HeaderMap) -> Response {
    let id = headers.get(SESSION_ID).and_then(|id| id.to_str().ok());
    match id {
        Some(id) if bridge.sessions.end(id) => StatusCode::NO_CONTENT.into_response(),
        Some(_) => unknown_session(None),
        None => session_missing(None),
    }
}

fn session(
    bridge: &Bridge,
    headers: &HeaderMap,
    id: Option<&str>,
) -> Result<Arc<Session>, Box<Response>> {
    let Some(session) = headers.get(SESSION_ID) else { return Err(Box::new(session_missing(id))) };
    let session = session.to_str().ok().and_then(|session| bridge.sessions.get(session));
    session.ok_or_else(|| Box::new(unknown_session(id)))
}

/// A line end inside a message (between its tokens; strings hold none) would be two messages to the server.
fn one_line(body: &Bytes) -> Bytes {
    if body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        body.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
    } else {
        body.clone()
    }
}

fn cancelled<'a>(notification: &Notification<'a>) -> Option<&'a str> {
    if notification.method == "notifications/cancelled" {
        notification.params.request_id
    } else {
        None
    }
}

fn parts(first: Bytes, call: Call) -> impl Stream<Item = Bytes> {
    let rest = stream::unfold(Some(call), async |call| {
        let mut call = call?;
        Some(match call.next().await {
            Part::Related(message) => (message, Some(call)),
            Part::Answer(answer) => (answer, None),
        })
    });
    futures::StreamExt::chain(stream::iter([first]), rest)
}

fn events(
    messages: impl Stream<Item = Bytes> + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = futures::StreamExt::map(messages, |message| {
        Ok(Event::default().event("message").data(String::from_utf8_lossy(&message)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(PING))
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn failed(
    status: StatusCode,
    id: Option<&str>,
    code: i32,
    message: &str,
    reason: &str,
) -> Response {
    json(status, answers::error(id, code, message, reason))
}

fn refusal(refused: &Refused, id: &str) -> Response {
    let message = refused.to_string();
    let full = |reason| {
        let mut response =
            failed(StatusCode::SERVICE_UNAVAILABLE, Some(id), -32000, &message, reason);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    };
    match refused {
        Refused::MaxProcesses(_) => full("max_processes"),
        Refused::MaxSessions => full("max_sessions"),
        Refused::TooManyCalls => full("max_calls"),
        Refused::NotStarted(_) => {
            failed(StatusCode::BAD_GATEWAY, Some(id), -32603, &message, "not_started")
        }
        Refused::IdInUse => {
            failed(StatusCode::BAD_REQUEST, Some(id), -32600, &message, "id_in_use")
        }
        Refused::Over => unknown_session(Some(id)),
    }
}

fn unknown_session(id: Option<&str>) -> Response {
    failed(
        StatusCode::NOT_FOUND,
        id,
        -32001,
        "unknown session; initialize again",
        "unknown_session",
    )
}

fn session_missing(id: Option<&str>) -> Response {
    failed(
        StatusCode::BAD_REQUEST,
        id,
        -32600,
        "Mcp-Session-Id is missing; initialize first",
        "session_missing",
    )
}

/// The bridge is for the hub. A browser that is made to call it (DNS rebinding) says where its page came from.
fn from_browser() -> Response {
    failed(StatusCode::FORBIDDEN, None, -32600, "requests from web pages are refused", "origin")
}

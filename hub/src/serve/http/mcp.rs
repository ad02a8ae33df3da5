//! `/mcp`: Streamable HTTP of both eras.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream::{BoxStream, StreamExt as _};
use mcphub_hub_protocol::message::{self, Body as Parsed, Message};
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::version::{self, ProtocolVersion, VersionHints};
use mcphub_hub_protocol::{rewrite, sse};
use tokio::sync::watch;

use crate::serve::http::edge;
use crate::serve::http::stateless;
use crate::serve::methods;
use crate::serve::metrics;
use crate::serve::state::hub::{Hub, anonymous};
use crate::serve::state::in_flight::Place;
use crate::serve::state::sessions::Session;
use crate::serve::state::snapshot::Live;

/// Names the session, both ways.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// Messages of a batch. All are answered at once, in one of the places of `limits.maxConcurrent`.
const MAX_BATCH: usize = 100;
/// A comment on a quiet stream, before proxies take it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// Changes that come within this time are told once.
const COALESCE: Duration = Duration::from_millis(100);
/// Tells a session that its list is another one.
pub const LIST_CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// What the hub knows of a caller when it decides.
#[derive(Clone)]
pub struct Ctx {
    /// The protocol that the request speaks.
    pub version: ProtocolVersion,
    /// Its legacy session, where there is one.
    pub session: Option<Arc<Session>>,
    /// The view whose path it came on.
    pub view: Option<String>,
    /// The answer may be a stream of events.
    pub streams: bool,
    /// False for the self-check, whose calls are counted nowhere.
    pub counted: bool,
}

/// An answer, independent of HTTP.
pub enum Answer {
    /// None: it was a notification.
    Accepted,
    /// One response.
    One {
        /// HTTP status.
        status: StatusCode,
        /// The response message.
        text: String,
        /// The session that it opened.
        session: Option<String>,
    },
    /// Notifications, then the response.
    Stream(BoxStream<'static, String>),
}

impl Answer {
    /// A result.
    pub fn result(id: &str, result: &str) -> Self {
        Self::One { status: StatusCode::OK, text: rewrite::response(id, result), session: None }
    }

    /// An error. The modern protocol shows some of them in the HTTP status.
    pub fn error(version: ProtocolVersion, id: &str, error: &str, code: i64) -> Self {
        Self::One {
            status: stateless::status(version, code),
            text: rewrite::error_response(Some(id), error),
            session: None,
        }
    }
}

/// Counts one request when it is dropped; one that has not ended by then was cancelled.
pub struct Measured {
    hub: Arc<Hub>,
    method: metrics::Method,
    began: Instant,
    counted: bool,
    /// Time that upstream took of it.
    pub upstream: Duration,
    /// How it ended.
    pub ending: Option<RequestEnd>,
}

impl Measured {
    /// Begins now.
    pub fn begin(hub: &Arc<Hub>, method: &str, ctx: &Ctx) -> Self {
        let method = metrics::Method::of(method);
        let (hub, began, counted) = (Arc::clone(hub), Instant::now(), ctx.counted);
        Self { hub, method, began, counted, upstream: Duration::ZERO, ending: None }
    }

    /// Ends so.
    pub fn end(mut self, ending: RequestEnd) {
        self.ending = Some(ending);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let unsaid = if std::thread::panicking() { RequestEnd::Bug } else { RequestEnd::Cancelled };
        if self.counted {
            let (outcome, took) = (self.ending.unwrap_or(unsaid).outcome(), self.began.elapsed());
            self.hub.metrics.request(self.method, outcome, took, self.upstream);
            let (took, upstream) = (took.as_secs_f64(), self.upstream.as_secs_f64());
            tracing::debug!(method = ?self.method, outcome = outcome.label(), took, upstream, "request");
        }
    }
}

/// Any request to `/mcp`.
pub async fn endpoint(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    any(&hub, None, request).await
}

/// Any request to `/mcp/v/<name>`. A view that is not there looks like any path that is not there.
pub async fn view(
    State(hub): State<Arc<Hub>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    if hub.live().config.filtering.views.iter().any(|view| view.name == name) {
        any(&hub, Some(name), request).await
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn any(hub: &Arc<Hub>, view: Option<String>, request: Request) -> Response {
    match *request.method() {
        Method::POST => post(hub, view, request).await,
        Method::GET => stream(hub, view.as_deref(), request.headers()),
        Method::DELETE => delete(hub, view.as_deref(), request.headers()),
        ref other => {
            edge::method_not_allowed("GET, POST, DELETE", other, "send messages with POST")
        }
    }
}

async fn post(hub: &Arc<Hub>, view: Option<String>, request: Request) -> Response {
    let Some(place) = hub.places.take(hub.live().config.limits.max_concurrent) else {
        refused(hub);
        return edge::refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests at a time; try again",
        );
    };
    let (parts, body) = request.into_parts();
    let text = match edge::read_body(hub, &parts.headers, body).await {
        Ok(text) => text,
        Err(response) => {
            refused(hub);
            return response;
        }
    };
    match message::parse_body(&text) {
        Ok(Parsed::Single(message)) => {
            respond(one(hub, view, &parts.headers, message).await, accepts(&parts.headers), place)
        }
        Ok(Parsed::Batch(messages)) if messages.len() > MAX_BATCH => {
            refused(hub);
            edge::refusal(
                StatusCode::BAD_REQUEST,
                &format!("a batch has at most {MAX_BATCH} messages; send several"),
            )
        }
        Ok(Parsed::Batch(messages)) => batch(hub, view.as_deref(), &parts.headers, &messages).await,
        Err(error) => {
            refused(hub);
            edge::json_response(StatusCode::BAD_REQUEST, malformed(&error))
        }
    }
}

async fn one(
    hub: &Arc<Hub>,
    view: Option<String>,
    headers: &HeaderMap,
    message: Message<'_>,
) -> Answer {
    let ctx = match context(hub, view, headers, &message) {
        Ok(ctx) => ctx,
        Err(answer) => {
            refused(hub);
            return answer;
        }
    };
    if ctx.version == ProtocolVersion::Stateless
        && let Message::Request(request) = &message
        && let Err(refusal) = stateless::check(headers, request)
    {
        Measured::begin(hub, &request.method, &ctx).end(RequestEnd::Rejected);
        return refusal;
    }
    match message {
        Message::Request(request) => methods::answer(hub, &ctx, headers, request).await,
        Message::Notification(notification) => {
            methods::note(hub, &ctx, &notification);
            Answer::Accepted
        }
        Message::Response => Answer::Accepted, // the hub asks clients nothing yet
    }
}

/// ProtocolVersion and session of a message.
fn context(
    hub: &Hub,
    view: Option<String>,
    headers: &HeaderMap,
    message: &Message<'_>,
) -> Result<Ctx, Answer> {
    let (id, method, meta) = match message {
        Message::Request(request) => {
            (Some(request.id), &*request.method, request.params.meta.as_ref())
        }
        Message::Notification(notification) => {
            (None, &*notification.method, notification.params.meta.as_ref())
        }
        Message::Response => (None, "", None),
    };
    let initialize = method == "initialize";
    let session_id = header(headers, SESSION_ID.as_str()).filter(|_| !initialize);
    let session = session_id
        .and_then(|id| hub.sessions.get(id, view.as_deref(), anonymous(), Instant::now()));
    let meta_version = meta.and_then(|meta| meta.protocol_version.as_deref());
    let signs = VersionHints {
        initialize,
        session: session.as_ref().map(|session| session.version),
        meta: meta_version,
        header: header(headers, PROTOCOL_VERSION),
    };
    let version =
        version::resolve(signs).map_err(|unsupported| stateless::unsupported(id, &unsupported))?;
    let refuse = |status, message: &str| {
        Err(Answer::One {
            status,
            text: rewrite::error_response(id, &rewrite::error(-32600, message)),
            session: None,
        })
    };
    if let ProtocolVersion::Stateful(_) = version
        && session.is_none()
        && !initialize
    {
        if session_id.is_some() {
            return refuse(StatusCode::NOT_FOUND, "Session not found; send initialize again");
        }
        if hub.live().config.sessions.require_id {
            return refuse(
                StatusCode::BAD_REQUEST,
                "Mcp-Session-Id is missing; send initialize first",
            );
        }
    }
    Ok(Ctx { version, session, view, streams: accepts(headers).events, counted: true })
}

/// A batch of 2025-03-26: each message on its own, one array of responses.
async fn batch(
    hub: &Arc<Hub>,
    view: Option<&str>,
    headers: &HeaderMap,
    messages: &[&str],
) -> Response {
    let headers = &without_streams(headers);
    let answers = messages.iter().map(|text| async move {
        match message::parse(text) {
            Ok(Message::Request(request)) if request.method == "initialize" => {
                refused(hub);
                let error =
                    rewrite::error(-32600, "Invalid request: initialize must not be in a batch");
                Answer::error(
                    ProtocolVersion::Stateful(version::DEFAULT_VERSION),
                    request.id,
                    &error,
                    -32600,
                )
            }
            Ok(message) => one(hub, view.map(str::to_owned), headers, message).await,
            Err(error) => {
                refused(hub);
                Answer::One {
                    status: StatusCode::BAD_REQUEST,
                    text: malformed(&error),
                    session: None,
                }
            }
        }
    });
    let answers = futures::future::join_all(answers).await;
    let texts: Vec<String> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Answer::One { text, .. } => Some(text),
            Answer::Accepted | Answer::Stream(_) => None,
        })
        .collect();
    if texts.is_empty() {
        return StatusCode::ACCEPTED.into_response();
    }
    edge::json_response(StatusCode::OK, format!("[{}]", texts.join(",")))
}

fn without_streams(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers
}

fn malformed(error: &message::Error) -> String {
    rewrite::error_response(error.id(), &rewrite::error(error.code(), &error.to_string()))
}

/// Counts a request that was refused before it had a method.
fn refused(hub: &Arc<Hub>) {
    hub.metrics.request(
        metrics::Method::Other,
        RequestEnd::Rejected.outcome(),
        Duration::ZERO,
        Duration::ZERO,
    );
}

/// The answer as HTTP. One that streams holds the request's place until its end.
fn respond(answer: Answer, accepts: Accepts, place: Place) -> Response {
    match answer {
        Answer::Accepted => StatusCode::ACCEPTED.into_response(),
        Answer::One { status, text, session } => {
            let mut response = if accepts.json || status != StatusCode::OK {
                edge::json_response(status, text)
            } else {
                event_stream(futures::stream::iter([sse::encode(&text)]))
            };
            let session = session.and_then(|id| HeaderValue::from_str(&id).ok());
            response.headers_mut().extend(session.map(|id| (SESSION_ID, id)));
            response
        }
        Answer::Stream(messages) => event_stream(messages.map(move |message| {
            let _held = &place;
            sse::encode(&message)
        })),
    }
}

fn event_stream(events: impl futures::Stream<Item = String> + Send + 'static) -> Response {
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let headers = [
        (CONTENT_TYPE, EVENT_STREAM),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        unbuffered,
    ];
    (headers, body).into_response()
}

/// What a client takes. Clients that say nothing, or `*/*`, get JSON.
#[derive(Debug, Clone, Copy)]
struct Accepts {
    json: bool,
    events: bool,
}

fn accepts(headers: &HeaderMap) -> Accepts {
    let names = |what: &str| {
        headers
            .get_all(ACCEPT)
            .iter()
            .any(|value| value.to_str().is_ok_and(|value| value.contains(what)))
    };
    let events = names("text/event-stream");
    Accepts { json: !events || names("application/json") || names("*/*"), events }
}

/// The value of a header, where it is text.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// GET: the stream on which a session hears that its list has changed.
fn stream(hub: &Arc<Hub>, view: Option<&str>, headers: &HeaderMap) -> Response {
    if !accepts(headers).events {
        return edge::refusal(
            StatusCode::NOT_ACCEPTABLE,
            "GET opens an event stream; accept text/event-stream",
        );
    }
    let Some(id) = header(headers, SESSION_ID.as_str()) else {
        return edge::method_not_allowed(
            "POST",
            &Method::GET,
            "there is a stream only in a session; send Mcp-Session-Id",
        );
    };
    let Some(session) = hub.sessions.get(id, view, anonymous(), Instant::now()) else {
        return edge::refusal(StatusCode::NOT_FOUND, "Session not found; send initialize again");
    };
    let state = ChangeStream::open(hub, session);
    // A comment at once: some clients wait for the first byte before they go on.
    let first = futures::stream::iter([String::from(":\n\n")]);
    event_stream(first.chain(futures::stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((event, state))
    })))
}

/// A stream that tells of changes.
struct ChangeStream {
    hub: Arc<Hub>,
    session: Arc<Session>,
    newer: watch::Receiver<u64>,
    live: watch::Receiver<Arc<Live>>,
    additions: watch::Receiver<u64>,
}

impl ChangeStream {
    fn open(hub: &Arc<Hub>, session: Arc<Session>) -> Self {
        Self {
            newer: session.open_stream(),
            live: hub.subscribe(),
            additions: hub.additions(&session).changes(),
            hub: Arc::clone(hub),
            session,
        }
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            self.live.borrow_and_update();
            self.additions.borrow_and_update();
            if self.hub.tells(&self.session) {
                return Some(sse::encode(LIST_CHANGED));
            }
            tokio::select! {
                () = self.session.ended.cancelled() => return None,
                () = self.hub.stopping.cancelled() => return None,
                _ = self.newer.changed() => return None,
                changed = self.live.changed() => {
                    changed.ok()?;
                    tokio::time::sleep(COALESCE).await;
                }
                changed = self.additions.changed() => {
                    changed.ok()?;
                    tokio::time::sleep(COALESCE).await;
                }
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(":\n\n".into()),
            }
        }
    }
}

fn delete(hub: &Hub, view: Option<&str>, headers: &HeaderMap) -> Response {
    let own = |id: &&str| hub.sessions.get(id, view, anonymous(), Instant::now()).is_some();
    match header(headers, SESSION_ID.as_str()) {
        None => edge::refusal(StatusCode::BAD_REQUEST, "Mcp-Session-Id is missing"),
        Some(id) if own(&id) && hub.end_session(id) => StatusCode::NO_CONTENT.into_response(),
        Some(_) => edge::refusal(StatusCode::NOT_FOUND, "Session not found"),
    }
}

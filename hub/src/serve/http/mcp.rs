//! `/mcp`: Streamable HTTP for all protocol versions.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{ACCEPT, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, StreamExt as _};
use mcphub_hub_protocol::message::{self, Body as Parsed, Message};
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::rewrite;
use mcphub_hub_protocol::version::STATELESS_VERSION;

use super::context::{self, Accepts, PROTOCOL_VERSION, SESSION_ID};
use super::exchange::{Answered, Exchange, ExchangeTraits, Reply};
use super::responses::{Refusal, header, json_response, method_not_allowed, refusal};
use super::{edge, event_stream, held_body, stateless};
use crate::serve::methods::answer::{Answer, StreamItem};
use crate::serve::methods::request_timer::RequestTimer;
use crate::serve::methods::{self, list_changes};
use crate::serve::metrics;
use crate::serve::state::hub::Hub;
use crate::serve::state::in_flight::Permit;

/// How many messages a batch may have. Each of them takes a permit of its own.
const MAX_BATCH: usize = 100;

/// Any request to `/mcp`.
pub(super) async fn endpoint(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    any(&hub, None, request).await
}

/// Any request to `/mcp/v/<name>`. An unknown view answers like any unknown path.
pub(super) async fn view(
    State(hub): State<Arc<Hub>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    if hub.snapshot().config.filtering.views.iter().any(|view| view.name == name) {
        any(&hub, Some(name), request).await
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn any(hub: &Arc<Hub>, view: Option<String>, request: Request) -> Response {
    match *request.method() {
        Method::POST => post(hub, view, request).await,
        Method::GET => open_stream(hub, view.as_deref(), request.headers()),
        Method::DELETE => delete(hub, view.as_deref(), request.headers()),
        ref other => method_not_allowed("GET, POST, DELETE", other, "send messages with POST"),
    }
}

async fn post(hub: &Arc<Hub>, view: Option<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let text = match read(hub, &parts.headers, body).await {
        Ok(text) => text,
        Err(response) => {
            count_refused(hub);
            return response;
        }
    };
    let accepts = Accepts::read(&parts.headers);
    let traits = Arc::new(ExchangeTraits::default());
    let work = answer(Arc::clone(hub), view, parts.headers, text, Arc::clone(&traits));
    let mut exchange = Exchange::new(work, traits, &hub.outliving);
    match exchange.answer_in_time(accepts.events).await {
        Some(Ok(answered)) => respond(answered, accepts, exchange),
        Some(Err(response)) => *response,
        None => {
            // Some clients and proxies wait for the first byte before they go on.
            let first = stream::iter([StreamItem::KeepAlive]);
            event_stream::response(first.chain(exchange.into_items()))
        }
    }
}

/// Answers a body. Everything up to the first await decides how the exchange ends, and is done when
/// the future is polled for the first time.
async fn answer(
    hub: Arc<Hub>,
    view: Option<String>,
    headers: HeaderMap,
    text: String,
    traits: Arc<ExchangeTraits>,
) -> Result<Answered, Box<Response>> {
    let refused = |response| {
        count_refused(&hub);
        Err(Box::new(response))
    };
    match message::parse_body(&text) {
        Ok(Parsed::Single(message)) => {
            let Ok(permit) = permit(&hub, &message) else {
                return refused(refusal(StatusCode::SERVICE_UNAVAILABLE, BUSY));
            };
            let reply = one(&hub, view, &headers, message, &traits).await;
            Ok(Answered { reply, permit })
        }
        Ok(Parsed::Batch(_)) if !has_batches(&hub, view.as_deref(), &headers) => refused(refusal(
            StatusCode::BAD_REQUEST,
            "only protocol version 2025-03-26 has batches; send one message for each request",
        )),
        Ok(Parsed::Batch(messages)) if messages.len() > MAX_BATCH => refused(refusal(
            StatusCode::BAD_REQUEST,
            &format!("a batch has at most {MAX_BATCH} messages; send several batches"),
        )),
        Ok(Parsed::Batch(messages)) => {
            let reply = batch(&hub, view.as_deref(), &headers, &messages, &traits).await;
            Ok(Answered { reply, permit: None })
        }
        Err(error) => refused(json_response(StatusCode::BAD_REQUEST, malformed(&error))),
    }
}

/// Reads the body of a message. A body that trickles in takes no permit from requests that have
/// arrived.
async fn read(hub: &Hub, headers: &HeaderMap, body: Body) -> Result<String, Response> {
    let most = hub.snapshot().config.limits.max_concurrent.saturating_mul(2);
    let Some(_arriving) = hub.arriving.try_acquire(most) else {
        return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, BUSY));
    };
    edge::read_body(hub, headers, body).await
}

const BUSY: &str = "too many concurrent requests; try again";

/// There are as many requests as `limits.maxConcurrent` allows.
struct Busy;

/// The permit that a message needs. A ping costs nothing, and calls that fill the table must still
/// be cancellable, so neither it nor a notification needs one.
fn permit(hub: &Hub, message: &Message<'_>) -> Result<Option<Permit>, Busy> {
    match message {
        Message::Request(request) if request.method != "ping" => {
            let most = hub.snapshot().config.limits.max_concurrent;
            hub.in_flight.try_acquire(most).map(Some).ok_or(Busy)
        }
        Message::Request(_) | Message::Notification(_) | Message::Response => Ok(None),
    }
}

/// Whether the protocol version of a request has batches: only 2025-03-26, which is also the
/// version of a request that names none.
fn has_batches(hub: &Hub, view: Option<&str>, headers: &HeaderMap) -> bool {
    if header(headers, SESSION_ID.as_str()).is_some() {
        let session = context::session(hub, view, headers);
        return session.is_some_and(|session| session.version == BATCHES);
    }
    header(headers, PROTOCOL_VERSION).is_none_or(|version| version == BATCHES)
}

const BATCHES: &str = "2025-03-26";

impl From<Refusal> for Reply {
    fn from(Refusal { status, text }: Refusal) -> Self {
        Self { status, answer: Answer::Response { message: text, error: None, session: None } }
    }
}

async fn one(
    hub: &Arc<Hub>,
    view: Option<String>,
    headers: &HeaderMap,
    message: Message<'_>,
    traits: &ExchangeTraits,
) -> Reply {
    let ctx = match context::read(hub, view, headers, &message) {
        Ok(ctx) => ctx,
        Err(refusal) => {
            count_refused(hub);
            return refusal.into();
        }
    };
    if ctx.version.is_stateless()
        && let Message::Request(request) = &message
        && let Err(refusal) = stateless::check(headers, request)
    {
        RequestTimer::start(hub, &request.method, &ctx).end(RequestEnd::Rejected);
        return refusal.into();
    }
    traits.set(ctx.version, &message);
    let answer = match message {
        Message::Request(request) => methods::answer(hub, &ctx, request).await,
        Message::Notification(notification) => {
            methods::notify(hub, &ctx, &notification);
            Answer::Accepted
        }
        Message::Response => Answer::Accepted, // the hub sends clients no requests yet
    };
    Reply { status: stateless::status(ctx.version, answer.error_code()), answer }
}

/// Answers each message of a batch (2025-03-26) on its own, with one array of responses.
async fn batch(
    hub: &Arc<Hub>,
    view: Option<&str>,
    headers: &HeaderMap,
    messages: &[&str],
    traits: &ExchangeTraits,
) -> Reply {
    let headers = &without_streams(headers);
    let replies = messages.iter().map(|text| async move {
        match message::parse(text) {
            Ok(Message::Request(request)) if request.method == "initialize" => {
                count_refused(hub);
                let error =
                    rewrite::error(-32600, "Invalid request: initialize must not be in a batch");
                Some(rewrite::error_response(Some(request.id), &error))
            }
            Ok(message) => {
                let Ok(_held) = permit(hub, &message) else {
                    count_refused(hub);
                    let Message::Request(request) = message else { return None };
                    let error = rewrite::error(-32000, BUSY);
                    return Some(rewrite::error_response(Some(request.id), &error));
                };
                let reply = one(hub, view.map(str::to_owned), headers, message, traits).await;
                reply.answer.into_message()
            }
            Err(error) => {
                count_refused(hub);
                Some(malformed(&error))
            }
        }
    });
    let replies = futures::future::join_all(replies).await;
    let responses: Vec<String> = replies.into_iter().flatten().collect();
    let answer = if responses.is_empty() {
        Answer::Accepted
    } else {
        let message = format!("[{}]", responses.join(","));
        Answer::Response { message, error: None, session: None }
    };
    Reply { status: StatusCode::OK, answer }
}

fn without_streams(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers
}

fn malformed(error: &message::Error) -> String {
    rewrite::error_response(error.id(), &rewrite::error(error.code(), &error.to_string()))
}

/// Counts a request that is refused before its method is known.
fn count_refused(hub: &Hub) {
    hub.metrics.count_request(
        metrics::Method::Other,
        RequestEnd::Rejected.outcome(),
        Duration::ZERO,
        Duration::ZERO,
    );
}

/// Sends a reply. `exchange` goes on while it is a stream.
fn respond(answered: Answered, accepts: Accepts, exchange: Exchange) -> Response {
    let Answered { reply: Reply { status, answer }, permit } = answered;
    match answer {
        Answer::Accepted => StatusCode::ACCEPTED.into_response(),
        Answer::Response { message, session, .. } => {
            let mut response = if accepts.json || status != StatusCode::OK {
                held_body::hold(json_response(status, String::new()), message, permit)
            } else {
                event_stream::response(stream::iter([StreamItem::Message(message)]))
            };
            let session = session.and_then(|id| HeaderValue::from_str(&id).ok());
            response.headers_mut().extend(session.map(|id| (SESSION_ID, id)));
            response
        }
        answer @ Answer::Stream(_) => event_stream::response(exchange.rest(answer, permit)),
    }
}

/// GET: the stream on which a session hears that its list has changed.
fn open_stream(hub: &Arc<Hub>, view: Option<&str>, headers: &HeaderMap) -> Response {
    if !Accepts::read(headers).events {
        return refusal(
            StatusCode::NOT_ACCEPTABLE,
            "GET opens an event stream; accept text/event-stream",
        );
    }
    if header(headers, SESSION_ID.as_str()).is_none() {
        return method_not_allowed(
            "POST",
            &Method::GET,
            "only sessions have a stream; send Mcp-Session-Id",
        );
    }
    match context::session(hub, view, headers) {
        Some(session) => event_stream::response(list_changes::stream(hub, session)),
        None => refusal(StatusCode::NOT_FOUND, "Session not found; send initialize again"),
    }
}

/// DELETE: ends a session of the caller.
fn delete(hub: &Hub, view: Option<&str>, headers: &HeaderMap) -> Response {
    if header(headers, SESSION_ID.as_str()).is_none() {
        if header(headers, PROTOCOL_VERSION) == Some(STATELESS_VERSION) {
            let advice = "this protocol version has no sessions";
            return method_not_allowed("POST", &Method::DELETE, advice);
        }
        return refusal(StatusCode::BAD_REQUEST, "Mcp-Session-Id is missing");
    }
    match context::session(hub, view, headers) {
        Some(session) if hub.end_session(&session.id) => StatusCode::NO_CONTENT.into_response(),
        _ => refusal(StatusCode::NOT_FOUND, "Session not found"),
    }
}

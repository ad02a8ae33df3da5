//! What every request passes first: Host and Origin, bounds on number and size.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER,
    VARY,
};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mcphub_hub_protocol::rewrite;

use crate::serve::http::{mcp, rest};
use crate::serve::state::hub::Hub;

/// A body that trickles in holds a place that others want.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers of answers that pages may read. The revision's is the router's.
const EXPOSED: &str = "Mcp-Session-Id, Mcp-Hub-Revision, WWW-Authenticate, Retry-After";

/// Everything on the hub's port.
pub fn router(hub: Arc<Hub>) -> Router {
    let checked = Router::new()
        .route("/mcp", any(mcp::endpoint))
        .route("/mcp/v/{name}", any(mcp::view))
        .merge(rest::router())
        .layer(from_fn_with_state(Arc::clone(&hub), check_caller));
    // Status only, and without checks: kubelet sends the pod's address as Host.
    Router::new()
        .route("/health", get(async || StatusCode::OK))
        .route("/ready", get(ready))
        .merge(checked)
        .with_state(hub)
}

async fn ready(State(hub): State<Arc<Hub>>) -> StatusCode {
    if hub.ready().is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A page in a browser must not reach a hub that its user can reach (DNS rebinding).
async fn check_caller(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = host(headers, request.uri());
    if hub.loopback_only && !host.as_deref().is_some_and(is_this_machine) {
        return refusal(
            StatusCode::FORBIDDEN,
            "this Host is not served: the hub listens for this machine only",
        );
    }
    let Some(origin) = headers.get(ORIGIN) else { return next.run(request).await };
    let text = origin.to_str().unwrap_or_default();
    if hub.live().config.allowed_origins.iter().any(|allowed| allowed == text) {
        return shared_with(origin.clone(), request, next).await;
    }
    if text.split_once("://").is_some_and(|(_, authority)| Some(authority) == host.as_deref()) {
        next.run(request).await // of the same origin: its browser does not ask
    } else {
        refusal(StatusCode::FORBIDDEN, "this Origin may not call; add it to allowedOrigins")
    }
}

/// The answer as the browser of a page of this origin wants it (Fetch standard, CORS protocol). Without credentials: no
/// cookie means anything here.
async fn shared_with(origin: HeaderValue, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let asks_first =
        request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first {
        let wanted = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let mut response = StatusCode::NO_CONTENT.into_response();
        // All that it asks for: what is read of headers is checked like that of any client.
        response.headers_mut().extend(wanted.map(|names| (ACCESS_CONTROL_ALLOW_HEADERS, names)));
        response
            .headers_mut()
            .insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
        response.headers_mut().insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(VARY, HeaderValue::from_static("Origin"));
    response
}

fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    host.or_else(|| uri.authority().map(ToString::to_string)) // HTTP/2 has no Host
}

fn is_this_machine(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// The body of a message, or what to answer instead.
pub async fn read_body(hub: &Hub, headers: &HeaderMap, body: Body) -> Result<String, Response> {
    let json = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    });
    if !json {
        return Err(refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        ));
    }
    let max = usize::try_from(hub.live().config.limits.max_request_bytes).unwrap_or(usize::MAX);
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await;
    let read =
        read.map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?;
    let bytes = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is longer than {max} bytes"))
        } else {
            refusal(StatusCode::BAD_REQUEST, "the body did not arrive")
        }
    })?;
    String::from_utf8(bytes.to_bytes().into()).map_err(|_| {
        json_response(
            StatusCode::BAD_REQUEST,
            rewrite::error_response(
                None,
                &rewrite::error(-32700, "Parse error: the body is not UTF-8"),
            ),
        )
    })
}

/// A refusal that is no answer to a message.
pub fn refusal(status: StatusCode, message: &str) -> Response {
    let mut response =
        json_response(status, rewrite::error_response(None, &rewrite::error(-32600, message)));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A JSON answer.
pub fn json_response(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// For paths that know only some methods.
pub fn method_not_allowed(allowed: &'static str, method: &Method, reason: &str) -> Response {
    let mut response = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{method} is not answered here: {reason}"),
    );
    response.headers_mut().insert(axum::http::header::ALLOW, HeaderValue::from_static(allowed));
    response
}

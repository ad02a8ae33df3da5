//! HTTP responses that do not come from a method.

use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use mcphub_hub_protocol::rewrite;

/// A refusal as a JSON-RPC error without an id. Statuses that ask the client to slow down carry
/// Retry-After.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response {
    let mut response =
        json_response(status, rewrite::error_response(None, &rewrite::error(-32600, message)));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

pub(super) fn json_response(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// 405 with the methods that the path allows.
pub(super) fn method_not_allowed(allowed: &'static str, method: &Method, reason: &str) -> Response {
    let mut response =
        refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("{method} is not allowed here: {reason}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The first value of a header, if it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The answer to a message that is refused before it reaches a method.
pub(crate) struct Refusal {
    pub status: StatusCode,
    /// A JSON-RPC error response.
    pub text: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, id: Option<&str>, error: &str) -> Self {
        Self { status, text: rewrite::error_response(id, error) }
    }
}

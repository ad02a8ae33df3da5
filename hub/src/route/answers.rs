//! Answers that the router makes itself, where no pod answers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::metrics::Rejected;

/// Seconds after which a client may ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A status and nothing else.
pub(super) fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Why the request was not forwarded, as a JSON-RPC error without id: the router has not read the request's.
pub(super) fn rejected(reason: Rejected) -> Response<Full<Bytes>> {
    match reason {
        Rejected::TooMany => unavailable("too many requests at a time; ask again"),
        Rejected::NoWeight => {
            unavailable("the hub has not passed its first self-check yet; ask again")
        }
        Rejected::NoPod => unavailable("no pod of the hub is ready; ask again"),
        Rejected::UnknownSession => {
            session_gone("unknown session; initialize again without a session id")
        }
        Rejected::RevisionFailed => {
            session_gone("the session's revision was rolled back; initialize again")
        }
        Rejected::PodGone => session_gone("the session's pod is gone; initialize again"),
    }
}

/// A pod was reached and did not answer, or was cut.
pub(super) fn no_answer(message: &str) -> Response<Full<Bytes>> {
    json_rpc_error(StatusCode::BAD_GATEWAY, -32603, message)
}

fn unavailable(message: &str) -> Response<Full<Bytes>> {
    let mut response = json_rpc_error(StatusCode::SERVICE_UNAVAILABLE, -32603, message);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn session_gone(message: &str) -> Response<Full<Bytes>> {
    json_rpc_error(StatusCode::NOT_FOUND, -32001, message)
}

fn json_rpc_error(status: StatusCode, code: i32, message: &str) -> Response<Full<Bytes>> {
    let error = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    let mut response = Response::new(Full::from(error.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

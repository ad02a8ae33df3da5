//! Responses that the router itself gives, where no pod does.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::metrics::RejectReason;

/// In seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

pub(super) fn status_only(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A JSON-RPC error that says why the request was not forwarded. Its id is null, because the
/// router does not read requests.
pub(super) fn rejected(reason: RejectReason) -> Response<Full<Bytes>> {
    match reason {
        RejectReason::TooMany => unavailable("too many requests in flight; try again later"),
        RejectReason::NoWeight => {
            unavailable("the hub has not passed its first self-check yet; try again later")
        }
        RejectReason::NoPod => unavailable("no pod of the hub is ready; try again later"),
        RejectReason::UnknownSession => {
            session_gone("unknown session; initialize again without a session id")
        }
        RejectReason::RevisionFailed => {
            session_gone("the session's revision was rolled back; initialize again")
        }
        RejectReason::PodGone => session_gone("the session's pod is gone; initialize again"),
    }
}

/// A pod was reached and did not respond, or the router aborted the request.
pub(super) fn bad_gateway(message: &str) -> Response<Full<Bytes>> {
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
    let error = serde_json::json!({
        "jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message},
    });
    let mut response = Response::new(Full::from(error.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

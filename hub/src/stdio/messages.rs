//! JSON-RPC messages that the bridge itself writes. Ids are raw JSON, as the sender wrote them.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;

/// An error response. Its id is `null` where `id` is `None`.
pub(super) fn error(id: Option<&str>, code: i32, message: &str, reason: &str) -> Bytes {
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message,
        "data": {"reason": reason}}});
    with_id(&body, id)
}

pub(super) fn timeout_error(id: &str, timeout: Duration) -> Bytes {
    error(Some(id), -32001, &format!("the server did not answer within {timeout:?}"), "timeout")
}

pub(super) fn cancelled_error(id: &str) -> Bytes {
    error(Some(id), -32800, "cancelled by the client", "cancelled")
}

pub(super) fn server_ended_error(id: &str, reason: &str) -> Bytes {
    error(Some(id), -32603, &format!("the server process has ended: {reason}"), "server_ended")
}

/// The response to a request of the server that no client will receive.
pub(super) fn no_listener_error(id: &str) -> Bytes {
    error(Some(id), -32603, "no client is listening", "nobody_listens")
}

/// Tells the server that the call with this id timed out.
pub(super) fn cancelled_notification(id: &str) -> Bytes {
    let params = format!(r#"{{"requestId":{id},"reason":"timed out"}}"#);
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#
    ))
}

fn with_id(body: &serde_json::Value, id: Option<&str>) -> Bytes {
    #[derive(serde::Serialize)]
    struct Message<'a> {
        jsonrpc: &'a str,
        id: Option<&'a RawValue>,
        error: &'a serde_json::Value,
    }
    let id = id.and_then(|id| serde_json::from_str::<&RawValue>(id).ok());
    let message = Message { jsonrpc: "2.0", id, error: &body["error"] };
    serde_json::to_vec(&message).unwrap_or_default().into()
}

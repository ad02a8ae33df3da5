//! JSON-RPC messages that the bridge makes itself.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;

/// An error with the id as written (`null` where there is none).
pub(super) fn error(id: Option<&str>, code: i32, message: &str, reason: &str) -> Bytes {
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message,
        "data": {"reason": reason}}});
    with_id(&body, id)
}

/// The call's time is up.
pub(super) fn timed_out(id: &str, within: Duration) -> Bytes {
    error(Some(id), -32001, &format!("the server did not answer within {within:?}"), "timeout")
}

/// The client has cancelled the call.
pub(super) fn call_cancelled(id: &str) -> Bytes {
    error(Some(id), -32800, "cancelled by the client", "cancelled")
}

/// The process is gone.
pub(super) fn server_ended(id: &str, reason: &str) -> Bytes {
    error(Some(id), -32603, &format!("the server process has ended: {reason}"), "server_ended")
}

/// Told to the server: a request of its own reaches no client.
pub(super) fn nobody_listens(id: &str) -> Bytes {
    error(Some(id), -32603, "no client listens", "nobody_listens")
}

/// Told to the server: nobody waits for this answer any more.
pub(super) fn cancelled(id: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"timed out"}}}}"#
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

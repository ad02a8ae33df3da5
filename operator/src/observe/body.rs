//! Reads responses of pods and of Prometheus.

use std::error::Error as _;
use std::fmt::Write as _;

use reqwest::Response;
use serde::de::DeserializeOwned;

/// Parses a JSON body. A body of more than `limit` bytes is an error, because one wrong address
/// must not fill our memory.
pub(super) async fn json<T: DeserializeOwned>(
    mut response: Response,
    limit: usize,
) -> Result<T, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| message(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(format!("the response is longer than {limit} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| format!("failed to parse the response: {error}"))
}

/// The causes of an error in one line. The URL is left out, because tenants can read the message.
pub(super) fn message(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".into();
    }
    let mut text = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let separator = if text.is_empty() { "" } else { ": " };
        let _ = write!(text, "{separator}{cause}"); // writing to a String does not fail
        source = cause.source();
    }
    if text.is_empty() { "the request failed".into() } else { text }
}

//! What comes back from servers that are not the API server: read up to a bound, and errors in words.

use std::error::Error as _;
use std::fmt::Write as _;

use reqwest::Response;
use serde::de::DeserializeOwned;

/// The JSON of an answer. A longer one than `limit` bytes is an error: one wrong address must not fill our memory.
pub(super) async fn json<T: DeserializeOwned>(
    mut response: Response,
    limit: usize,
) -> Result<T, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| words(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(format!("the answer is longer than {limit} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| format!("the answer is not understood: {error}"))
}

/// An error and its causes in one line, without the URL.
pub(super) fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
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

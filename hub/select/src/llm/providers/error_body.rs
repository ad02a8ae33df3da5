//! Parses the body of a response whose status is not 200.

use std::time::Duration;

use mcphub_hub_wire::config::Provider;
use serde_json::Value;

/// What the body says about the error. It contains none of the provider's text but a code, because
/// the text may quote the API key or the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The provider's code, if it is a single word.
    pub code: Option<String>,
    /// The provider rejected the API key.
    pub key_rejected: bool,
    /// The quota is used up, so waiting does not help.
    pub quota_exhausted: bool,
    /// How long the body says to wait.
    pub retry_after: Option<Duration>,
}

/// Parses the body of a response with this status. The result never contains `key`, whatever the
/// provider quotes.
pub fn parse_error_body(provider: Provider, status: u16, body: &[u8], key: &str) -> ErrorBody {
    let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
    // Gemini's OpenAI-compatible API sends a list with one error.
    let error = value.get(0).unwrap_or(&value).get("error").cloned().unwrap_or_default();
    let details = error["details"].as_array().cloned().unwrap_or_default();
    let reason = details.iter().find_map(|detail| detail["reason"].as_str());
    let words = [reason, error["code"].as_str(), error["type"].as_str(), error["status"].as_str()];
    let is = |known: &[&str]| words.iter().flatten().any(|word| known.contains(word));
    ErrorBody {
        code: words.into_iter().flatten().find(|word| is_word(word, key)).map(str::to_owned),
        // Gemini responds with 400 to a wrong key.
        key_rejected: matches!(status, 401 | 403)
            || (provider == Provider::Gemini
                && is(&["API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"])),
        quota_exhausted: status == 402
            || is(&["insufficient_quota", "billing_error", "billing_hard_limit_reached"]),
        retry_after: details.iter().find_map(|detail| seconds(detail["retryDelay"].as_str()?)),
    }
}

/// Whether a code can be shown. It must have only letters and underscores, because keys have
/// digits, and it must not be part of the key.
fn is_word(word: &str, key: &str) -> bool {
    (1..=48).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && !key.contains(word)
        && (key.is_empty() || !word.contains(key))
}

/// Parses a duration like `34.07s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

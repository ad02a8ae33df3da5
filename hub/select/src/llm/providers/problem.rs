//! What an answer that is not 200 says.

use std::time::Duration;

use mcphub_hub_wire::config::Provider;
use serde_json::Value;

/// What an answer that is not 200 says. Nothing of the provider's text is in it: it may quote the key or the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The provider's word for it, where that is one.
    pub code: Option<String>,
    /// The key is refused.
    pub key: bool,
    /// Nothing is left to spend; waiting does not help.
    pub spent: bool,
    /// When to ask again, where the body says so.
    pub wait: Option<Duration>,
}

/// Reads the body of an answer with this status. `key` is left out of what comes back, whatever the provider quotes.
pub fn problem(provider: Provider, status: u16, body: &[u8], key: &str) -> Problem {
    let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
    // Gemini's OpenAI interface answers with a list of one.
    let error = value.get(0).unwrap_or(&value).get("error").cloned().unwrap_or_default();
    let details = error["details"].as_array().cloned().unwrap_or_default();
    let reason = details.iter().find_map(|detail| detail["reason"].as_str());
    let words = [reason, error["code"].as_str(), error["type"].as_str(), error["status"].as_str()];
    let is = |known: &[&str]| words.iter().flatten().any(|word| known.contains(word));
    Problem {
        code: words.into_iter().flatten().find(|word| is_word(word, key)).map(str::to_owned),
        // Gemini says 400 to a wrong key.
        key: matches!(status, 401 | 403)
            || (provider == Provider::Gemini
                && is(&["API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"])),
        spent: status == 402
            || is(&["insufficient_quota", "billing_error", "billing_hard_limit_reached"]),
        wait: details.iter().find_map(|detail| seconds(detail["retryDelay"].as_str()?)),
    }
}

/// Letters and underscores: keys have digits. And nothing that the key has.
fn is_word(word: &str, key: &str) -> bool {
    (1..=48).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && !key.contains(word)
        && (key.is_empty() || !word.contains(key))
}

/// `34.07s`
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

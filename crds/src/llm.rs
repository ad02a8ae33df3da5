//! The language model that selects or categorizes tools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::KeyRef;
use crate::values::Duration;

/// The language model that selects or categorizes tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Llm {
    /// Whose interface it has.
    pub provider: LlmProvider,
    /// Model name.
    #[schemars(length(min = 1, max = 128))]
    pub model: String,
    /// Address; needed for OpenAICompatible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub base_url: Option<String>,
    /// Its key.
    pub api_key_secret_ref: KeyRef,
    /// Longest wait for the answer to a prompt. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// When it is not asked any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Answers that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<LlmCache>,
    /// Most questions at a time. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: Option<u32>,
}

/// Whose interface a language model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LlmProvider {
    /// Google.
    Gemini,
    /// OpenAI.
    OpenAI,
    /// Anthropic.
    Anthropic,
    /// OpenAI's interface at `baseUrl`.
    OpenAICompatible,
}

/// What is asked again; only what is transient.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub max_retries: Option<u32>,
    /// Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Duration>,
    /// Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Duration>,
    /// Each delay is so many times the last. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub backoff_multiplier: Option<u32>,
}

/// When the language model is not asked any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Failures in a row. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: Option<u32>,
    /// Until it is tried again. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_timeout: Option<Duration>,
}

/// Answers that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LlmCache {
    /// For so long. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Ask for categories at start, not when the first caller comes. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prewarm: Option<bool>,
}

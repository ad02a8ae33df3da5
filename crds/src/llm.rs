//! The language model that selects or categorizes tools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::KeyRef;
use crate::values::Duration;

/// The language model that selects or categorizes tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Llm {
    /// The API of the language model.
    pub provider: LlmProvider,
    /// Name of the model.
    #[schemars(length(min = 1, max = 128))]
    pub model: String,
    /// Base URL of the API. Required for OpenAICompatible. If unset, the public URL of the
    /// provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub base_url: Option<String>,
    /// Key of a Secret that has the API key.
    pub api_key_secret_ref: KeyRef,
    /// Maximum time to rank the tools for one prompt, including queueing and retries. Defaults to
    /// 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How failed requests are retried. Only transient failures are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// When the hub stops sending requests to the language model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// How long answers of the language model are cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<LlmCache>,
    /// Maximum number of concurrent requests per hub pod. Defaults to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: Option<u32>,
}

/// The API of a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LlmProvider {
    /// Google Gemini.
    Gemini,
    /// OpenAI.
    OpenAI,
    /// Anthropic.
    Anthropic,
    /// An API like OpenAI's at `baseUrl`.
    OpenAICompatible,
}

/// How failed requests are retried. Only transient failures are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Maximum number of retries of one request. Defaults to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub max_retries: Option<u32>,
    /// Delay before the first retry. Defaults to 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Duration>,
    /// Maximum delay between two retries. Defaults to 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Duration>,
    /// Factor by which the delay grows with each retry. Defaults to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub backoff_multiplier: Option<u32>,
}

/// When the hub stops sending requests to the language model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Number of consecutive failures that opens the circuit breaker. Defaults to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: Option<u32>,
    /// How long the circuit breaker stays open before it lets one request through. Defaults to 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_timeout: Option<Duration>,
}

/// How long answers of the language model are cached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LlmCache {
    /// How long an answer is cached. Defaults to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Whether the hub categorizes tools when it starts, not when its first caller arrives.
    /// Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prewarm: Option<bool>,
}

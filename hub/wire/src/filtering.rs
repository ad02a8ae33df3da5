//! Which tools clients see, and how tools for a prompt are selected.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::header_value::HeaderValue;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Filtering {
    pub mode: FilterMode,
    /// For `ServerAllowlist` and `Hybrid`.
    pub servers: ServerFilter,
    /// In mode `Static`, patterns on the exposed names of the tools that are shown. In every other
    /// mode, patterns on pinned tools, which are listed first if not all tools fit.
    pub static_tools: Vec<String>,
    /// For `Category` and `Hybrid`. Custom mappings apply in every mode.
    pub categories: Categories,
    /// For `Hybrid`.
    pub hybrid: HybridMatch,
    /// For `PromptBased`.
    pub prompt_based: PromptBased,
    /// Fixed subsets of the tools, each at `/mcp/v/<name>`.
    pub views: Vec<View>,
    /// The limit of one list. Tools that do not fit are unlisted; search finds them.
    pub tool_budget: Option<ToolBudget>,
    pub selector: Backend,
    pub golden_questions: Vec<GoldenQuestion>,
    pub llm: Option<Llm>,
}

/// What decides which tools are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FilterMode {
    /// Shows everything.
    #[default]
    None,
    /// The tools of a fixed list.
    Static,
    /// The tools of some servers.
    ServerAllowlist,
    /// The tools of some categories.
    Category,
    /// By server and category.
    Hybrid,
    /// The tools that fit the prompt.
    PromptBased,
}

/// Servers by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFilter {
    /// Empty allows all.
    pub allow: Vec<String>,
    /// Removed from the allowed ones.
    pub deny: Vec<String>,
}

/// Categories of tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Categories {
    pub expose: Vec<String>,
    /// Maps a pattern on exposed names to a category. It takes precedence over built-in categories,
    /// and a longer pattern over a shorter one.
    pub custom: BTreeMap<String, String>,
}

/// How server and category are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HybridMatch {
    /// One of them must match.
    #[default]
    Any,
    /// Both must match.
    All,
}

/// Filtering by prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PromptBased {
    /// What a session lists before its first prompt.
    pub default_exposure: DefaultExposure,
    /// Whether meta-tools are listed.
    pub meta_tools: bool,
    /// Each session has its own additions. Otherwise all sessions of a view share them.
    pub session_isolation: bool,
    /// How many tools a prompt adds at most.
    pub max_tools: u32,
    /// Minimal score, 0 to 1. `None` uses the calibrated floor.
    pub min_score: Option<f64>,
    /// Whether the selector learns from successful calls.
    pub memory: bool,
}

impl Default for PromptBased {
    fn default() -> Self {
        Self {
            default_exposure: DefaultExposure::MetaOnly,
            meta_tools: true,
            session_isolation: true,
            max_tools: 10,
            min_score: None,
            memory: true,
        }
    }
}

/// What a session lists before its first prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DefaultExposure {
    /// Nothing.
    Zero,
    /// The meta-tools.
    #[default]
    MetaOnly,
    /// The pinned tools (`static_tools`) and the meta-tools.
    Minimal,
    /// Everything.
    All,
}

/// A fixed subset of the tools that the hub shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// The last part of its path.
    pub name: String,
    /// Empty selects all.
    pub servers: Vec<String>,
    /// Empty selects all.
    pub categories: Vec<String>,
    /// Patterns on exposed names. Empty selects all.
    pub tools: Vec<String>,
}

/// The limit of one list, including meta-tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolBudget {
    pub max_tools: u32,
    /// Tokens of all names, descriptions and input schemas.
    pub max_tokens: u32,
}

impl Default for ToolBudget {
    fn default() -> Self {
        Self { max_tools: 128, max_tokens: 8000 }
    }
}

/// What ranks tools for a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Backend {
    /// The embedded models; no network needed.
    #[default]
    Embedded,
    /// The language model, with the embedded models as prefilter and fallback.
    Llm,
}

/// A question with the tools that answer it, to measure recall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenQuestion {
    pub query: String,
    /// Exposed names.
    pub tools: Vec<String>,
}

/// A language model. Durations are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Llm {
    pub provider: Provider,
    pub model: String,
    /// The base URL. `None` uses the provider's own.
    #[serde(default)]
    pub base_url: Option<String>,
    pub api_key: HeaderValue,
    /// Timeout of one request.
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
    #[serde(default)]
    pub retry: Retry,
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
    #[serde(default)]
    pub cache: Cache,
    /// Maximum concurrent requests.
    #[serde(default = "five")]
    pub max_concurrent: u32,
}

/// The API of a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    Gemini,
    OpenAI,
    Anthropic,
    /// The API of OpenAI, at `base_url`.
    OpenAICompatible,
}

/// Retries of transient failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Retry {
    /// Attempts after the first one.
    pub max_retries: u32,
    /// The delay before the second attempt.
    pub initial_delay_ms: u64,
    pub max_delay_ms: u64,
    /// The factor between one delay and the next.
    pub backoff_multiplier: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 3,
            initial_delay_ms: 1_000,
            max_delay_ms: 30_000,
            backoff_multiplier: 5,
        }
    }
}

/// When requests to the language model are suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Consecutive failures that open the circuit.
    pub failure_threshold: u32,
    /// How long the circuit stays open.
    pub reset_timeout_ms: u64,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { failure_threshold: 5, reset_timeout_ms: 30_000 }
    }
}

/// The cache of answers of the language model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cache {
    pub ttl_ms: u64,
    /// Whether the cache is filled at start.
    pub prewarm: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self { ttl_ms: 24 * 3_600_000, prewarm: true }
    }
}

/// Allows tools for callers. A tool is allowed if at least one rule matches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessRule {
    /// A CEL expression over `caller`, `tool` and `view`. Empty applies to everybody.
    pub when: String,
    /// Empty selects all.
    pub servers: Vec<String>,
    /// Patterns on exposed names. Empty selects all.
    pub tools: Vec<String>,
}

fn five_seconds() -> u64 {
    5_000
}

fn five() -> u32 {
    5
}

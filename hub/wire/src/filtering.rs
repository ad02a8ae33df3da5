//! Which tools clients see, and how those that fit a prompt are found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::HeaderValue;

/// Which tools clients see.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Filtering {
    /// The rule in force.
    pub mode: FilterMode,
    /// For `ServerAllowlist` and `Hybrid`.
    pub servers: ServerFilter,
    /// For `Static`: patterns on exposed names. In every other mode: what is pinned, so listed first when not all
    /// fits.
    pub static_tools: Vec<String>,
    /// For `Category` and `Hybrid`; custom mappings hold everywhere.
    pub categories: Categories,
    /// For `Hybrid`.
    pub hybrid: HybridMatch,
    /// For `PromptBased`.
    pub prompt_based: PromptBased,
    /// Fixed subsets, each at `/mcp/v/<name>`.
    pub views: Vec<View>,
    /// Most that one list may hold; what does not fit is unlisted, and found by search.
    pub tool_budget: Option<ToolBudget>,
    /// What ranks tools for a prompt.
    pub selector: Backend,
    /// Queries whose tools are known.
    pub golden_questions: Vec<GoldenQuestion>,
    /// The language model.
    pub llm: Option<Llm>,
}

/// The filter rule in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FilterMode {
    /// Everything is shown.
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
    /// What fits the prompt.
    PromptBased,
}

/// Servers by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFilter {
    /// Empty allows all.
    pub allow: Vec<String>,
    /// Taken out again.
    pub deny: Vec<String>,
}

/// Categories of tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Categories {
    /// Categories that are shown.
    pub expose: Vec<String>,
    /// Pattern on exposed names to category; asked before the built-in ones, the longest pattern first.
    pub custom: BTreeMap<String, String>,
}

/// How server and category are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HybridMatch {
    /// One of them is enough.
    #[default]
    Any,
    /// Both.
    All,
}

/// Filtering by prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PromptBased {
    /// What a session shows before its first prompt.
    pub default_exposure: DefaultExposure,
    /// Whether meta-tools are listed.
    pub meta_tools: bool,
    /// Each session has additions of its own; else all sessions of a view share them.
    pub session_isolation: bool,
    /// Most tools that a prompt adds.
    pub max_tools: u32,
    /// Least score, 0 to 1. `None`: the calibrated floor.
    pub min_score: Option<f64>,
    /// Learns from successful calls.
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

/// What a session shows before its first prompt.
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

/// A fixed subset of what the hub shows. It only narrows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// Last part of its path.
    pub name: String,
    /// Servers. Empty: all.
    pub servers: Vec<String>,
    /// Categories. Empty: all.
    pub categories: Vec<String>,
    /// Patterns on exposed names. Empty: all.
    pub tools: Vec<String>,
}

/// Most that one list may hold, meta-tools included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolBudget {
    /// Tools.
    pub max_tools: u32,
    /// Tokens of name, description and input schema of all.
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
    /// In the hub itself; needs no network.
    #[default]
    Embedded,
    /// The language model, with the embedded one as pre-filter and fallback.
    Llm,
}

/// A query whose tools are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenQuestion {
    /// What a user asks.
    pub query: String,
    /// Exposed names of the tools that answer it.
    pub tools: Vec<String>,
}

/// A language model. Durations are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Llm {
    /// Whose interface it has.
    pub provider: Provider,
    /// Model name.
    pub model: String,
    /// Address without the path of the method; `None`: the provider's own.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Its key.
    pub api_key: HeaderValue,
    /// Longest wait for one answer.
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
    /// What is asked again.
    #[serde(default)]
    pub retry: Retry,
    /// When it is not asked any more.
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
    /// Answers that are kept.
    #[serde(default)]
    pub cache: Cache,
    /// Most questions at a time.
    #[serde(default = "five")]
    pub max_concurrent: u32,
}

/// Whose interface a language model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    /// Google.
    Gemini,
    /// OpenAI.
    OpenAI,
    /// Anthropic.
    Anthropic,
    /// OpenAI's interface at `base_url`.
    OpenAICompatible,
}

/// What is asked again; only what is transient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Retry {
    /// Tries after the first.
    pub max_retries: u32,
    /// Before the second try.
    pub initial_delay_ms: u64,
    /// Longest.
    pub max_delay_ms: u64,
    /// Each delay is so many times the last.
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

/// When a language model is not asked any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Failures in a row.
    pub failure_threshold: u32,
    /// Until it is tried again.
    pub reset_timeout_ms: u64,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { failure_threshold: 5, reset_timeout_ms: 30_000 }
    }
}

/// Answers of a language model that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cache {
    /// For so long.
    pub ttl_ms: u64,
    /// Filled at start.
    pub prewarm: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self { ttl_ms: 24 * 3_600_000, prewarm: true }
    }
}

/// Allows tools to callers. In the order of the config; the first that matches allows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessRule {
    /// CEL over `caller`, `tool` and `view`. Empty: everybody.
    pub when: String,
    /// Servers. Empty: all.
    pub servers: Vec<String>,
    /// Patterns on exposed names. Empty: all.
    pub tools: Vec<String>,
}

fn five_seconds() -> u64 {
    5_000
}

fn five() -> u32 {
    5
}

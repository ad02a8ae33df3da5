//! Which tools clients see.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::llm::Llm;
use crate::values::Decimal;

/// Which tools clients see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Filtering {
    /// The rule. Default: None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FilterMode>,
    /// For ServerAllowlist and Hybrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<ServerFilter>,
    /// For Category and Hybrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Categories>,
    /// For Hybrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hybrid: Option<Hybrid>,
    /// For Static. In PromptBased and under a toolBudget: what is pinned, so listed first where not all fits.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticTools>,
    /// For PromptBased; maxTools, minScore and memory hold for search in every mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_based: Option<PromptBased>,
    /// Fixed subsets, each at `/mcp/v/<name>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub views: Vec<View>,
    /// Most that one list may hold, meta-tools included; what does not fit is found by search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_budget: Option<ToolBudget>,
    /// What ranks tools for a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Queries whose tools are known; recall on them is a metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden_questions: Vec<GoldenQuestion>,
    /// The language model that selects or categorizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<Llm>,
}

/// The filter rule in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FilterMode {
    /// Everything is shown.
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServerFilter {
    /// Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub allow: Vec<String>,
    /// Taken out again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub deny: Vec<String>,
}

/// Categories of tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Categories {
    /// Categories that are shown: filesystem, web, search, database, version-control, docker, cloud, development,
    /// communication, other, and those of `custom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub expose: Vec<String>,
    /// Pattern on shown names to category; asked before the built-in ones, the longest pattern first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256, "x-value-length" = 63))]
    pub custom: BTreeMap<String, String>,
}

/// How server and category are joined.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Hybrid {
    /// Whether one of them is enough. Default: Any.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<HybridMatch>,
}

/// Whether server or category is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HybridMatch {
    /// One of them.
    Any,
    /// Both.
    All,
}

/// A fixed list of tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StaticTools {
    /// Patterns with `*` and `?` on shown names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

/// Filtering by prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromptBased {
    /// What a session shows before its first prompt. Default: MetaOnly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_exposure: Option<DefaultExposure>,
    /// Whether meta-tools are shown. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_tools: Option<bool>,
    /// Each session has a list of its own. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_isolation: Option<bool>,
    /// Most tools that a prompt adds. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_tools: Option<u32>,
    /// Least score, 0 to 1. Unset: calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<Decimal>,
    /// Learns from successful calls. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<bool>,
}

/// What a session shows before its first prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DefaultExposure {
    /// Nothing.
    Zero,
    /// The meta-tools.
    MetaOnly,
    /// The tools of `static.tools` and the meta-tools.
    Minimal,
    /// Everything.
    All,
}

/// A fixed subset of what the hub shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// Last part of its path, a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Servers. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub servers: Vec<String>,
    /// Categories. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub categories: Vec<String>,
    /// Patterns on shown names. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

/// Most that one list may hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolBudget {
    /// Tools. Default: 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_tools: Option<u32>,
    /// Tokens of all definitions. Default: 8000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 1_000_000))]
    pub max_tokens: Option<u32>,
}

/// What ranks tools for a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Selector {
    /// Default: Embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<SelectorBackend>,
}

/// Backend that ranks tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SelectorBackend {
    /// In the hub itself; needs no network.
    Embedded,
    /// The language model of `llm`.
    Llm,
}

/// A query whose tools are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct GoldenQuestion {
    /// What a user asks.
    #[schemars(length(min = 1, max = 1024))]
    pub query: String,
    /// Shown names of the tools that answer it.
    #[schemars(length(min = 1, max = 16), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

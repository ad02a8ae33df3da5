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
    /// How tools are filtered. Defaults to None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FilterMode>,
    /// Servers whose tools are shown, for modes ServerAllowlist and Hybrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<ServerFilter>,
    /// Categories of tools, for modes Category and Hybrid and for views.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Categories>,
    /// How mode Hybrid combines servers and categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hybrid: Option<Hybrid>,
    /// The tools of mode Static. With mode PromptBased or a tool budget, these tools are pinned:
    /// they are listed first if not everything fits.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticTools>,
    /// Settings of mode PromptBased. maxTools, minScore and memory apply to search in every mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_based: Option<PromptBased>,
    /// Fixed subsets of the tools. Each is served at `/mcp/v/<name>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub views: Vec<View>,
    /// Limits on the size of one list, including meta-tools. Search finds the tools that do not
    /// fit. If unset, lists are not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_budget: Option<ToolBudget>,
    /// What ranks tools for a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Queries whose right tools are known. Each hub pod exports the share of these tools that it
    /// finds as a metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden_questions: Vec<GoldenQuestion>,
    /// The language model that selects or categorizes tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<Llm>,
}

/// How tools are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FilterMode {
    /// All tools are shown.
    None,
    /// The tools of a fixed list are shown.
    Static,
    /// The tools of some servers are shown.
    ServerAllowlist,
    /// The tools of some categories are shown.
    Category,
    /// Tools are shown by server and category.
    Hybrid,
    /// The tools that fit the prompt are shown.
    PromptBased,
}

/// Servers by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServerFilter {
    /// Names of the servers whose tools are shown. If empty, all servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub allow: Vec<String>,
    /// Names of the servers whose tools are hidden, even if `allow` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub deny: Vec<String>,
}

/// Categories of tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Categories {
    /// Categories that are shown. The built-in categories are filesystem, web, search, database,
    /// version-control, docker, cloud, development, communication and other. `custom` adds more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub expose: Vec<String>,
    /// Maps patterns to categories. Patterns match the names that clients see. They take precedence
    /// over built-in categories, and longer patterns over shorter ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256, "x-value-length" = 63))]
    pub custom: BTreeMap<String, String>,
}

/// How mode Hybrid combines servers and categories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Hybrid {
    /// Whether a tool must match both `servers` and `categories`. Defaults to Any.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<HybridMatch>,
}

/// Whether a tool must match both servers and categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HybridMatch {
    /// The tool must match one of them.
    Any,
    /// The tool must match both.
    All,
}

/// A fixed list of tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StaticTools {
    /// Patterns with `*` and `?` for tools, by the names that clients see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

/// Filtering by prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromptBased {
    /// What a session lists before its first prompt. Defaults to MetaOnly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_exposure: Option<DefaultExposure>,
    /// Whether lists include the meta-tools. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_tools: Option<bool>,
    /// Whether each session has its own list. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_isolation: Option<bool>,
    /// Maximum number of tools that one prompt adds. Defaults to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_tools: Option<u32>,
    /// Minimum score of a tool, from 0 to 1, for example "0.35". If unset, a calibrated value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<Decimal>,
    /// Whether the hub learns from successful calls. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<bool>,
}

/// What a session lists before its first prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DefaultExposure {
    /// No tools.
    Zero,
    /// The meta-tools.
    MetaOnly,
    /// The tools of `static.tools` and the meta-tools.
    Minimal,
    /// All tools.
    All,
}

/// A fixed subset of the tools that the hub shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// Name of the view, a DNS label. It is the last part of the view's path.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Names of the servers whose tools are in the view. If empty, all servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub servers: Vec<String>,
    /// Categories whose tools are in the view. If empty, all categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub categories: Vec<String>,
    /// Patterns with `*` and `?` for the tools in the view, by the names that clients see. If
    /// empty, all tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

/// Limits on the size of one list of tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolBudget {
    /// Maximum number of tools. Defaults to 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_tools: Option<u32>,
    /// Maximum number of tokens of all tool definitions. Defaults to 8000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 1_000_000))]
    pub max_tokens: Option<u32>,
}

/// What ranks tools for a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Selector {
    /// The backend that ranks tools. Defaults to Embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<SelectorBackend>,
}

/// The backend that ranks tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SelectorBackend {
    /// A ranking inside the hub, which needs no network.
    Embedded,
    /// The language model of `llm`.
    Llm,
}

/// A query whose right tools are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct GoldenQuestion {
    /// What a user asks.
    #[schemars(length(min = 1, max = 1024))]
    pub query: String,
    /// The right tools for the query, by the names that clients see.
    #[schemars(length(min = 1, max = 16), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

//! The MCP servers behind a hub.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::remote::Remote;
use crate::values::Duration;

/// One MCP server, either `remote` or `container`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Name of the server, a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A server that runs elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// A server that the operator runs in a Deployment of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Maximum time that the hub waits for an answer. Defaults to 60s. For a container, defaults to
    /// a little more than maxExecutionTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether the hub ignores this server: it does not connect to it and does not show its tools.
    /// Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Which calls share a session with the server, and a process for Stdio. Defaults to
    /// PerPrincipal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Maximum number of concurrent sessions with the server, and of processes for Stdio. Defaults
    /// to 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_processes: Option<u32>,
    /// Prefix of tool names. Clients see a tool as `<toolPrefix>__<tool>`. If unset, the name of
    /// the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub tool_prefix: Option<String>,
    /// Which tools of the server exist, and how clients see them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolRules>,
}

/// Which calls share a session with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// One session per principal and set of client capabilities.
    PerPrincipal,
    /// One session per hub pod.
    Shared,
    /// One session per client session (stateful protocol versions only).
    PerSession,
}

/// Which tools of a server exist, and how clients see them. All names here are the server's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolRules {
    /// Patterns with `*` and `?` for the tools that exist. If empty, all tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub allow: Vec<String>,
    /// Patterns with `*` and `?` for tools that do not exist, even if `allow` matches them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub deny: Vec<String>,
    /// Maps a tool to the name that clients see, without the prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "x-value-length" = 64))]
    pub rename: BTreeMap<String, String>,
    /// Maps a tool to a description that replaces its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256, "x-value-length" = 2048))]
    pub describe: BTreeMap<String, String>,
    /// Maps a tool to the maximum time that the hub waits for its answer, from 100ms to 1h.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub timeout: BTreeMap<String, Duration>,
}

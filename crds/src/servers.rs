//! One MCP server behind the hub.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::remote::Remote;
use crate::values::Duration;

/// One MCP server: `remote` or `container`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Name, a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A server that runs elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// A server that the operator runs in a Deployment of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Longest wait for an answer. Default: 60s; for a container, a bit more than maxExecutionTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Neither connected to nor shown. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Whose calls share a session, and for Stdio a process. Default: PerPrincipal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Most sessions, and for Stdio processes, at a time. Default: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_processes: Option<u32>,
    /// Tools are shown as `<toolPrefix>__<tool>`. Unset: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub tool_prefix: Option<String>,
    /// Which of its tools exist, and how they are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolRules>,
}

/// Whose calls share an upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// One per principal and client capability set.
    PerPrincipal,
    /// One per hub pod.
    Shared,
    /// One per client session (protocol revisions up to 2025-11-25).
    PerSession,
}

/// Which tools of a server exist, and how they are shown. All names are the server's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolRules {
    /// Patterns with `*` and `?`. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub allow: Vec<String>,
    /// Patterns that are taken out again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub deny: Vec<String>,
    /// Tool to the name it is shown under, without prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "x-value-length" = 64))]
    pub rename: BTreeMap<String, String>,
    /// Tool to the description shown instead of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256, "x-value-length" = 2048))]
    pub describe: BTreeMap<String, String>,
    /// Tool to the longest wait for its answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub timeout: BTreeMap<String, Duration>,
}

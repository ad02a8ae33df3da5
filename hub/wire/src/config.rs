//! The compiled config of one revision, which `serve` reads at start. All defaults are filled in.
//! It refers to no Kubernetes object and contains no secret, only the files that secrets are
//! mounted as.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::command::Command;
pub use crate::filtering::{
    AccessRule, Backend, Cache, Categories, CircuitBreaker, DefaultExposure, FilterMode, Filtering,
    GoldenQuestion, HybridMatch, Llm, PromptBased, Provider, Retry, ServerFilter, ToolBudget, View,
};
pub use crate::header_value::HeaderValue;

/// The version of the layout of [`HubConfig`].
pub const SCHEMA: u32 = 1;

/// The config of a hub. Durations are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubConfig {
    /// [`SCHEMA`].
    pub schema: u32,
    /// In the order of the resource. Names and prefixes are unique.
    pub servers: Vec<Server>,
    #[serde(default)]
    pub filtering: Filtering,
    /// Who may see and call what. Without rules, everybody may see and call everything.
    #[serde(default)]
    pub access: Vec<AccessRule>,
    /// Feature flags as in the spec. `dataplane.json` overrides them at run time.
    #[serde(default)]
    pub flags: BTreeMap<String, bool>,
    #[serde(default)]
    pub sessions: Sessions,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub connection_pool: ConnectionPool,
    /// Browser origins that may send requests, besides the same origin.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Host names that requests may name, besides localhost and IP addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// How long `/ready` waits for servers that are still starting.
    #[serde(default = "ten_seconds")]
    pub startup_timeout_ms: u64,
    /// How long a terminating pod keeps its sessions.
    #[serde(default = "five_minutes")]
    pub drain_timeout_ms: u64,
}

/// One upstream MCP server. A container server is a URL too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The name in the resource.
    pub name: String,
    /// Its tools are exposed as `<prefix>__<tool>`. `None` exposes them without prefix, which is
    /// allowed only in a hub with one server.
    pub prefix: Option<String>,
    /// An `http` or `https` URL. Empty if there is a `command`.
    pub url: String,
    /// A stdio server that the hub runs as its own child processes. Only in a hub without
    /// Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    #[serde(default)]
    pub transport: Transport,
    /// Headers that are sent with every request.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// PEM bundle of the certificate authorities to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<String>,
    #[serde(default)]
    pub insecure_skip_verify: bool,
    /// Timeout of one request.
    #[serde(default = "one_minute")]
    pub timeout_ms: u64,
    #[serde(default)]
    pub isolation: Isolation,
    /// Maximum concurrent upstream sessions.
    #[serde(default = "twenty")]
    pub max_sessions: u32,
    /// The hub neither connects to it nor shows it.
    #[serde(default)]
    pub disabled: bool,
    /// Which of its tools exist, and under which names.
    #[serde(default)]
    pub tools: ToolRules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Transport {
    /// Streamable HTTP, stateless or stateful as the server supports it.
    #[default]
    Auto,
    /// Streamable HTTP only.
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

/// A header of requests to an upstream server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    #[serde(flatten)]
    pub value: HeaderValue,
}

/// Whose calls share an upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Isolation {
    /// One per principal and client capability set.
    #[default]
    PerPrincipal,
    /// One per hub pod.
    Shared,
    /// One per downstream session (stateful protocol only).
    PerSession,
}

/// Which tools of a server exist, and under which names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolRules {
    /// Patterns (`*` and `?`) on the server's own tool names. Empty allows all.
    pub allow: Vec<String>,
    /// Patterns that are removed from the allowed ones.
    pub deny: Vec<String>,
    /// Maps an own name to the name that is exposed after the prefix.
    pub rename: BTreeMap<String, String>,
    /// Maps an own name to another description.
    pub describe: BTreeMap<String, String>,
    /// Maps an own name to its timeout, if it differs from that of the server.
    pub timeout_ms: BTreeMap<String, u64>,
}

/// Sessions of the stateful protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Sessions {
    /// A stateful request without a session id gets 400 and is not served statelessly.
    pub require_id: bool,
    /// A session without requests ends after this time.
    pub ttl_ms: u64,
    /// Maximum sessions of one pod. Beyond it, the session that was idle longest ends.
    pub max: u32,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { require_id: false, ttl_ms: 30 * 60_000, max: 10_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    pub max_request_bytes: u64,
    /// Maximum concurrent requests of one pod.
    pub max_concurrent: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_request_bytes: 1 << 20, max_concurrent: 1024 }
    }
}

/// Connections to upstream servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConnectionPool {
    /// How long an idle connection is kept open.
    pub keep_alive_ms: u64,
    /// Maximum idle connections to one host.
    pub max_connections: u32,
}

impl Default for ConnectionPool {
    fn default() -> Self {
        Self { keep_alive_ms: 60_000, max_connections: 50 }
    }
}

fn ten_seconds() -> u64 {
    10_000
}

fn one_minute() -> u64 {
    60_000
}

fn five_minutes() -> u64 {
    300_000
}

fn twenty() -> u32 {
    20
}

//! The compiled config of one revision: what `serve` reads at start. Every default is filled in, nothing refers
//! to a Kubernetes object, and no secret is in it: secrets are named by the file that they are mounted as.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::filtering::{
    AccessRule, Backend, Cache, Categories, CircuitBreaker, DefaultExposure, FilterMode, Filtering,
    GoldenQuestion, HybridMatch, Llm, PromptBased, Provider, Retry, ServerFilter, ToolBudget, View,
};

/// Version of [`HubConfig`]'s layout.
pub const SCHEMA: u32 = 1;

/// All that a hub needs to know. Durations are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubConfig {
    /// [`SCHEMA`].
    pub schema: u32,
    /// In the order of the resource. Names and prefixes are unique.
    pub servers: Vec<Server>,
    /// What clients see.
    #[serde(default)]
    pub filtering: Filtering,
    /// Who may see and call what. None: everybody everything; any: what none allows is denied.
    #[serde(default)]
    pub access: Vec<AccessRule>,
    /// Feature flags as the spec has them; `dataplane.json` overrides them live.
    #[serde(default)]
    pub flags: BTreeMap<String, bool>,
    /// Sessions of the legacy protocol.
    #[serde(default)]
    pub sessions: Sessions,
    /// Bounds on requests.
    #[serde(default)]
    pub limits: Limits,
    /// Connections to upstream servers.
    #[serde(default)]
    pub connection_pool: ConnectionPool,
    /// Browser origins that may call, besides same-origin. Empty: none.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// How long `/ready` waits for servers that are still starting.
    #[serde(default = "ten_seconds")]
    pub startup_timeout_ms: u64,
    /// How long a pod that is going away keeps its sessions.
    #[serde(default = "five_minutes")]
    pub drain_timeout_ms: u64,
}

/// One upstream MCP server. Container servers are already a URL here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Name in the resource.
    pub name: String,
    /// Its tools are exposed as `<prefix>__<tool>`; `None` exposes them bare (a hub with one server).
    pub prefix: Option<String>,
    /// Endpoint, `http` or `https`.
    pub url: String,
    /// How to speak to it.
    #[serde(default)]
    pub transport: Transport,
    /// Sent with every request.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// PEM bundle that its certificate must chain to, instead of the system's.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// Accept any certificate.
    #[serde(default)]
    pub insecure_skip_verify: bool,
    /// Longest wait for an answer.
    #[serde(default = "one_minute")]
    pub timeout_ms: u64,
    /// Whose calls share an upstream session.
    #[serde(default)]
    pub isolation: Isolation,
    /// Most upstream sessions at a time.
    #[serde(default = "twenty")]
    pub max_sessions: u32,
    /// Neither connected to nor shown.
    #[serde(default)]
    pub disabled: bool,
    /// The static part of what is shown of it.
    #[serde(default)]
    pub tools: ToolRules,
}

/// Transport of an upstream server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Transport {
    /// Streamable HTTP, modern or legacy as the server answers.
    #[default]
    Auto,
    /// Streamable HTTP only.
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

/// A header sent upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Header name.
    pub name: String,
    /// Where its value is.
    #[serde(flatten)]
    pub value: HeaderValue,
}

/// Where a header's value is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderValue {
    /// Here; never a credential.
    Value(String),
    /// In this file, read again when it changes; surrounding white space is cut.
    File(String),
}

// A standalone config may have a credential in it, and configs reach logs by `{:?}`.
impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Whose calls share an upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Isolation {
    /// One per principal and client capability set.
    #[default]
    PerPrincipal,
    /// One per hub pod.
    Shared,
    /// One per downstream session (legacy protocol only).
    PerSession,
}

/// Which tools of a server exist, and under which names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolRules {
    /// Patterns (`*` and `?`) on the server's own tool names; empty allows all.
    pub allow: Vec<String>,
    /// Patterns that are taken out again.
    pub deny: Vec<String>,
    /// Own name to exposed name (without prefix).
    pub rename: BTreeMap<String, String>,
    /// Own name to the description shown instead.
    pub describe: BTreeMap<String, String>,
    /// Own name to the longest wait for its answer, where it differs from the server's.
    pub timeout_ms: BTreeMap<String, u64>,
}

/// Sessions of the legacy protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Sessions {
    /// A legacy request without a session id is refused (400), not served statelessly.
    pub require_id: bool,
    /// A session without a request for so long ends.
    pub ttl_ms: u64,
    /// Most sessions in one pod; the one idle longest goes first.
    pub max: u32,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { require_id: false, ttl_ms: 30 * 60_000, max: 10_000 }
    }
}

/// Bounds on requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    /// Longest request body.
    pub max_request_bytes: u64,
    /// Most requests at a time in one pod.
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
    /// An idle connection is kept so long.
    pub keep_alive_ms: u64,
    /// Most idle connections to one host.
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

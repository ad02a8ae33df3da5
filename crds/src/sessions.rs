//! Sessions and the storage of their state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::KeyRef;
use crate::values::Duration;

/// Sessions of clients with a stateful protocol version (up to 2025-11-25).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// Whether a request without a session ID is rejected instead of served without a session.
    /// Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_id: Option<bool>,
    /// Where the state of sessions is stored. Defaults to Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<SessionStore>,
    /// The Redis server, for store Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// How long a session may be without a request before it ends. Defaults to 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

/// Where the state of sessions is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionStore {
    /// In the memory of the hub pod.
    Memory,
    /// In Redis.
    Redis,
}

/// A Redis server with either `url` or `urlSecretRef`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// URL of the server, without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// Key of a Secret that has the URL of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<KeyRef>,
    /// Redis Sentinels that know the current master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// TLS settings for connections to Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,
}

/// Redis Sentinels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sentinel {
    /// Name of the master.
    #[schemars(length(min = 1, max = 128))]
    pub master_name: String,
    /// Addresses of the Sentinels, each as host:port.
    #[schemars(length(min = 1, max = 9))]
    pub nodes: Vec<String>,
    /// Key of a Secret that has the password of the Sentinels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<KeyRef>,
}

/// TLS settings for connections to Redis.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisTls {
    /// Key of a Secret that has a PEM bundle of CA certificates. If unset, the CA certificates of
    /// the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<KeyRef>,
    /// Whether the hub accepts any certificate. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

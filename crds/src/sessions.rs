//! Sessions and where their state is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::KeyRef;
use crate::values::Duration;

/// Sessions of the protocol revisions up to 2025-11-25.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// A request without a session id is refused, not served statelessly. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_id: Option<bool>,
    /// Where their state is. Default: Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<SessionStore>,
    /// For Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// A session without a request for so long ends. Default: 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

/// Where the state of sessions is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionStore {
    /// In the hub pod.
    Memory,
    /// In Redis.
    Redis,
}

/// A Redis server: `url` or `urlSecretRef`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// Its address, without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// Its address in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<KeyRef>,
    /// Sentinels that name the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// Encryption.
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
    /// Sentinels, as host:port.
    #[schemars(length(min = 1, max = 9))]
    pub nodes: Vec<String>,
    /// Their password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<KeyRef>,
}

/// Encryption towards Redis.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisTls {
    /// PEM bundle that the certificate must chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<KeyRef>,
    /// Accept any certificate. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

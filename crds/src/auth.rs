//! Who may call, and what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::LocalRef;

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// What a caller must show. Default: None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    /// For ApiKey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// For Jwt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// Published for clients (RFC 9728).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_metadata: Option<ResourceMetadata>,
}

/// What a caller must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AuthMode {
    /// Nothing.
    None,
    /// A key of `apiKeys`.
    ApiKey,
    /// A token as in `jwt`.
    Jwt,
}

/// Keys of callers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// Secret with one hashed key per caller.
    pub secret_ref: LocalRef,
}

/// Tokens of callers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// Who issues them.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// One of these must be named in the token.
    #[schemars(length(min = 1, max = 16), inner(length(max = 2048)))]
    pub audiences: Vec<String>,
    /// The issuer's keys. Unset: found through the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub jwks_url: Option<String>,
    /// Scopes that a token must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub required_scopes: Vec<String>,
}

/// Protected resource metadata (RFC 9728).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceMetadata {
    /// Authorization servers. Unset: the issuer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 2048)))]
    pub authorization_servers: Vec<String>,
    /// Scopes that clients may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub scopes_supported: Vec<String>,
    /// Page for developers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub documentation: Option<String>,
}

/// Who may see and call what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AccessRule {
    /// CEL over `caller`, `tool` and `view`.
    #[schemars(length(min = 1, max = 1024))]
    pub when: String,
    /// Servers. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub servers: Vec<String>,
    /// Patterns on shown names. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

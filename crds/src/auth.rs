//! How callers authenticate, and which tools they may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::LocalRef;

/// How callers authenticate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// What callers must present. Defaults to None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    /// API keys of callers, for mode ApiKey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// Tokens of callers, for mode Jwt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// Protected resource metadata that the hub publishes for clients (RFC 9728).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_metadata: Option<ResourceMetadata>,
}

/// What callers must present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AuthMode {
    /// Nothing. All callers are anonymous.
    None,
    /// A key from `apiKeys`.
    ApiKey,
    /// A token that `jwt` accepts.
    Jwt,
}

/// API keys of callers.
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
    /// Issuer of the tokens, as in their claim `iss`.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// Accepted audiences. A token must have at least one of them.
    #[schemars(length(min = 1, max = 16), inner(length(max = 2048)))]
    pub audiences: Vec<String>,
    /// URL of the issuer's public keys. If unset, it is discovered from the issuer.
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
    /// Authorization servers. If empty, the issuer of `jwt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 2048)))]
    pub authorization_servers: Vec<String>,
    /// Scopes that clients may request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub scopes_supported: Vec<String>,
    /// URL of a page for developers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub documentation: Option<String>,
}

/// Allows some callers to see and call some tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AccessRule {
    /// CEL expression over `caller`, `tool` and `view`. The rule applies if it is true. A rule that
    /// fails to evaluate allows nothing.
    #[schemars(length(min = 1, max = 1024))]
    pub when: String,
    /// Names of the servers whose tools the rule allows. If empty, all servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63)))]
    pub servers: Vec<String>,
    /// Patterns with `*` and `?` for the tools that the rule allows, by the names that clients see.
    /// If empty, all tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 128)))]
    pub tools: Vec<String>,
}

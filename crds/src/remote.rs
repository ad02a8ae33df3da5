//! MCP servers that run elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::KeyRef;

/// An MCP server that runs elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// URL of the server's MCP endpoint.
    #[schemars(length(max = 2048))]
    pub url: String,
    /// Transport that the hub uses. Defaults to Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<RemoteTransport>,
    /// How the hub authenticates to the server. Defaults to Static.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<RemoteAuth>,
    /// Headers that the hub sends with every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
    /// How the hub verifies the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RemoteTls>,
}

/// Transport of a remote server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RemoteTransport {
    /// Streamable HTTP with the protocol version that the server answers with.
    Auto,
    /// Streamable HTTP.
    StreamableHttp,
    /// HTTP+SSE of protocol version 2024-11-05.
    Sse,
}

/// How the hub authenticates to a remote server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RemoteAuth {
    /// With the credentials in `headers`.
    Static,
    /// With OAuth 2 client credentials.
    ClientCredentials,
    /// With OAuth 2 token exchange (RFC 8693).
    TokenExchange,
    /// With the credentials of each user.
    PerUser,
}

/// A header with either `value` or `valueFrom`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Name of the header.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub name: String,
    /// Value of the header. It must not be a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Source of the header's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueFrom {
    /// Key of a Secret. The hub reads it again when it changes.
    pub secret_key_ref: KeyRef,
}

/// How the hub verifies the certificate of a remote server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteTls {
    /// Key of a Secret that has a PEM bundle of CA certificates. If unset, the CA certificates of
    /// the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<KeyRef>,
    /// Whether the hub accepts any certificate. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

//! An MCP server that the operator runs.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Volume, VolumeMount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pods::Resources;
use crate::shaped::PodShaped;
use crate::values::Duration;

/// An MCP server that the operator runs in a Deployment of its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Image with the server inside.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Program and first arguments. Needed for Stdio.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments after `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// What the server speaks. Default: Stdio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<ContainerTransport>,
    /// Port it listens on (Http).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path of its MCP endpoint (Http). Default: /mcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = "^/[A-Za-z0-9._~/-]*$"))]
    pub path: Option<String>,
    /// Environment, as in a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<PodShaped<EnvVar>>,
    /// Environment from Secrets and ConfigMaps, as in a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env_from: Vec<PodShaped<EnvFromSource>>,
    /// Volumes, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<PodShaped<Volume>>,
    /// Where they are mounted, as in a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volume_mounts: Vec<PodShaped<VolumeMount>>,
    /// Pods (Http; a Stdio server has one). Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<u32>,
    /// How its Deployment is updated. Recreate for a ReadWriteOnce volume. Default: RollingUpdate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Requests and limits. Default: limits.memory 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Longest tool call. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_execution_time: Option<Duration>,
    /// A process without a call for so long is stopped; the next call starts it (Stdio). Default: 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// How it is confined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// Where it may connect to. Default: nowhere but DNS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub egress: Vec<Egress>,
}

/// What a container server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ContainerTransport {
    /// MCP over standard input and output; `mcp-hub bridge` is copied in.
    Stdio,
    /// Streamable HTTP.
    Http,
}

/// How a Deployment is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// New pods first.
    RollingUpdate,
    /// Old pods go first.
    Recreate,
}

/// How a container server is confined.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// RuntimeClass, such as gvisor. Unset: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// RuntimeDefault, Unconfined or Localhost/FILE. Default: RuntimeDefault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(RuntimeDefault|Unconfined|Localhost/.+)$"))]
    pub seccomp_profile: Option<String>,
    /// RuntimeDefault, Unconfined or Localhost/PROFILE. Unset: what the node does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(RuntimeDefault|Unconfined|Localhost/.+)$"))]
    pub app_armor_profile: Option<String>,
    /// /tmp and HOME stay writable. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// User id. Default: 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
}

/// One place that a container server may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Network, as in 192.0.2.0/24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cidr: Option<String>,
    /// Host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// TCP ports. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
}

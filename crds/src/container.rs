//! MCP servers that the operator runs.

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
    /// Image that contains the MCP server.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Program and its first arguments. Required for transport Stdio. If empty, the entrypoint of
    /// the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments after `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// How the server speaks MCP. Defaults to Stdio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<ContainerTransport>,
    /// Port that the server listens on. Required for transport Http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path of the MCP endpoint, for transport Http. Defaults to /mcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = "^/[A-Za-z0-9._~/-]*$"))]
    pub path: Option<String>,
    /// Environment variables, as in a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<PodShaped<EnvVar>>,
    /// Sources of environment variables (Secrets and ConfigMaps), as in a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env_from: Vec<PodShaped<EnvFromSource>>,
    /// Volumes, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<PodShaped<Volume>>,
    /// Where `volumes` are mounted, as in a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volume_mounts: Vec<PodShaped<VolumeMount>>,
    /// Number of pods. A Stdio server always has one. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<u32>,
    /// How the server's Deployment replaces its pods. Use Recreate for a ReadWriteOnce volume.
    /// Defaults to RollingUpdate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Resource requests and limits, as in a container. Defaults to a memory limit of 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Maximum duration of one tool call. Defaults to 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_execution_time: Option<Duration>,
    /// How long a Stdio process may be without a call before the bridge stops it. The next call
    /// starts it again. Defaults to 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Security settings of the server's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// Networks that the server may connect to. If empty, only DNS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub egress: Vec<Egress>,
}

/// How a container server speaks MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ContainerTransport {
    /// MCP over standard input and output. The operator copies `mcp-hub bridge` into the pod.
    Stdio,
    /// Streamable HTTP.
    Http,
}

/// How a Deployment replaces its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// New pods start before old pods stop.
    RollingUpdate,
    /// Old pods stop before new pods start.
    Recreate,
}

/// Security settings of a container server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// RuntimeClass of the pods, for example gvisor. If unset, the default of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Seccomp profile: RuntimeDefault, Unconfined or Localhost/FILE. Defaults to RuntimeDefault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(RuntimeDefault|Unconfined|Localhost/.+)$"))]
    pub seccomp_profile: Option<String>,
    /// AppArmor profile: RuntimeDefault, Unconfined or Localhost/PROFILE. If unset, the default of
    /// the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(RuntimeDefault|Unconfined|Localhost/.+)$"))]
    pub app_armor_profile: Option<String>,
    /// Whether the root file system is read-only. /tmp and HOME stay writable. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// Whether the kubelet refuses to run the container as root. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// User ID of the process. Defaults to 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
}

/// One network or host that a container server may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Network in CIDR notation, for example 192.0.2.0/24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cidr: Option<String>,
    /// Host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// TCP ports. If empty, all ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
}

//! The root of the resource.
#![allow(clippy::duplicated_attributes, reason = "printer columns share their type")]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::{AccessRule, Auth};
use crate::expose::{Expose, NetworkPolicy};
use crate::filtering::Filtering;
use crate::flags::FeatureFlags;
use crate::monitoring::Monitoring;
use crate::pods::{Autoscaling, ImagePullPolicy, PodTemplate, Resources, Router, UpgradePolicy};
use crate::refs::LocalRef;
use crate::rollout::Rollout;
use crate::servers::Server;
use crate::sessions::Sessions;
use crate::status::McpHubStatus;
use crate::traffic::{ConnectionPool, Limits};
use crate::values::Duration;

/// A hub: one MCP endpoint in front of many MCP servers.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "mcphub.dev",
    version = "v1alpha1",
    kind = "McpHub",
    plural = "mcphubs",
    shortname = "hub",
    category = "all",
    namespaced,
    status = "McpHubStatus",
    derive = "PartialEq",
    derive = "Default",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "STABLE", type_ = "string", json_path = ".status.stable.revision"),
    printcolumn(name = "CANARY", type_ = "string", json_path = ".status.canary.revision"),
    printcolumn(name = "WEIGHT", type_ = "integer", json_path = ".status.canary.weight"),
    printcolumn(name = "STEP", type_ = "integer", json_path = ".status.canary.step"),
    printcolumn(name = "SERVERS", type_ = "string", json_path = ".status.serversReady"),
    printcolumn(name = "TOOLS", type_ = "integer", json_path = ".status.tools"),
    printcolumn(
        name = "READY",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "ENDPOINT", type_ = "string", priority = 1, json_path = ".status.endpoint"),
    printcolumn(
        name = "IMAGE",
        type_ = "string",
        priority = 1,
        json_path = ".status.stable.image"
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct McpHubSpec {
    // --- what runs
    /// Image of the hub. If unset, the image that the operator was configured with when the
    /// revision was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What an upgrade of the operator does to this hub. Defaults to NextRevision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_policy: Option<UpgradePolicy>,
    /// When the kubelet pulls the hub image. Defaults to IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets with the credentials of private registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// Number of hub pods. An autoscaler sets it through the scale subresource.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: u32,
    /// Creates a HorizontalPodAutoscaler for this hub. If unset, the number of pods is `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Resource requests and limits of the hub container, as in a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels, annotations and scheduling of the hub pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// The router in front of the hub pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,

    // --- the MCP servers
    /// The MCP servers behind this hub. This is a list whose entries have a name, not a map as
    /// `mcpServers` in the files of other programs.
    #[schemars(length(min = 1, max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub servers: Vec<Server>,

    // --- what clients see
    /// Which tools clients see. If unset, they see all tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtering: Option<Filtering>,
    /// Switches that take effect while pods run. They are part of a revision, and a rollback
    /// restores them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_flags: Option<FeatureFlags>,

    // --- state, security, limits
    /// Sessions of clients with a stateful protocol version (up to 2025-11-25).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Sessions>,
    /// How callers authenticate. If unset, all callers are anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whether the hub rewrites tool schemas that large vendors reject. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_compat: Option<bool>,
    /// How long a starting pod waits for its servers before it becomes Ready. Defaults to 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_timeout: Option<Duration>,
    /// Rules that say which callers may see and call which tools. If empty, every caller may use
    /// every tool. Otherwise, a caller may use only what a rule allows. Until `auth` is supported,
    /// all callers are anonymous and `caller` is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub access: Vec<AccessRule>,
    /// Limits on requests of clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Connections from hub pods to the MCP servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// How clients reach the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// Browser origins that may call the hub, for example https://app.example.com. If empty, no
    /// web page may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub allowed_origins: Vec<String>,
    /// Host names by which clients reach the hub, for example mcp.example.com of an Ingress. The
    /// names of the Service, localhost and IP addresses are always allowed. A request with another
    /// Host is refused, because a web page could send it (DNS rebinding).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub allowed_hosts: Vec<String>,
    /// NetworkPolicies for the objects of this hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,

    // --- how it changes
    /// How a change is rolled out, judged and rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Objects for Prometheus and Grafana, and notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
}

fn two() -> u32 {
    2
}

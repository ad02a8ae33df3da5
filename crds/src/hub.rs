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
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct McpHubSpec {
    // --- what runs
    /// Hub image. Unset: the one that came with the operator when the revision was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What an operator upgrade does to this hub. Default: NextRevision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_policy: Option<UpgradePolicy>,
    /// When the hub image is pulled. Default: IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets for private registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// Hub pods. Written by an autoscaler through the scale subresource.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: u32,
    /// Lets the operator make a HorizontalPodAutoscaler for this hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Requests and limits of the hub container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What else the hub pods carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// The router in front of the hub pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,

    // --- the MCP servers
    /// The MCP servers behind this hub.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub servers: Vec<Server>,

    // --- what clients see
    /// Which tools clients see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtering: Option<Filtering>,
    /// Switches that change while pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_flags: Option<FeatureFlags>,

    // --- state, security, limits
    /// Sessions of the protocol revisions up to 2025-11-25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Sessions>,
    /// Who may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Rewrites tool schemas that large vendors refuse. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_compat: Option<bool>,
    /// How long a starting pod waits for its servers. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_timeout: Option<Duration>,
    /// Who may see and call what. Empty: everybody everything; else only what a rule allows. Callers are anonymous
    /// until `auth` works: `caller` is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub access: Vec<AccessRule>,
    /// Bounds on requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Connections to the MCP servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// How the hub is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// Browser origins that may call. Default: none but the same origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub allowed_origins: Vec<String>,
    /// NetworkPolicies made for this hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,

    // --- how it changes
    /// How a change is tried, judged and taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Objects made for Prometheus and Grafana, and notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
}

fn two() -> u32 {
    2
}

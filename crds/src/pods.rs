//! How the hub and router pods look.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, ResourceRequirements, Toleration, TopologySpreadConstraint,
    Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shaped::{PodShaped, Shape};

/// Requests and limits of a container.
pub type Resources = PodShaped<ResourceRequirements>;

impl Shape for Affinity {
    const NAME: &'static str = "Affinity";
}

impl Shape for EnvFromSource {
    const NAME: &'static str = "EnvFromSource";
}

impl Shape for EnvVar {
    const NAME: &'static str = "EnvVar";
    const REQUIRED: &'static [&'static str] = &["name"];
    const OPTIONAL: &'static [(&'static str, u32)] = &[("value", 32_768)];
}

impl Shape for Toleration {
    const NAME: &'static str = "Toleration";
}

impl Shape for TopologySpreadConstraint {
    const NAME: &'static str = "TopologySpreadConstraint";
}

impl Shape for Volume {
    const NAME: &'static str = "Volume";
    const REQUIRED: &'static [&'static str] = &["name"];
}

impl Shape for VolumeMount {
    const NAME: &'static str = "VolumeMount";
    const REQUIRED: &'static [&'static str] = &["mountPath", "name"];
}

impl Shape for ResourceRequirements {
    const NAME: &'static str = "ResourceRequirements";

    // `cpu: 1` is a number in YAML; Kubernetes takes it, the typed quantity is text.
    fn normalize(value: &mut Value) {
        for side in ["limits", "requests"] {
            for quantity in value
                .get_mut(side)
                .and_then(Value::as_object_mut)
                .into_iter()
                .flat_map(|map| map.values_mut())
            {
                if let Value::Number(number) = quantity {
                    *quantity = Value::String(number.to_string());
                }
            }
        }
    }
}

/// What an operator upgrade does to a running hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePolicy {
    /// Nothing: what the new operator renders differently comes with the next revision.
    NextRevision,
    /// A canaried rollout.
    Rollout,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// Where the node does not have it.
    IfNotPresent,
    /// Never; the node has it.
    Never,
}

impl ImagePullPolicy {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A HorizontalPodAutoscaler, aimed at the McpHub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Fewest hub pods. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<u32>,
    /// Most hub pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u32,
    /// Percent of the requested CPU that is aimed at. Default: 80.
    #[serde(default, rename = "targetCPUUtilization", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_utilization: Option<u32>,
}

/// What the hub pods carry besides what the operator puts there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels; not under `app.kubernetes.io/` or `mcphub.dev/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<PodShaped<Toleration>>,
    /// Affinity, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<PodShaped<Affinity>>,
    /// Spread over nodes and zones, as in a pod. Unset: over nodes, as far as possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<PodShaped<TopologySpreadConstraint>>,
    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// ServiceAccount of the pods. Unset: one that the operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// The router, which splits traffic between revisions and keeps sessions where they are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    /// Router pods. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<u32>,
    /// Requests and limits of the router container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Networks whose `X-Forwarded-For` is believed, as CIDR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub trusted_proxies: Vec<String>,
}

//! Hub and router pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, ResourceRequirements, Toleration, TopologySpreadConstraint,
    Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shaped::{PodShaped, Shape};

/// Resource requests and limits of a container.
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

    // Kubernetes accepts `cpu: 1`, which is a number in YAML, but the type Quantity only parses
    // strings.
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

/// What an upgrade of the operator does to a running hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePolicy {
    /// Nothing. Changes of the new operator come with the next revision.
    NextRevision,
    /// A rollout with a canary.
    Rollout,
}

/// When the kubelet pulls an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start of a container.
    Always,
    /// If the node does not have the image.
    IfNotPresent,
    /// Never. The node must have the image.
    Never,
}

impl ImagePullPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A HorizontalPodAutoscaler that scales the McpHub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Minimum number of hub pods. Defaults to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<u32>,
    /// Maximum number of hub pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u32,
    /// Target average CPU utilization, in percent of the requested CPU. Defaults to 80.
    #[serde(default, rename = "targetCPUUtilization", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_utilization: Option<u32>,
}

/// Labels, annotations and scheduling of the hub pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels of the pods. The prefixes `app.kubernetes.io/` and `mcphub.dev/` are reserved for the
    /// operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods. The prefixes `mcphub.dev/` and `prometheus.io/` are reserved for
    /// the operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<PodShaped<Toleration>>,
    /// Affinity, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<PodShaped<Affinity>>,
    /// How the pods spread over nodes and zones, as in a pod. If empty, over nodes where possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<PodShaped<TopologySpreadConstraint>>,
    /// Name of the PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Name of the ServiceAccount of the pods. If unset, the operator creates one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// The router, which splits traffic between revisions and keeps each session on its pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    /// Number of router pods. Defaults to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<u32>,
    /// Resource requests and limits of the router container, as in a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Networks of proxies whose `X-Forwarded-For` header the router trusts, in CIDR notation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub trusted_proxies: Vec<String>,
}

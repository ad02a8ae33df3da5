//! Objects for Prometheus and Grafana, and notifications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Objects for Prometheus and Grafana, and notifications.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether the operator creates a ServiceMonitor. Defaults to Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_monitor: Option<Toggle>,
    /// Whether the operator creates a PrometheusRule with alerts. Defaults to Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_rule: Option<Toggle>,
    /// Whether the operator creates a ConfigMap with a dashboard. Defaults to Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grafana_dashboard: Option<Toggle>,
    /// Notifications about this hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub notify: Vec<Notify>,
}

/// Whether the operator creates an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Toggle {
    /// The object is created if the cluster has its kind.
    Auto,
    /// The object is created.
    On,
    /// The object is not created.
    Off,
}

/// A notification target and the occasions it is notified of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Notify {
    /// Name of the target in the operator's configuration.
    #[schemars(length(min = 1, max = 63))]
    pub target: String,
    /// Occasions that the target is notified of. If empty, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub on: Vec<Occasion>,
}

/// What a target can be notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Occasion {
    /// A rollout has started.
    Started,
    /// The share of traffic has changed.
    WeightChanged,
    /// A revision has become stable.
    Promoted,
    /// A rollout waits by itself.
    Held,
    /// A rollout waits for a person.
    Paused,
    /// A revision was rolled back.
    RolledBack,
    /// Feature flags were rolled back.
    FlagsRolledBack,
    /// A first deployment has failed.
    Failed,
}

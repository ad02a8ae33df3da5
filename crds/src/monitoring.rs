//! Objects for Prometheus and Grafana, and notifications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Objects for Prometheus and Grafana, and notifications.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// ServiceMonitor. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_monitor: Option<Toggle>,
    /// PrometheusRule with alerts. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_rule: Option<Toggle>,
    /// ConfigMap with a dashboard. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grafana_dashboard: Option<Toggle>,
    /// Who is told what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub notify: Vec<Notify>,
}

/// Whether an object is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Toggle {
    /// Where the cluster knows its kind.
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// A notification target and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Notify {
    /// Name that the administrator gave it.
    #[schemars(length(min = 1, max = 63))]
    pub target: String,
    /// What it is told. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub on: Vec<Occasion>,
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Occasion {
    /// A rollout began.
    Started,
    /// The share of traffic changed.
    WeightChanged,
    /// A revision is the stable one now.
    Promoted,
    /// A rollout waits by itself.
    Held,
    /// A rollout waits for a person.
    Paused,
    /// A revision was rolled back.
    RolledBack,
    /// Feature flags were set back.
    FlagsRolledBack,
    /// A first deployment never worked.
    Failed,
}

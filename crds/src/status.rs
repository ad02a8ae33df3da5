//! What the operator reports. Derived from what the API server acknowledged; deleted by hand, it comes back.
//! No bounds here: a message that is too long must not keep all of status from being written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Duration;

/// What the operator reports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpHubStatus {
    /// The generation of the spec that all of this describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the hub is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Ready, Reconciling, Stalled, Accepted, Available, RolledBack, ServersReady.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The revision that serves what the canary does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableStatus>,
    /// The revision that is being tried, or was rolled back last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// Rules while a rollout, guard or hold runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleStatus>,
    /// Feature flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<FlagStatus>,
    /// MCP servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerStatus>,
    /// Ready servers of all enabled ones, as in 3/4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers_ready: Option<String>,
    /// Tools of all ready servers, before filtering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<u32>,
    /// What became of the last revisions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// Hub pods that are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Selects all serving pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Address of the MCP endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Where a hub is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// First deployment, nothing serves yet.
    Initializing,
    /// A canary walks its steps.
    Progressing,
    /// Promoted; the old revision is kept warm.
    Guard,
    /// A first deployment that never worked.
    Failed,
    /// A rollout that waits by itself.
    Holding,
    /// A rollout that waits for a person.
    Paused,
    /// The last revision was rolled back; stable serves.
    RolledBack,
    /// What the spec asks for serves.
    Healthy,
    /// The spec cannot be done; the condition Accepted says why.
    NotAccepted,
    /// A phase that a newer operator knows.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl Phase {
    /// As in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "Initializing",
            Self::Progressing => "Progressing",
            Self::Guard => "Guard",
            Self::Failed => "Failed",
            Self::Holding => "Holding",
            Self::Paused => "Paused",
            Self::RolledBack => "RolledBack",
            Self::Healthy => "Healthy",
            Self::NotAccepted => "NotAccepted",
            Self::Unknown => "Unknown",
        }
    }
}

/// The revision that serves what the canary does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StableStatus {
    /// Its hash.
    pub revision: String,
    /// Its image.
    pub image: String,
    /// When it became stable.
    pub since: Time,
}

/// The revision that is being tried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Its hash.
    pub revision: String,
    /// Its image.
    pub image: String,
    /// How often it was tried, this time included.
    pub attempt: u32,
    /// Step it is at, from 1; 0 before the first.
    pub step: u32,
    /// Percent of new sessions and principals it gets.
    pub weight: u8,
    /// Observed time at this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_observed: Option<Duration>,
    /// Time that the step asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_required: Option<Duration>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<Holding>,
}

/// What a rollout waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holding {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Time,
}

/// Why a rollout waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HoldReason {
    /// A promotion gate is not met.
    GateNotMet,
    /// Too few samples on the canary, or none.
    TooFewSamples,
    /// Prometheus has no usable answer.
    NoData,
    /// Prometheus cannot be reached or answers with an error.
    ProviderDown,
    /// A node went away under the canary.
    NodeLost,
    /// A canary pod fits on no node.
    Unschedulable,
    /// A reason that a newer operator knows.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// One rule, as it was judged last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// On the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// On stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_value: Option<String>,
    /// On the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// What follows from it.
    pub verdict: RuleVerdict,
    /// Start of the breach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breached_since: Option<Time>,
}

/// What follows from a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RuleVerdict {
    /// Gate met, no breach.
    Good,
    /// Gate not met, no breach.
    GateNotMet,
    /// Beyond the rollback threshold.
    Breach,
    /// Below minSamples.
    TooFewSamples,
    /// No usable answer.
    NoData,
    /// Prometheus is down.
    ProviderDown,
    /// The rule cannot apply to this hub.
    NotApplicable,
    /// A verdict that a newer operator knows.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// One feature flag.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagStatus {
    /// Its name.
    pub name: String,
    /// As in the spec.
    pub spec: bool,
    /// As obeyed.
    pub effective: bool,
    /// Set back by a rollback.
    pub rolled_back: bool,
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// Connected.
    pub ready: bool,
    /// Tools that it lists.
    pub tools: u32,
    /// What to do next, where it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// Its hash.
    pub revision: String,
    /// Which attempt of it, from 1: what an intent names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Its image.
    pub image: String,
    /// What became of it.
    pub result: RevisionResult,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Time,
}

/// What became of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RevisionResult {
    /// Became stable.
    Promoted,
    /// Lost its traffic to stable.
    RolledBack,
    /// A newer spec came.
    Replaced,
    /// A person ended it.
    Aborted,
    /// Never worked.
    Failed,
    /// A result that a newer operator knows.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl RevisionResult {
    /// As in status and in the ControllerRevision's annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "Promoted",
            Self::RolledBack => "RolledBack",
            Self::Replaced => "Replaced",
            Self::Aborted => "Aborted",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

//! What the operator reports.
//!
//! The status is derived from what the API server acknowledged. If somebody deletes it, the
//! operator writes it again. Its fields have no maximum length, because a long message must not
//! keep the whole status from being written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Duration;

/// What the operator reports about the hub.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpHubStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the hub is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The conditions Ready, Reconciling, Stalled, Accepted, Available, RolledBack and
    /// ServersReady.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The revision that serves all traffic that the canary does not get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableStatus>,
    /// The revision that is being tried, or that was rolled back last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// The rules, while a rollout, guard or hold is in progress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleStatus>,
    /// The feature flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<FlagStatus>,
    /// The MCP servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerStatus>,
    /// Number of ready servers and of enabled servers, for example 3/4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers_ready: Option<String>,
    /// Number of tools that clients see, after filtering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<u32>,
    /// What in the spec has no effect, such as a filter that fits no tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Results of the last revisions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// Number of hub pods that the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Label selector of all serving pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// URL of the MCP endpoint inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Where a hub is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The first deployment is in progress. Nothing serves yet.
    Initializing,
    /// A canary goes through its steps.
    Progressing,
    /// The canary was promoted. The old revision is kept warm.
    Guard,
    /// The first deployment has failed.
    Failed,
    /// A rollout waits by itself.
    Holding,
    /// A rollout waits for a person.
    Paused,
    /// The last revision was rolled back. Stable serves.
    RolledBack,
    /// The revision of the spec serves.
    Healthy,
    /// The spec is invalid. The condition Accepted has the reason.
    NotAccepted,
    /// A phase of a newer operator.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl Phase {
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

/// The stable revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StableStatus {
    /// Hash of the revision.
    pub revision: String,
    /// Image of the revision.
    pub image: String,
    /// When the revision became stable.
    pub since: Time,
}

/// The canary revision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Hash of the revision.
    pub revision: String,
    /// Image of the revision.
    pub image: String,
    /// Number of this attempt of the revision, from 1.
    pub attempt: u32,
    /// Number of the current step, from 1. 0 before the first step.
    pub step: u32,
    /// Percent of new sessions and principals that the canary gets, from 0 to 100.
    pub weight: u8,
    /// Time observed so far at the current step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_observed: Option<Duration>,
    /// Time that the current step requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_required: Option<Duration>,
    /// What the rollout waits for. Unset if it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<Holding>,
}

/// What a rollout waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holding {
    /// Why the rollout waits.
    pub reason: HoldReason,
    /// When the wait started.
    pub since: Time,
}

/// Why a rollout waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HoldReason {
    /// A promotion gate is not met.
    GateNotMet,
    /// The canary has too few samples, or none.
    TooFewSamples,
    /// Prometheus has no usable data.
    NoData,
    /// Prometheus cannot be reached or answers with an error.
    ProviderDown,
    /// A node with a canary pod was lost.
    NodeLost,
    /// A canary pod cannot be scheduled.
    Unschedulable,
    /// Pods of the canary are gone or not Ready in the middle of a bake.
    PodsMissing,
    /// A router has not applied the weight yet, or cannot be asked.
    RoutersLag,
    /// A reason of a newer operator.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The last verdict on one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// Name of the rule.
    pub name: String,
    /// Value on the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Value on stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_value: Option<String>,
    /// Number of samples on the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// What the rule says about the canary.
    pub verdict: RuleVerdict,
    /// When the breach started. Unset if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breached_since: Option<Time>,
}

/// What a rule says about a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RuleVerdict {
    /// The gate is met and there is no breach.
    Good,
    /// The gate is not met and there is no breach.
    GateNotMet,
    /// The value is beyond the rollback threshold.
    Breach,
    /// There are fewer samples than minSamples.
    TooFewSamples,
    /// Prometheus has no usable data.
    NoData,
    /// Prometheus cannot be reached or answers with an error.
    ProviderDown,
    /// The rule does not apply to this hub.
    NotApplicable,
    /// The canary's warmup is not over, so nothing is judged yet.
    WarmingUp,
    /// A verdict of a newer operator.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// One feature flag.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagStatus {
    /// Name of the flag.
    pub name: String,
    /// Value in the spec.
    pub spec: bool,
    /// Value that pods use.
    pub effective: bool,
    /// Whether a rollback has set the flag.
    pub rolled_back: bool,
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    /// Name of the server.
    pub name: String,
    /// Whether the hub is connected to the server.
    pub ready: bool,
    /// Number of tools that the server lists.
    pub tools: u32,
    /// What to do next if the server is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The result of one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// Hash of the revision.
    pub revision: String,
    /// Number of the attempt, from 1. The `mcphub.dev/intent` annotation refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Image of the revision.
    pub image: String,
    /// How the attempt ended.
    pub result: RevisionResult,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ended.
    pub at: Time,
}

/// How an attempt of a revision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RevisionResult {
    /// The revision became stable.
    Promoted,
    /// The revision was rolled back.
    RolledBack,
    /// A newer spec replaced the revision.
    Replaced,
    /// A person aborted the rollout.
    Aborted,
    /// The first deployment failed.
    Failed,
    /// A result of a newer operator.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl RevisionResult {
    /// The text in the status and in the annotation of the ControllerRevision.
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

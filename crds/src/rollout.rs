//! How a change is rolled out, judged and rolled back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Decimal, Duration};

/// How a change is rolled out, judged and rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Shares of traffic for the canary, rising to 100. If empty: 10% for 30m, 50% for 60m, 100%.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub steps: Vec<Step>,
    /// How long the old revision is kept warm after 100%. Triggers can still roll back during this
    /// time. Defaults to 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Duration>,
    /// How often rules are judged. Defaults to 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How long triggers are not judged after the first canary pod is Ready. Defaults to 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Duration>,
    /// Metrics that promote a revision or roll it back. If empty, the default rules apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<Rule>,
    /// Name of the Prometheus server in the operator's configuration. Defaults to main.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub prometheus: Option<String>,
    /// What a rollback does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// What splits traffic between stable and canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// Lets some callers reach the canary before it gets traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Whether rollouts of this hub stop where they are. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How long a canary may take to become Available before it is rolled back. Defaults to 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// How long a step may wait for its gates before the canary is rolled back. Defaults to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_timeout: Option<Duration>,
    /// Maximum time that a step waits for enough samples. Defaults to 3 times the bake of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bake: Option<Duration>,
    /// What happens if a step has too few samples at the end of maxBake. Defaults to Proceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_too_few: Option<OnTooFew>,
    /// Maximum time that a rollout waits for data or for Prometheus. Defaults to 2h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_timeout: Option<Duration>,
    /// What happens if there is no data at the end of holdTimeout. Defaults to Pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_hold_timeout: Option<OnHoldTimeout>,
    /// How long a pod keeps its sessions before it is removed. It is part of the revision. Defaults
    /// to 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Duration>,
    /// Minimum number of canary pods. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub min_canary_replicas: Option<u32>,
    /// Rolling back to one of the last N promoted revisions skips the steps. Defaults to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub fast_rollback: Option<u32>,
    /// How a change of only feature flags is rolled out. Defaults to Canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag_changes: Option<FlagChanges>,
    /// Number of revisions that are kept. Defaults to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 100))]
    pub history_limit: Option<u32>,
}

/// One share of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Percent of new sessions and principals that the canary gets.
    #[schemars(range(min = 1, max = 100))]
    pub traffic: u8,
    /// Minimum observed time before the next step. Not allowed at 100, where `guard` is used
    /// instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Duration>,
    /// Whether the rollout waits for a person after this step. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<bool>,
}

/// One metric with a promotion gate, a rollback trigger, or both. It has either `metric` or
/// `query`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Name of the rule, a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A built-in metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// PromQL query with the placeholders {{namespace}}, {{hub}}, {{revision}} and {{window}}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub query: Option<String>,
    /// The gate: a condition that must be met before the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote_when: Option<PromoteWhen>,
    /// The trigger: a condition that rolls the revision back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_when: Option<RollbackWhen>,
    /// Minimum number of samples for a verdict. With fewer samples, the rule neither promotes nor
    /// rolls back. Defaults to 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_samples: Option<u32>,
    /// Compares the canary with stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_to_stable: Option<CompareToStable>,
    /// Whether the rule is only shown in the status and never acted on. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Name of a server. Only calls of this server count. If unset, calls of all servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub server: Option<String>,
    /// Name of a tool, as its server names it. Only calls of this tool count. If unset, calls of
    /// all tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub tool: Option<String>,
}

/// A built-in metric.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Metric {
    /// Share of requests that failed in the hub or on the way to it, from 0 to 1.
    HubErrorRate,
    /// Share of tool calls that the tool answered with an error, from 0 to 1.
    ToolErrorRate,
    /// Share of tool calls that failed because of the server, from 0 to 1.
    UpstreamErrorRate,
    /// Share of requests that the router got an answer to, from 0 to 1.
    Availability,
    /// 95th percentile of the time that requests spend in the hub itself, in seconds.
    HubLatencyP95,
    /// Share of requests that the language model answered, from 0 to 1.
    LlmSuccessRate,
    /// 95th percentile of the response time of the language model, in seconds.
    LlmLatencyP95,
    /// 1 while a circuit breaker is open, otherwise 0.
    CircuitBreakerOpen,
    /// Growth of memory, as a share per hour.
    MemoryGrowth,
    /// Share of the golden questions' tools that the selector finds, from 0 to 1.
    SelectionRecall,
}

/// A gate, with either `atLeast` or `atMost`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromoteWhen {
    /// Met if the value is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Decimal>,
    /// Met if the value is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Decimal>,
}

/// A trigger, with either `below` or `above`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackWhen {
    /// Breached if the value is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,
    /// Breached if the value is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,
    /// How long a breach must last before it rolls back. A good value ends the breach.
    #[serde(rename = "for")]
    pub lasting: Duration,
}

/// Compares the canary with stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompareToStable {
    /// Minimum difference by which the canary must be worse. The difference must also be
    /// statistically significant.
    pub worse_by: Decimal,
}

/// What a rollback does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Whether flags and traffic are rolled back together. Defaults to Together during a rollout,
    /// and to FlagsFirst otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<RollbackOrder>,
    /// Flags that a rollback sets. If empty, the flags that differ between canary and stable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub flags: Vec<SafeFlag>,
    /// How long flags alone may help before traffic is rolled back too, for order FlagsFirst.
    /// Defaults to 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag_grace: Option<Duration>,
    /// How long calls in flight may continue. Defaults to 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_grace: Option<Duration>,
    /// How long the pods of a failed revision are kept for inspection. Defaults to 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_for: Option<Duration>,
    /// Whether a breach with no rollout in progress rolls back to the last other promoted revision.
    /// Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<bool>,
}

/// Whether flags and traffic are rolled back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RollbackOrder {
    /// Flags and traffic are rolled back at once.
    Together,
    /// Traffic is rolled back only if the flags did not help.
    FlagsFirst,
}

/// A flag and its safe value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SafeFlag {
    /// Name of the flag, as in `featureFlags`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The value that a rollback sets. If unset, the value of stable for a canary, and false
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<bool>,
}

/// What splits traffic between stable and canary.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// What splits the traffic. Defaults to Router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<TrafficProvider>,
}

/// What splits the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TrafficProvider {
    /// The hub's own router, by session.
    Router,
    /// The weights of an HTTPRoute, by request.
    GatewayApi,
    /// The numbers of pods, by request.
    Replicas,
}

/// Lets some callers reach the canary before it gets traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// Name of the header that requests the canary. Defaults to X-Mcp-Hub-Preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub header: Option<String>,
    /// Principals that may request the canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
}

/// What happens if a step has too few samples for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnTooFew {
    /// The rollout continues with the next step if the self-check still passes.
    Proceed,
    /// The rollout waits for a person.
    Pause,
}

/// What happens if there is no data for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnHoldTimeout {
    /// The rollout waits for a person.
    Pause,
    /// The canary is rolled back.
    Rollback,
    /// The canary is promoted.
    Promote,
}

/// How a change of only feature flags is rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FlagChanges {
    /// As a revision of its own, in steps.
    Canary,
    /// At once, on running pods.
    Immediate,
}

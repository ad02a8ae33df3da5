//! How a change is tried, judged and taken back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Decimal, Duration};

/// How a change is tried, judged and taken back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Shares of traffic, rising to 100. Default: 10 for 30m, 50 for 60m, 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub steps: Vec<Step>,
    /// Time after 100 % in which the old revision is kept warm. Default: 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Duration>,
    /// How often rules are judged. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// After a canary's first pod is Ready, nothing is judged for so long. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Duration>,
    /// Metrics that promote and roll back. Empty: the default rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<Rule>,
    /// Prometheus server, by the name that the administrator gave it. Default: main.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub prometheus: Option<String>,
    /// What a rollback does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// What splits the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// Lets named callers reach the canary before it has traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Stops a rollout where it is. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// A canary that is not Available by then is rolled back. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// A gate that is not met for so long rolls back. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_timeout: Option<Duration>,
    /// Longest wait for enough samples at one step. Default: 3 times its bake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bake: Option<Duration>,
    /// What happens then. Default: Proceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_too_few: Option<OnTooFew>,
    /// Longest wait for data or for Prometheus. Default: 2h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_timeout: Option<Duration>,
    /// What happens then. Default: Pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_hold_timeout: Option<OnHoldTimeout>,
    /// How long a pod that goes keeps its sessions. Part of the revision. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Duration>,
    /// Fewest canary pods. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub min_canary_replicas: Option<u32>,
    /// Going back to one of so many last promoted revisions takes no steps. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub fast_rollback: Option<u32>,
    /// How a change of feature flags alone is made. Default: Canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag_changes: Option<FlagChanges>,
    /// Revisions that are kept. Default: 10.
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
    /// Observed time before the next step. Not at 100: `guard` is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Duration>,
    /// Waits for a person. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<bool>,
}

/// One metric with a promotion gate, a rollback trigger, or both: `metric` or `query`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Name, a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A metric that the operator knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// PromQL with {{namespace}}, {{hub}}, {{revision}} and {{window}}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub query: Option<String>,
    /// What the next step waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote_when: Option<PromoteWhen>,
    /// What rolls back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_when: Option<RollbackWhen>,
    /// Below so many samples it says nothing. Default: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_samples: Option<u32>,
    /// Compares the canary with stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_to_stable: Option<CompareToStable>,
    /// Shown, never acted on. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Only calls of this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub server: Option<String>,
    /// Only calls of this tool, by the server's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub tool: Option<String>,
}

/// A metric that the operator knows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Metric {
    /// Share of requests that the hub or the way to it failed, 0 to 1.
    HubErrorRate,
    /// Share of tool calls that the tool failed, 0 to 1.
    ToolErrorRate,
    /// Share of tool calls that the server failed, 0 to 1.
    UpstreamErrorRate,
    /// Share of requests that the router got an answer to, 0 to 1.
    Availability,
    /// Time that the hub itself took, 95th percentile, in seconds.
    HubLatencyP95,
    /// Share of questions that the language model answered, 0 to 1.
    LlmSuccessRate,
    /// Time that the language model took, 95th percentile, in seconds.
    LlmLatencyP95,
    /// 1 while a circuit breaker is open.
    CircuitBreakerOpen,
    /// Growth of memory, as a share per hour.
    MemoryGrowth,
    /// Share of the golden questions' tools that were found, 0 to 1.
    SelectionRecall,
}

/// What the next step waits for: `atLeast` or `atMost`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromoteWhen {
    /// The value is this or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Decimal>,
    /// The value is this or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Decimal>,
}

/// What rolls back: `below` or `above`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackWhen {
    /// The value is less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,
    /// The value is more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,
    /// For so long without a good value between.
    #[serde(rename = "for")]
    pub lasting: Duration,
}

/// Compares the canary with stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompareToStable {
    /// Significantly, and at least by so much.
    pub worse_by: Decimal,
}

/// What a rollback does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Default: Together while there is a canary, else FlagsFirst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<RollbackOrder>,
    /// Flags that are set back. Empty: those that differ between canary and stable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub flags: Vec<SafeFlag>,
    /// How long flags alone may help (FlagsFirst). Default: 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag_grace: Option<Duration>,
    /// Time for calls in flight. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_grace: Option<Duration>,
    /// How long the failed revision's pods are kept to be looked at. Default: 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_for: Option<Duration>,
    /// With no rollout running, go back to the last other promoted revision. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<bool>,
}

/// Order of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RollbackOrder {
    /// Flags and traffic at once.
    Together,
    /// Traffic only if flags did not help.
    FlagsFirst,
}

/// A flag and its safe value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SafeFlag {
    /// Name as in `featureFlags`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Unset: stable's value on a canary, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<bool>,
}

/// What splits the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// Default: Router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<TrafficProvider>,
}

/// What splits the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TrafficProvider {
    /// The hub's own router, by session.
    Router,
    /// Weights of an HTTPRoute, by request.
    GatewayApi,
    /// Numbers of pods, by request.
    Replicas,
}

/// Lets named callers reach the canary before it has traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// Header that asks for it. Default: X-Mcp-Hub-Preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub header: Option<String>,
    /// Who may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
}

/// What happens when there were too few samples for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnTooFew {
    /// Next step, if the self-check still passes.
    Proceed,
    /// Waits for a person.
    Pause,
}

/// What happens when there was no data for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnHoldTimeout {
    /// Waits for a person.
    Pause,
    /// Back to stable.
    Rollback,
    /// On to 100 %.
    Promote,
}

/// How a change of feature flags alone is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FlagChanges {
    /// As a revision of its own, in steps.
    Canary,
    /// At once, on running pods.
    Immediate,
}

//! The result of evaluating the rules of one revision.

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::Revision;
use serde::{Deserialize, Serialize};

/// The verdict of one rule at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// The gate is met, or there is no breach.
    Good,
    /// A breach.
    Breach {
        /// The first breaching point; for a gate, the time of the evaluation.
        since: Timestamp,
    },
    /// There are too few samples.
    TooFew {
        /// The number of samples.
        have: u64,
        /// `minSamples`.
        need: u32,
    },
    /// There is no series, there are several, or the value is NaN although there are samples.
    NoData,
    /// Prometheus did not answer.
    ProviderDown,
    NotApplicable,
}

/// All rules of one revision, evaluated at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgment {
    pub revision: Revision,
    pub at: Timestamp,
    /// Whether its pods are scraped: `Good`, `NoData` or `ProviderDown`.
    pub presence: Verdict,
    /// In the policy's order.
    pub rules: Vec<RuleJudgment>,
}

/// One rule, evaluated at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleJudgment {
    pub name: String,
    /// The rule is shown but never acted on.
    #[serde(default)]
    pub dry_run: bool,
    /// The newest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The newest value on the revision that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_value: Option<f64>,
    /// Number of samples behind `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<f64>,
    /// `None` if the rule has no trigger, or if its epoch has not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Verdict>,
    /// The breach has lasted for its `for` (in Prometheus: firing, not pending).
    #[serde(rename = "holds", default)]
    pub firing: bool,
    /// The gate over the last `bake` of observed time; `None` outside of a bake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Verdict>,
    /// The value of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_value: Option<f64>,
    /// First breaching point that no good point has followed. A gap does not end it.
    #[serde(rename = "open", default, skip_serializing_if = "Option::is_none")]
    pub breach_start: Option<Timestamp>,
    /// Points have been evaluated up to this instant.
    #[serde(rename = "seenUntil", default, skip_serializing_if = "Option::is_none")]
    pub evaluated_until: Option<Timestamp>,
    /// The tools with the most failures while the rule is breached, the worst one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing_tools: Vec<FailingTool>,
}

/// A tool whose calls fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingTool {
    /// Name of its server.
    pub server: String,
    /// The name that clients see.
    pub tool: String,
}

impl Judgment {
    /// The first rule that fires and is not a dry run.
    pub fn broken(&self) -> Option<&RuleJudgment> {
        self.rules.iter().find(|rule| rule.firing && !rule.dry_run)
    }
}

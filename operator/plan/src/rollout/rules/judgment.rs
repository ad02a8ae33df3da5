//! The result of evaluating the rules of one revision.

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::Revision;
use serde::{Deserialize, Serialize};

/// What follows from one rule at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// Gate met, or nothing bad.
    Good,
    /// Bad: since the first breaching point, or (of a gate) since it was judged.
    Breach {
        /// Its start.
        since: Timestamp,
    },
    /// Says nothing: too few samples.
    TooFew {
        /// Seen.
        have: u64,
        /// `minSamples`.
        need: u32,
    },
    /// Says nothing: no series, several, or NaN with samples.
    NoData,
    /// Says nothing: Prometheus could not be asked.
    ProviderDown,
    /// The hub has nothing that the rule could measure.
    NotApplicable,
}

/// All rules of one revision, judged at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgment {
    /// Whose.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Whether its pods are scraped: `Good`, `NoData` or `ProviderDown`.
    pub presence: Verdict,
    /// In the policy's order.
    pub rules: Vec<RuleJudgment>,
}

/// One rule, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleJudgment {
    /// Its name.
    pub name: String,
    /// Shown, never acted on.
    #[serde(default)]
    pub dry_run: bool,
    /// Newest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The other revision's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_value: Option<f64>,
    /// Behind `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<f64>,
    /// `None`: it has no trigger, or its epoch has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Verdict>,
    /// The breach has lasted for its `for`.
    #[serde(rename = "holds", default)]
    pub firing: bool,
    /// Over the last `bake` of observed time; `None` while none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Verdict>,
    /// Value that the gate was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_value: Option<f64>,
    /// First breaching point that no good one has followed; outlives a gap.
    #[serde(rename = "open", default, skip_serializing_if = "Option::is_none")]
    pub breach_start: Option<Timestamp>,
    /// Up to here points have been looked at.
    #[serde(rename = "seenUntil", default, skip_serializing_if = "Option::is_none")]
    pub evaluated_until: Option<Timestamp>,
}

impl Judgment {
    /// The rule whose trigger holds and may be acted on.
    pub fn broken(&self) -> Option<&RuleJudgment> {
        self.rules.iter().find(|rule| rule.firing && !rule.dry_run)
    }
}

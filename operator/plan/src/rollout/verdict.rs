//! What the answers of Prometheus mean for a rule.

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::Revision;
use serde::{Deserialize, Serialize};

use crate::probes::QueryResult;

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
pub struct Judged {
    /// Whose.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Whether its pods are scraped: `Good`, `NoData` or `ProviderDown`.
    pub presence: Verdict,
    /// In the policy's order.
    pub rules: Vec<JudgedRule>,
}

/// One rule, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgedRule {
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
    #[serde(default)]
    pub holds: bool,
    /// Over the last `bake` of observed time; `None` while none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Verdict>,
    /// Value that the gate was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_value: Option<f64>,
    /// First breaching point that no good one has followed; outlives a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Timestamp>,
    /// Up to here points have been looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_until: Option<Timestamp>,
}

impl Judged {
    /// The rule whose trigger holds and may be acted on.
    pub fn broken(&self) -> Option<&JudgedRule> {
        self.rules.iter().find(|rule| rule.holds && !rule.dry_run)
    }
}

/// One series of numbers, or why there is none.
pub(crate) enum Points<'a> {
    /// In time order; NaN kept.
    Of(&'a [(Timestamp, f64)]),
    /// No series at all.
    Missing,
    /// Several: nobody can say which one counts.
    Ambiguous,
    /// Prometheus could not be asked.
    Down,
}

/// Reads an answer that should be one series.
pub(crate) fn points(answer: &QueryResult) -> Points<'_> {
    match answer {
        QueryResult::Failed(_) => Points::Down,
        QueryResult::Series(series) => match series.as_slice() {
            [] => Points::Missing,
            [one] => Points::Of(&one.points),
            [_, _, ..] => Points::Ambiguous,
        },
    }
}

/// The newest number of an answer that should be one series; NaN is `None`.
pub(crate) fn newest(answer: Option<&QueryResult>) -> Option<f64> {
    match points(answer?) {
        Points::Of(points) => {
            points.last().map(|(_, value)| *value).filter(|value| value.is_finite())
        }
        Points::Missing | Points::Ambiguous | Points::Down => None,
    }
}

/// Whole samples; an increase is extrapolated and so has a fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub(crate) fn whole(samples: f64) -> u64 {
    samples.round() as u64
}

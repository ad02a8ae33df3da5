//! What the status shows of a rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_crds::status::{HoldReason, Phase, RuleVerdict};
use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::state::{IntentRecord, Pin, RollbackCause};

/// What the status shows of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The phase. It is never `NotAccepted`, because the engine does not know about that.
    pub phase: Phase,
    /// Reason of the conditions, from a bounded set.
    pub reason: String,
    /// What is going on and, if necessary, what to do next.
    pub message: String,
    /// The revision that serves what the canary does not.
    pub stable: Option<StableReport>,
    /// The revision that is being rolled out, or that was rolled back last.
    pub canary: Option<CanaryReport>,
    /// The revision that is kept for guard or drain, and until when.
    pub previous: Option<(Revision, Timestamp)>,
    /// The failed revision that is kept, and until when.
    pub failed: Option<(Revision, Timestamp)>,
    /// The rules at the last evaluation. While none are evaluated, those of the last rollback.
    pub rules: Vec<RuleReport>,
    /// Rolled-back flags with their effective value, by revision.
    pub flags_rolled_back: BTreeMap<Revision, BTreeMap<String, bool>>,
    /// The effect of `rollback-to`, as long as it decides which revision serves.
    pub pinned: Option<Pin>,
    /// Why the revision that the spec asks for does not serve.
    pub rollback: Option<RollbackCause>,
    /// Intents that were obeyed or refused, newest last.
    pub intents: Vec<IntentRecord>,
}

/// The revision that serves what the canary does not.
#[derive(Debug, Clone, PartialEq)]
pub struct StableReport {
    pub revision: Revision,
    pub since: Timestamp,
}

/// The revision that is being rolled out.
#[derive(Debug, Clone, PartialEq)]
pub struct CanaryReport {
    pub revision: Revision,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// The current step, counted from 1; 0 before the first one.
    pub step: u32,
    /// Number of steps.
    pub steps: u32,
    /// Its current weight.
    pub weight: Weight,
    pub bake_observed: Duration,
    /// Observed time that the step takes.
    pub bake_required: Duration,
    /// Why the rollout holds, and since when.
    pub holding: Option<(HoldReason, Timestamp)>,
}

/// One rule at the last evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleReport {
    pub name: String,
    /// Value on the canary, or on the promoted revision in guard.
    pub value: Option<f64>,
    /// Value on the revision that it is compared with.
    pub stable_value: Option<f64>,
    /// Number of samples behind `value`.
    pub samples: Option<f64>,
    pub verdict: RuleVerdict,
    /// Start of the current breach.
    pub breached_since: Option<Timestamp>,
}

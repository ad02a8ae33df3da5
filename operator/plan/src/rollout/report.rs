//! What the status shows of a rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_crds::status::{HoldReason, Phase, RuleVerdict};
use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::state::{IntentRecord, RollbackCause};

/// What status says of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Where the hub is in its life; never `NotAccepted`, which is not the engine's to know.
    pub phase: Phase,
    /// `UpperCamelCase`, bounded: reason of the conditions.
    pub reason: String,
    /// For a person: what is, and what to do next where something is to be done.
    pub message: String,
    /// Serves what the canary does not.
    pub stable: Option<StableReport>,
    /// Is being tried.
    pub canary: Option<CanaryReport>,
    /// End of the guard or of the drain, and the revision that is kept for it.
    pub previous: Option<(Revision, Timestamp)>,
    /// Kept to be looked at, and until when.
    pub failed: Option<(Revision, Timestamp)>,
    /// Rules as they were judged last; empty while none are judged.
    pub rules: Vec<RuleReport>,
    /// Flags that a rollback set back, with the value in force, by revision.
    pub flags_rolled_back: BTreeMap<Revision, BTreeMap<String, bool>>,
    /// Why the revision that the spec asks for does not serve.
    pub rollback: Option<RollbackCause>,
    /// Intents that were looked at, newest last.
    pub intents: Vec<IntentRecord>,
}

/// The revision that serves what the canary does not.
#[derive(Debug, Clone, PartialEq)]
pub struct StableReport {
    /// Which.
    pub revision: Revision,
    /// When it became stable.
    pub since: Timestamp,
}

/// The revision that is being tried.
#[derive(Debug, Clone, PartialEq)]
pub struct CanaryReport {
    /// Which.
    pub revision: Revision,
    /// How often it was tried, this time included.
    pub attempt: u32,
    /// Step it is at, from 1; 0 before the first.
    pub step: u32,
    /// Steps that there are.
    pub steps: u32,
    /// Its share now.
    pub weight: Weight,
    /// Observed time at this step.
    pub bake_observed: Duration,
    /// Time that the step asks for.
    pub bake_required: Duration,
    /// What it waits for by itself.
    pub holding: Option<(HoldReason, Timestamp)>,
}

/// One rule, as it was judged last.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// On the canary, or on the promoted revision in guard.
    pub value: Option<f64>,
    /// On the other one.
    pub stable_value: Option<f64>,
    /// Behind `value`.
    pub samples: Option<f64>,
    /// What follows from it.
    pub verdict: RuleVerdict,
    /// First breaching point of the open breach.
    pub breached_since: Option<Timestamp>,
}

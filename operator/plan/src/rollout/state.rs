//! The state of the engine between two reconciles: `engine.json` in the runtime ConfigMap.
//!
//! Operators of several releases read and write it. Therefore fields are only ever added: unknown
//! keys are ignored, and every missing key has a meaning. The names of the keys are pinned by a
//! golden file.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Revision, Weight};
use serde::{Deserialize, Serialize};

use super::attempt::{AttemptRecord, AttemptResult};
use super::intent::Intent;
use super::outbox::Outbox;
use super::rules::bake::Bake;
use super::rules::judgment::Judgment;

pub use mcphub_crds::status::HoldReason;

/// Version of the layout of [`EngineState`].
pub const SCHEMA: u32 = 1;

/// The content of `engine.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineState {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// Term of the leader that wrote it. A leader that reads a higher term than its own resigns.
    #[serde(default)]
    pub term: u64,
    /// Generation of `dataplane.json`.
    #[serde(default)]
    pub generation: u64,
    /// Serial of the hub's current key.
    #[serde(default = "one")]
    pub key_serial: u32,
    /// The revision that the spec asked for last.
    #[serde(rename = "asked", default, skip_serializing_if = "Option::is_none")]
    pub spec_revision: Option<SpecRevision>,
    /// The revision that serves what the canary does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Stable>,
    /// The revision that is being rolled out. During a first deployment there is no stable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The revision that was stable before the last promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// The last rolled-back revision, whose pods are kept for inspection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedRevision>,
    /// The revision that `rollback-to` asked for instead of the spec.
    #[serde(rename = "pinned", default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// When the rules were evaluated last.
    #[serde(rename = "lastJudged", default, skip_serializing_if = "Option::is_none")]
    pub last_judgment: Option<Timestamp>,
    /// The result of the last evaluation.
    #[serde(rename = "judged", default, skip_serializing_if = "Option::is_none")]
    pub judgment: Option<Judgment>,
    /// Restarts of containers (`pod/container`) from before the last attempt. They do not count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<String, u32>,
    /// Rolled-back flags with their effective value, by revision. The entry of the revision that
    /// the spec asks for is inherited by the next one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags_rolled_back: BTreeMap<Revision, BTreeMap<String, bool>>,
    /// The last attempt of every revision. The annotations of ControllerRevisions are written from
    /// here, so a crash between the two writes loses nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<Revision, AttemptRecord>,
    /// The last rollback, as long as the spec asks for its revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackCause>,
    /// Intents that were obeyed or refused or that wait, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<IntentRecord>,
    /// The error about an annotation that is not an intent, as long as it is there. It is reported
    /// once.
    #[serde(rename = "misread", default, skip_serializing_if = "Option::is_none")]
    pub invalid_intent: Option<String>,
    /// Events that may not have been sent yet.
    #[serde(default, skip_serializing_if = "Outbox::is_empty")]
    pub outbox: Outbox,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn one() -> u32 {
    1
}

impl Default for EngineState {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            term: 0,
            generation: 0,
            key_serial: one(),
            spec_revision: None,
            stable: None,
            canary: None,
            previous: None,
            failed: None,
            pin: None,
            last_judgment: None,
            judgment: None,
            restarts: BTreeMap::new(),
            flags_rolled_back: BTreeMap::new(),
            records: BTreeMap::new(),
            rollback: None,
            intents: Vec::new(),
            invalid_intent: None,
            outbox: Outbox::default(),
        }
    }
}

/// The revision that the spec asked for last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecRevision {
    pub revision: Revision,
    /// The spec changed to it after its last attempt ended, so it can be tried once more.
    #[serde(default)]
    pub fresh: bool,
}

/// The revision that serves what the canary does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stable {
    pub revision: Revision,
    pub since: Timestamp,
    /// Rules ignore everything before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Timestamp>,
    /// It was promoted by force, so no rule rolls it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// The guard has rolled back flags once. The next trigger moves traffic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flags_tried: bool,
    /// A hub pod of it was connected to a server at least once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
}

/// The revision that is being rolled out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    pub revision: Revision,
    /// Counts from 1.
    pub attempt: u32,
    pub started: Timestamp,
    /// N at the start of the attempt. N does not fall below it until the rollout ends.
    pub base_replicas: u32,
    /// Its current weight.
    #[serde(default)]
    pub weight: Weight,
    /// `None` until its self-check has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepState>,
    /// A pod of it was connected to a server at least once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
    /// Start of `progressDeadline`.
    pub progress_since: Timestamp,
    /// When its first pod became Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ready: Option<Timestamp>,
    #[serde(default)]
    pub self_check: SelfCheckTries,
    /// Why it skips the steps.
    #[serde(rename = "straight", default, skip_serializing_if = "Option::is_none")]
    pub skip_steps: Option<SkipReason>,
    /// Why a person or a timeout paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// Why the rollout holds, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// It is being withdrawn. It keeps its weight until stable can take over.
    #[serde(rename = "leave", default, skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<Withdrawal>,
    /// Why a first deployment did not work in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_worked: Option<String>,
    /// The reason of each weight that it got without bake or gate, for the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
}

/// The current step as it was at its start. An edit of `rollout.steps` takes effect from the next
/// step on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepState {
    /// Counts from 1.
    pub number: u32,
    /// Weight of the step.
    pub traffic: Weight,
    /// Observed time that the step takes.
    pub bake_ms: u64,
    /// The step waits for a person after its bake.
    #[serde(default)]
    pub pause: bool,
    /// A person has advanced the step.
    #[serde(default)]
    pub advanced: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_since: Option<Timestamp>,
    /// The bake. It starts when all routers obey the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Bake>,
    /// Observed time since which some gate has been unmet in every evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet_from_ms: Option<u64>,
    /// Observed time at which a person resumed the rollout last. `maxBake` counts from there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumed_at_ms: u64,
}

impl StepState {
    /// Observed time that the step takes.
    pub fn required(&self) -> Duration {
        Duration::from_millis(self.bake_ms)
    }

    pub fn observed(&self) -> Duration {
        self.bake.as_ref().map_or(Duration::ZERO, Bake::observed)
    }
}

/// Failed tries of a self-check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelfCheckTries {
    pub failed: u32,
    /// When the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Message of the last try.
    #[serde(default)]
    pub message: String,
}

/// Why a canary skips the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    FirstDeployment,
    /// It is one of the last promoted revisions.
    FastRollback,
    /// Intent `promote`.
    Promote,
    /// Intent `promote-force`.
    PromoteForce,
    /// `onHoldTimeout: Promote`.
    HoldTimeout,
}

/// A rollout that waits by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub reason: HoldReason,
    pub since: Timestamp,
    #[serde(default)]
    pub message: String,
}

/// A canary that is being withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    pub result: AttemptResult,
    pub reason: String,
    /// It harms its callers, so one Ready stable pod is enough to take over.
    pub harmful: bool,
    pub since: Timestamp,
}

/// The revision that was stable before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    pub revision: Revision,
    pub since: Timestamp,
    pub guard_until: Timestamp,
    /// When its sessions have ended or are cut.
    pub drained_at: Timestamp,
    /// A newer spec ended the guard early. The drain continues.
    #[serde(default)]
    pub guard_over: bool,
}

/// A rolled-back revision that is kept for inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRevision {
    pub revision: Revision,
    pub since: Timestamp,
    /// Number of pods that are kept.
    pub replicas: u32,
}

/// The effect of `rollback-to`, until the revision of the spec changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The revision that serves.
    pub revision: Revision,
    /// The revision that the spec asks for.
    pub instead_of: Revision,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackCause {
    pub revision: Revision,
    pub attempt: u32,
    pub at: Timestamp,
    /// The reason without what to do next.
    pub reason: String,
    /// The rule whose trigger fired; `None` if the cause was not a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleBreach>,
    /// Rolled-back flags with their new value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, bool>,
    /// The step of the canary, counted from 1; 0 before the first one, and in guard.
    #[serde(default)]
    pub step: u32,
    /// Observed time at this step.
    #[serde(default)]
    pub observed_ms: u64,
    /// Observed time that the step takes.
    #[serde(default)]
    pub bake_ms: u64,
    /// The last evaluation of the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgment: Option<Judgment>,
}

/// The rule whose trigger fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleBreach {
    pub name: String,
    /// The last measured value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Such as "above 0.1".
    pub threshold: String,
    /// `for`, in milliseconds.
    pub lasting_ms: u64,
    /// Start of the breach.
    pub since: Timestamp,
    /// Number of samples behind the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<f64>,
}

/// An intent that was obeyed or refused, or that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentRecord {
    pub intent: Intent,
    pub at: Timestamp,
    /// What happened.
    pub outcome: String,
    /// It could not be obeyed yet and is tried again in every reconcile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// The annotation was removed or changed since, so the same intent counts again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

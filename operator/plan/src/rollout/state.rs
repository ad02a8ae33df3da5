//! The state of the engine between two reconciles: `engine.json` in the runtime ConfigMap.
//!
//! Operators of several releases read and write it. Therefore fields are only ever added: unknown keys are ignored,
//! and every missing key has a meaning. The names of the keys are pinned by a golden file.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Revision, Weight};
use serde::{Deserialize, Serialize};

use super::attempt::{AttemptRecord, AttemptResult};
use super::intent::Intent;
use super::rules::bake::Bake;
use super::rules::judgment::Judgment;

pub use mcphub_crds::status::HoldReason;

/// Version of [`EngineState`]'s layout.
pub const SCHEMA: u32 = 1;

/// The whole of `engine.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineState {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Term of the leader that wrote it. A leader that reads a higher one than its own leads no more.
    #[serde(default)]
    pub term: u64,
    /// Generation of the `dataplane.json` beside it.
    #[serde(default)]
    pub generation: u64,
    /// Serial of the hub's current key.
    #[serde(default = "one")]
    pub key_serial: u32,
    /// What the spec asked for last.
    #[serde(rename = "asked", default, skip_serializing_if = "Option::is_none")]
    pub spec_revision: Option<SpecRevision>,
    /// Serves what the canary does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Stable>,
    /// Is being tried; on a first deployment there is no stable one beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Was stable before the last promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Was rolled back; its pods are kept to be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedRevision>,
    /// SpecRevision for by `rollback-to` instead of what the spec asks for.
    #[serde(rename = "pinned", default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// When rules were judged last.
    #[serde(rename = "lastJudged", default, skip_serializing_if = "Option::is_none")]
    pub last_judgment: Option<Timestamp>,
    /// What came of it.
    #[serde(rename = "judged", default, skip_serializing_if = "Option::is_none")]
    pub judgment: Option<Judgment>,
    /// Restarts of containers (`pod/container`) from before the last attempt began: none of its doing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<String, u32>,
    /// Flags that a rollback set back, with the value in force, by revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags_rolled_back: BTreeMap<Revision, BTreeMap<String, bool>>,
    /// The last attempt of every revision. ControllerRevisions are annotated from here, so a crash between the two
    /// writes loses nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<Revision, AttemptRecord>,
    /// The last rollback, for as long as its revision is what the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackCause>,
    /// Intents that were looked at, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<IntentRecord>,
    /// What was said of an annotation that is no intent, for as long as it is there: said once.
    #[serde(rename = "misread", default, skip_serializing_if = "Option::is_none")]
    pub invalid_intent: Option<String>,
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
        }
    }
}

/// What the spec asked for last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecRevision {
    /// Its revision.
    pub revision: Revision,
    /// The spec changed to it since its last attempt ended: it may be tried once more.
    #[serde(default)]
    pub fresh: bool,
}

/// The revision that serves what the canary does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stable {
    /// Which.
    pub revision: Revision,
    /// When it became stable.
    pub since: Timestamp,
    /// Rules look at nothing before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Timestamp>,
    /// Promoted by force: no rule takes it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Its guard has set flags back once; the next trigger moves traffic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flags_tried: bool,
}

/// The revision that is being tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// Which.
    pub revision: Revision,
    /// 1, 2, …
    pub attempt: u32,
    /// When this attempt began.
    pub started: Timestamp,
    /// N at that time; N does not fall below it until the rollout ends.
    pub base_replicas: u32,
    /// Its share now.
    #[serde(default)]
    pub weight: Weight,
    /// `None` until its self-check has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepState>,
    /// Start of `progressDeadline`.
    pub progress_since: Timestamp,
    /// When its first pod was seen Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ready: Option<Timestamp>,
    /// SelfCheckTries that failed.
    #[serde(default)]
    pub self_check: SelfCheckTries,
    /// Why it needs no steps.
    #[serde(rename = "straight", default, skip_serializing_if = "Option::is_none")]
    pub skip_steps: Option<SkipReason>,
    /// A person, or a timeout, stopped it where it is: in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// What it waits for by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// It is on its way out, and keeps its weight until stable can take it.
    #[serde(rename = "leave", default, skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<Withdrawal>,
    /// First deployment only: it did not work in time; in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_worked: Option<String>,
    /// Each weight that it got without bake or gate, with the reason, for history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
}

/// A step as it was when it began; an edit of `rollout.steps` counts from the next one on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepState {
    /// From 1.
    pub number: u32,
    /// Share that it asks for.
    pub traffic: Weight,
    /// Observed time that it asks for.
    pub bake_ms: u64,
    /// Waits for a person after it.
    #[serde(default)]
    pub pause: bool,
    /// That person said: go on.
    #[serde(default)]
    pub advanced: bool,
    /// When the canary got the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_since: Option<Timestamp>,
    /// Starts when all routers obey the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Bake>,
    /// Observed time at which a gate was first not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet_from_ms: Option<u64>,
}

impl StepState {
    /// Observed time that it asks for.
    pub fn required(&self) -> Duration {
        Duration::from_millis(self.bake_ms)
    }

    /// Observed time so far.
    pub fn observed(&self) -> Duration {
        self.bake.as_ref().map_or(Duration::ZERO, Bake::observed)
    }
}

/// SelfCheckTries of a self-check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelfCheckTries {
    /// How many failed.
    pub failed: u32,
    /// When the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// What it said.
    #[serde(default)]
    pub message: String,
}

/// Why a canary needs no steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    /// Nothing served before.
    FirstDeployment,
    /// It was promoted before, not long ago.
    FastRollback,
    /// A person said so.
    Promote,
    /// A person said so, whatever the rules say.
    PromoteForce,
    /// `onHoldTimeout: Promote`.
    HoldTimeout,
}

/// What a rollout waits for by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Timestamp,
    /// For a person.
    #[serde(default)]
    pub message: String,
}

/// A canary on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// How the attempt ends.
    pub result: AttemptResult,
    /// Why, for a person.
    pub reason: String,
    /// It harms its callers: one Ready stable pod is enough to take its traffic.
    pub harmful: bool,
    /// Since when.
    pub since: Timestamp,
}

/// The stable revision of before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Which.
    pub revision: Revision,
    /// When it lost its traffic.
    pub since: Timestamp,
    /// End of the guard.
    pub guard_until: Timestamp,
    /// By then its sessions have ended or been cut.
    pub drained_at: Timestamp,
    /// A newer spec ended the guard before its time; the drain goes on.
    #[serde(default)]
    pub guard_over: bool,
}

/// A rolled back revision that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRevision {
    /// Which.
    pub revision: Revision,
    /// When it lost its traffic.
    pub since: Timestamp,
    /// Pods that are kept.
    pub replicas: u32,
}

/// `rollback-to` holds until the spec's revision changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// What is asked for.
    pub revision: Revision,
    /// What the spec asks for meanwhile.
    pub instead_of: Revision,
}

/// Why a revision was rolled back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackCause {
    /// Which.
    pub revision: Revision,
    /// Which attempt of it.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// For a person, with what to do next left out.
    pub reason: String,
    /// The rule whose trigger held; `None`: no rule did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleBreach>,
    /// Flags that were set back, with their value now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, bool>,
}

/// The rule whose trigger held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleBreach {
    /// Its name.
    pub name: String,
    /// Last value that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// "above 0.1".
    pub threshold: String,
    /// `for`, in milliseconds.
    pub lasting_ms: u64,
    /// First breaching point.
    pub since: Timestamp,
    /// Samples behind the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<f64>,
}

/// An intent that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentRecord {
    /// Which.
    pub intent: Intent,
    /// When.
    pub at: Timestamp,
    /// What came of it, for a person.
    pub outcome: String,
}

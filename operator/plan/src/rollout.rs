//! The rollout engine: one step of a pure state machine over what was observed.
//!
//! ```text
//!  no Promoted revision ──► first deployment: pods Ready ─► self-check ─► 100 % ─────────────┐
//!                              └─ deadline, 3 failed tries ─► Failed (goes on trying)       │
//!  spec changes                                                                             ▼
//!  Healthy ──► launch (weight 0): pods Ready ─► self-check ─► step 1 … n ─► 100 % ─► guard ─► Healthy
//!                 │                                │  each: pods for it ─► weight ─► routers obey
//!                 │                                │        ─► bake (observed time) ─► gates ─► pause?
//!                 │                                ├─ Hold ends by itself, or by its timeout
//!                 └─ leave ◄───────────────────────┴─ trigger, deadline, gateTimeout, abort, newer spec
//!                      └─► cut: stable 100 ─► failed (kept for `keepFor`) ─► gone once routers obey
//!  guard ── trigger ─► flags back ─► (flagGrace) ─► previous 100
//! ```
//!
//! One file a matter:
//!
//! | file | owns |
//! |---|---|
//! | [`state`] | what is remembered (`engine.json`) |
//! | [`policy`] | `spec.rollout` with every default filled in; what of it is refused |
//! | [`intent`] | what a person asks for by annotation |
//! | [`presets`] | the PromQL of every metric |
//! | [`questions`] | what has to be asked before [`advance`], and when |
//! | [`verdict`], [`trigger`], [`gate`], [`bake`] | what the answers mean |
//! | [`adopt`] | a state for a hub whose state is lost |
//! | [`change`] | what a new spec or an intent starts and ends |
//! | [`launch`], [`step`], [`hold`] | the way of a canary up to 100 % |
//! | [`rollback`], [`guard`] | the way back, and the time after 100 % |
//! | [`scale`] | weights, flags and replicas that follow from the state |
//! | [`next`], [`report`] | when to look again, and what to say |
//!
//! [`advance`] takes transitions until none is left, so the same observation gives nothing new the second time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Dataplane, Revision};

use crate::plan::Event;
use crate::probes::{QueryKey, QueryResult};

mod adopt;
mod bake;
mod candidates;
mod change;
mod engine;
mod gate;
mod guard;
mod hold;
pub mod intent;
mod launch;
mod next;
pub mod policy;
pub mod presets;
pub mod questions;
pub mod report;
mod rollback;
mod scale;
pub mod state;
mod step;
#[cfg(test)]
mod tests;
mod trigger;
pub mod verdict;

pub use candidates::candidates;
pub use engine::advance;
pub use questions::{RolloutProbes, probes};

/// Everything that the engine's decision depends on besides its own state.
#[derive(Debug, Clone)]
pub struct EngineInput<'a> {
    /// The instant of the snapshot.
    pub now: Timestamp,
    /// Term of this leader; goes into `engine.json`.
    pub term: u64,
    /// `dataplane.json` as it was seen; `None` where there is none that can be read. Edited by hand, it gets a
    /// higher generation: pods obey no other.
    pub dataplane: Option<&'a Dataplane>,
    /// Namespace and name of the McpHub (labels in queries).
    pub namespace: &'a str,
    /// See `namespace`.
    pub hub: &'a str,
    /// The accepted `spec.rollout`, with defaults.
    pub policy: &'a policy::Policy,
    /// What the spec asks for; `None` while it is not accepted: the engine goes on with what it has.
    pub desired: Option<&'a Revision>,
    /// N: `spec.replicas`.
    pub replicas: u32,
    /// `metadata.annotations["mcphub.dev/intent"]`, parsed; `Err` says what is wrong with it.
    pub intent: Option<Result<intent::Intent, String>>,
    /// Every revision that has a ControllerRevision, with what its pods do; and the desired one before it has one.
    pub revisions: &'a BTreeMap<Revision, RevisionFacts>,
    /// The routers.
    pub routers: RouterFacts,
    /// Results of the queries that [`probes`] asks for; empty if none were due, or before they were asked.
    pub results: &'a BTreeMap<QueryKey, QueryResult>,
}

/// One revision as it is seen.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionFacts {
    /// Feature flags as its spec has them (all known ones, defaults filled in).
    pub flags: BTreeMap<String, bool>,
    /// Image, for reports.
    pub image: String,
    /// What its ControllerRevision records of earlier attempts; newest last.
    pub attempt: Option<Record>,
    /// When its ControllerRevision was made, seconds precision; orders revisions.
    pub created: Timestamp,
    /// Replicas that its Deployment asks for now; `None`: there is no Deployment.
    pub deployed: Option<u32>,
    /// Pods that are Ready (and not terminating).
    pub ready: u32,
    /// Instant since which at least one pod is Ready.
    pub ready_since: Option<Timestamp>,
    /// Pods that are crash-looping, OOM-killed or restarted twice since their attempt began, or not Ready for 30 s
    /// although scheduled and started.
    pub broken: Vec<BrokenPod>,
    /// How often containers (`pod/container`) were restarted in their life; none of those that never were.
    pub restarts: BTreeMap<String, u32>,
    /// Pods that wait for a node, or whose node is gone: a Hold, not the revision's fault.
    pub unschedulable: u32,
    /// Outcome of the self-check of its Ready pods.
    pub self_check: SelfCheckFact,
}

/// A pod in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenPod {
    /// Its name.
    pub name: String,
    /// What is wrong, for a person.
    pub why: String,
}

/// Outcome of a revision's self-check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfCheckFact {
    /// Not asked, or no pod to ask.
    Unknown,
    /// One that was asked passed, none failed.
    Passed,
    /// One failed: what, in words.
    Failed(String),
}

/// What is written on a ControllerRevision about its attempts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// 1, 2, …
    pub attempt: u32,
    /// How the attempt ended; `None`: it is going on.
    pub result: Option<RevisionResult>,
    /// Why, for a person.
    #[serde(default)]
    pub reason: String,
    /// When it ended, or began while it goes on.
    pub at: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)] // the words of the status contract
pub enum RevisionResult {
    Promoted,
    RolledBack,
    Replaced,
    Aborted,
    Failed,
}

/// The router pods as they are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouterFacts {
    /// Ready router pods.
    pub ready: u32,
    /// Least generation that they report; `None` if one of them did not answer (or was not asked).
    pub obeyed: Option<u64>,
}

/// What the engine decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// For `engine.json`.
    pub state: state::EngineState,
    /// For `dataplane.json`.
    pub dataplane: Dataplane,
    /// Revisions whose Deployment, Service and config must exist, with replicas. All others may go.
    pub live: BTreeMap<Revision, u32>,
    /// What status says of it.
    pub report: report::Report,
    /// To be sent once the state is written.
    pub events: Vec<Event>,
    /// When the engine wants to be asked again.
    pub next: crate::plan::Next,
}

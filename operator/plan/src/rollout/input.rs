//! What the engine decides from, besides its own state.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Dataplane, Revision};

use super::attempt::AttemptRecord;
use super::intent::Intent;
use super::policy::Policy;
use crate::probes::{QueryKey, QueryResult};

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
    pub policy: &'a Policy,
    /// What the spec asks for; `None` while it is not accepted: the engine goes on with what it has.
    pub desired: Option<&'a Revision>,
    /// N: `spec.replicas`.
    pub replicas: u32,
    /// `metadata.annotations["mcphub.dev/intent"]`, parsed; `Err` says what is wrong with it.
    pub intent: Option<Result<Intent, String>>,
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
    pub attempt: Option<AttemptRecord>,
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
    /// Decision of the self-check of its Ready pods.
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

/// Decision of a revision's self-check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfCheckFact {
    /// Not asked, or no pod to ask.
    Unknown,
    /// One that was asked passed, none failed.
    Passed,
    /// One failed: what, in words.
    Failed(String),
}

/// The router pods as they are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouterFacts {
    /// Ready router pods.
    pub ready: u32,
    /// Least generation that they report; `None` if one of them did not answer (or was not asked).
    pub obeyed: Option<u64>,
}

//! What the engine decides from, besides its own state.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Dataplane, Revision};

use super::attempt::AttemptRecord;
use super::intent::Intent;
use super::policy::Policy;
use crate::probes::PrometheusAnswers;

/// Everything that the engine's decision depends on besides its own state.
#[derive(Debug, Clone)]
pub struct EngineInput<'a> {
    /// The instant of the snapshot.
    pub now: Timestamp,
    /// Term of this leader. It is written to `engine.json`.
    pub term: u64,
    /// `dataplane.json` as it was read; `None` if it is missing or cannot be parsed. If somebody
    /// edited it, it gets a higher generation, because pods obey only a higher one.
    pub dataplane: Option<&'a Dataplane>,
    /// The operator wrote `dataplane.json` as it is.
    pub dataplane_signed: bool,
    /// Namespace of the McpHub (a label in queries).
    pub namespace: &'a str,
    /// Name of the McpHub (a label in queries).
    pub hub: &'a str,
    /// The accepted `spec.rollout`, with defaults.
    pub policy: &'a Policy,
    /// The revision that the spec asks for; `None` while the spec is not accepted. The engine then
    /// continues with what it has.
    pub desired: Option<&'a Revision>,
    /// N: `spec.replicas`.
    pub replicas: u32,
    /// The annotation `mcphub.dev/intent`; the error says what is wrong with it. `None` also while
    /// the spec is not accepted, because the intent may be about that spec.
    pub intent: Option<Result<Intent, String>>,
    /// The McpHub has no such annotation.
    pub intent_removed: bool,
    /// Every stored revision, and the desired one before it is stored.
    pub revisions: &'a BTreeMap<Revision, RevisionFacts>,
    pub routers: RouterFacts,
    /// Answers to the queries that [`probes`] asked for at that instant; `None` if none were due or
    /// they have not come yet. Then nothing is judged.
    pub answers: Option<&'a PrometheusAnswers>,
}

/// What is known about one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionFacts {
    /// Feature flags of its spec: all known ones, with defaults filled in.
    pub flags: BTreeMap<String, bool>,
    /// The image, for the status.
    pub image: String,
    /// The last attempt that its ControllerRevision records.
    pub attempt: Option<AttemptRecord>,
    /// When its ControllerRevision was created, with a precision of seconds. It orders revisions.
    pub created: Timestamp,
    /// Replicas of its Deployment; `None` if there is no Deployment.
    pub deployed: Option<u32>,
    /// Pods that are Ready and not terminating.
    pub ready: u32,
    /// Since when at least one pod has been Ready.
    pub ready_since: Option<Timestamp>,
    /// Pods that crash-loop, were OOM-killed or restarted twice since the attempt started, and pods
    /// that are scheduled and started but not Ready for 30 s.
    pub broken: Vec<BrokenPod>,
    /// Restarts of containers (`pod/container`) in their whole life, without those that never
    /// restarted.
    pub restarts: BTreeMap<String, u32>,
    /// Pods that wait for a node or lost it. This is a Hold, because it is not the fault of the
    /// revision.
    pub unschedulable: u32,
    /// What its container servers suffer from, by server. A server with a Ready pod is not in it.
    pub server_problems: BTreeMap<String, ServerProblem>,
    /// A pod that was asked is connected to a server.
    pub connected: bool,
    /// Result of the self-check of its Ready pods.
    pub self_check: SelfCheckFact,
}

/// A pod that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenPod {
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// Why no pod of a container server is Ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerProblem {
    /// Continues a sentence that starts with the server's name.
    pub message: String,
    /// Nothing has failed yet.
    pub starting: bool,
}

/// Result of a revision's self-check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfCheckFact {
    /// No pod was asked.
    Unknown,
    /// A pod was asked and nothing is known: it did not answer, or stable did not say which servers
    /// can be reached. This is never held against the revision.
    Unanswered(String),
    /// At least one pod passed, and none failed.
    Passed,
    /// One pod failed; the message says how.
    Failed(String),
}

/// What is known about the router pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouterFacts {
    /// Ready router pods.
    pub ready: u32,
    /// Lowest generation that the Ready routers obey; `None` if one of them did not answer or was
    /// not asked.
    pub obeyed: Option<u64>,
}

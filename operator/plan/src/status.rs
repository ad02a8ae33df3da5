//! The status of a hub. It is derived from the engine's report, the objects and the probes, and it
//! reports only what the API server has acknowledged.

mod conditions;
mod parts;
mod servers;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mcphub_crds::McpHubStatus;
use mcphub_crds::status::{Phase, ServerStatus};
use mcphub_hub_wire::dataplane::Revision;

use self::conditions::{ConditionDraft, ConditionDrafts};
use self::servers::Servers;
use crate::api::labels::{self, Component};
use crate::api::{Acknowledged, Event, ObjectName, names};
use crate::input::{Acceptance, PlanInput};
use crate::rollout::Decision;
use crate::rollout::report::Report;
use crate::snapshot::Snapshot;
use crate::spec::valid::ValidLive;

/// Values that change all the time are written at most once in this interval.
const QUIET: Duration = Duration::from_mins(1);
/// Maximum length of a condition's message in bytes. The API server rejects more than 32768.
const LONGEST: usize = 4096;

/// The status, as far as it can be known before the writes.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusDraft {
    now: Timestamp,
    generation: Option<i64>,
    /// The status as it was read.
    old: McpHubStatus,
    /// When `old` was written, if that is known.
    written: Option<Timestamp>,
    /// Number of writes that the status describes.
    expected: usize,
    /// Why the spec waits, if it does. The status then describes an older one.
    waits: Option<&'static str>,
    /// Name of the runtime ConfigMap, which has the state that the status describes.
    runtime: ObjectName,
    /// Events about what the status does not report yet.
    events: Vec<Event>,
    said: Said,
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    /// The status does not change.
    Nothing,
    /// The status if every write is acknowledged.
    Status { status: Box<McpHubStatus>, conditions: Box<ConditionDrafts>, needs_runtime: bool },
}

impl StatusDraft {
    /// A draft that leaves the status as it is.
    pub(crate) fn new(input: &PlanInput<'_>) -> Self {
        let hub = &input.snapshot.hub;
        Self {
            now: input.snapshot.now,
            generation: hub.metadata.generation,
            old: hub.status.clone().unwrap_or_default(),
            written: last_written(input.snapshot),
            expected: 0,
            waits: match input.acceptance {
                Acceptance::Unknown(why) => Some(why),
                Acceptance::Accepted(_) | Acceptance::Refused(_) => None,
            },
            runtime: ObjectName { kind: "ConfigMap", name: names::runtime(input.owner.hub) },
            events: Vec::new(),
            said: Said::Nothing,
        }
    }

    /// A draft for a spec that is not accepted while nothing runs.
    pub(crate) fn refused(mut self, input: &PlanInput<'_>) -> Self {
        let waits = self.waits.is_some();
        let phase = if waits { Phase::Initializing } else { Phase::NotAccepted };
        let status = McpHubStatus {
            phase: Some(phase),
            replicas: Some(0),
            selector: Some(selector(input.owner.hub, None)),
            ..McpHubStatus::default()
        };
        let conditions = ConditionDrafts {
            accepted: conditions::accepted(input),
            available: ConditionDraft::no(
                "NothingRuns",
                "no revision of this hub was ever accepted",
            ),
            rolled_back: ConditionDraft::no("NotRolledBack", ""),
            servers: ConditionDraft::unknown("NotAsked", "there is no pod to ask"),
            phase,
            reason: String::new(),
            message: String::new(),
        };
        self.said = Said::Status {
            status: Box::new(status),
            conditions: Box::new(conditions),
            needs_runtime: false,
        };
        self
    }

    /// A draft from the decision of the engine.
    pub(crate) fn decided(
        mut self,
        input: &PlanInput<'_>,
        live: &ValidLive,
        decision: &Decision,
    ) -> Self {
        let report = &decision.report;
        let Servers { list: servers, tools, warnings, events } =
            servers::servers(input, decision, &self.old);
        self.events = events;
        let ready = servers.iter().filter(|server| server.ready);
        let at_rest = matches!(report.phase, Phase::Healthy | Phase::Guard);
        let useless = at_rest && !servers.is_empty() && !is_connected(decision, &servers);
        let (phase, reason) = match (&input.acceptance, useless) {
            (Acceptance::Refused(_), _) => (Phase::NotAccepted, report.reason.as_str()),
            (_, true) => (Phase::Initializing, "NoServerConnected"),
            (_, false) => (report.phase, report.reason.as_str()),
        };
        let stable =
            decision.state.stable.as_ref().and_then(|stable| decision.live.get(&stable.revision));
        let status = McpHubStatus {
            observed_generation: None,
            phase: Some(phase),
            conditions: Vec::new(),
            stable: parts::stable(report, input),
            canary: parts::canary(report, input),
            rules: parts::rules(report),
            flags: parts::flags(input, decision),
            servers_ready: (!servers.is_empty())
                .then(|| format!("{}/{}", ready.count(), servers.len())),
            tools,
            warnings,
            history: parts::history(input, live, decision),
            replicas: Some(stable.copied().unwrap_or(input.snapshot.hub.spec.replicas)),
            selector: Some(selector(input.owner.hub, serving(decision))),
            endpoint: Some(format!(
                "http://{}.{}.svc:{}/mcp",
                input.owner.hub, input.owner.namespace, live.service.port
            )),
            servers,
        };
        let conditions = ConditionDrafts {
            accepted: conditions::accepted(input),
            available: conditions::available(input, decision),
            rolled_back: conditions::rolled_back(report),
            servers: servers::condition(&status.servers),
            phase,
            reason: reason.into(),
            message: message(report, &status),
        };
        self.said = Said::Status {
            status: Box::new(status),
            conditions: Box::new(conditions),
            needs_runtime: true,
        };
        self
    }

    /// Events about what the status does not report yet.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// Sets the number of writes that must be acknowledged.
    pub(crate) fn expect(&mut self, writes: usize) {
        self.expected = writes;
    }
}

/// When an operator last wrote the status, from the managed fields.
fn last_written(snapshot: &Snapshot) -> Option<Timestamp> {
    let entries = snapshot.hub.metadata.managed_fields.iter().flatten();
    let status = entries.filter(|entry| entry.subresource.as_deref() == Some("status"));
    status.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

/// The revision whose pods count for autoscalers: stable, or the canary of a first deployment.
fn serving(decision: &Decision) -> Option<&Revision> {
    let Decision { state, .. } = decision;
    let stable = state.stable.as_ref().map(|stable| &stable.revision);
    stable.or_else(|| state.canary.as_ref().map(|canary| &canary.revision))
}

/// Selects the pods of one revision, for autoscalers. Idle pods, which guard or an inspection
/// keeps, would distort their averages.
fn selector(hub: &str, revision: Option<&Revision>) -> String {
    let mut all = labels::selector(hub, Component::Hub);
    all.extend(revision.map(|revision| (labels::REVISION.to_owned(), revision.to_string())));
    all.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Whether the revision that serves is, or was, connected to a server.
fn is_connected(decision: &Decision, servers: &[ServerStatus]) -> bool {
    let remembered = decision.state.stable.as_ref().is_some_and(|stable| stable.connected);
    remembered || servers.iter().any(|server| server.ready)
}

/// What the engine says, which servers a hub that serves lacks, and what in its spec has no effect.
fn message(report: &Report, status: &McpHubStatus) -> String {
    let message = &report.message;
    // The phase of the engine, which knows nothing about servers.
    if !matches!(report.phase, Phase::Healthy | Phase::Guard) {
        return message.clone();
    }
    let (first, rest) = message.split_once("; ").unwrap_or((message, ""));
    let lack = servers::not_connected(&status.servers).map(|lack| format!(", but {lack}"));
    let first = format!("{first}{}", lack.unwrap_or_default());
    let warnings = status.warnings.iter().map(String::as_str);
    let rest = warnings.chain([rest]).filter(|part| !part.is_empty());
    std::iter::once(first.as_str()).chain(rest).collect::<Vec<_>>().join("; ")
}

/// Derives the status from what the API server acknowledged.
pub fn status(draft: &StatusDraft, acknowledged: &Acknowledged) -> McpHubStatus {
    let mut written = acknowledged.objects.iter().map(|write| write.object.object_name());
    let Said::Status { status, conditions, needs_runtime } = &draft.said else {
        return draft.old.clone();
    };
    // Without the runtime ConfigMap the engine's decision has not taken effect yet.
    let mut new = if *needs_runtime && !written.any(|name| name == draft.runtime) {
        draft.old.clone()
    } else {
        (**status).clone()
    };
    let written = acknowledged.objects.len() == draft.expected;
    let whole = written && acknowledged.failures.is_empty() && draft.waits.is_none();
    new.observed_generation = if whole { draft.generation } else { draft.old.observed_generation };
    new.conditions = conditions::all(conditions, acknowledged, whole, draft);
    quiet(new, draft)
}

/// Keeps the old status if the new one differs only in values that change all the time, and the old
/// one is young. A status that is written every second wakes everybody who watches it.
fn quiet(new: McpHubStatus, draft: &StatusDraft) -> McpHubStatus {
    let young = draft.written.is_some_and(|written| {
        // The clock of the API server may be ahead.
        Duration::try_from(draft.now.duration_since(written)).unwrap_or_default() < QUIET
    });
    let steady = |status: &McpHubStatus| {
        let mut status = status.clone();
        for rule in &mut status.rules {
            (rule.value, rule.stable_value, rule.samples) = (None, None, None);
        }
        if let Some(canary) = &mut status.canary {
            canary.bake_observed = None;
        }
        // The reasons of these conditions are stable, but their messages contain elapsed times.
        let counting = |condition: &&mut Condition| {
            ["Ready", "Reconciling", "Stalled"].contains(&&*condition.type_)
        };
        for condition in status.conditions.iter_mut().filter(counting) {
            let words = condition
                .message
                .split_whitespace()
                .filter(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
            condition.message = words.collect::<Vec<_>>().join(" ");
        }
        status
    };
    if young && steady(&new) == steady(&draft.old) { draft.old.clone() } else { new }
}

//! The conditions: Ready, Reconciling and Stalled of kstatus, and our own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mcphub_crds::status::{Phase, ServerStatus};
use mcphub_hub_wire::dataplane::Weight;

use super::{LONGEST, StatusDraft};
use crate::api::Rejection;
use crate::input::PlanInput;
use crate::rollout::Decision;
use crate::rollout::report::Report;

/// One condition without times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConditionDraft {
    status: &'static str,
    reason: String,
    message: String,
}

impl ConditionDraft {
    pub(super) fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "True", reason: reason.into(), message: message.into() }
    }

    pub(super) fn no(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "False", reason: reason.into(), message: message.into() }
    }

    pub(super) fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "Unknown", reason: reason.into(), message: message.into() }
    }

    fn from_bool(value: bool, reason: &str, message: &str) -> Self {
        if value { Self::yes(reason, message) } else { Self::no(reason, message) }
    }
}

/// Drafts of the conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConditionDrafts {
    pub(super) accepted: ConditionDraft,
    pub(super) available: ConditionDraft,
    pub(super) rolled_back: ConditionDraft,
    pub(super) servers: ConditionDraft,
    pub(super) phase: Phase,
    pub(super) reason: String,
    pub(super) message: String,
}

pub(super) fn accepted(input: &PlanInput<'_>) -> ConditionDraft {
    match &input.accepted {
        Ok(_) => ConditionDraft::yes("Accepted", "the spec is valid"),
        Err(problems) => {
            let reason = problems.first().map_or("InvalidSpec", |problem| problem.reason.as_str());
            let messages: Vec<_> =
                problems.iter().map(|problem| problem.message.as_str()).collect();
            ConditionDraft::no(reason, messages.join("; "))
        }
    }
}

pub(super) fn available(input: &PlanInput<'_>, decision: &Decision) -> ConditionDraft {
    let serving =
        decision.dataplane.revisions.iter().filter(|(_, state)| state.weight > Weight::ZERO);
    let ready: u32 =
        serving.filter_map(|(revision, _)| Some(input.facts.get(revision)?.ready)).sum();
    match (ready, input.routers.ready) {
        (0, _) => ConditionDraft::no(
            "NoReadyPod",
            "no pod with traffic is Ready; see the events of the hub pods",
        ),
        (_, 0) => ConditionDraft::no(
            "NoReadyRouter",
            "no router is Ready; see the events of the router pods",
        ),
        (pods, routers) => ConditionDraft::yes(
            "Serving",
            format!("{pods} hub pods and {routers} routers are Ready"),
        ),
    }
}

pub(super) fn rolled_back(report: &Report) -> ConditionDraft {
    match &report.rollback {
        Some(cause) => ConditionDraft::yes(
            "RolledBack",
            format!("revision {}: {}", cause.revision, cause.reason),
        ),
        None => {
            ConditionDraft::no("NotRolledBack", "no rollback since the last change of the spec")
        }
    }
}

pub(super) fn servers(servers: &[ServerStatus]) -> ConditionDraft {
    let down: Vec<_> =
        servers.iter().filter(|server| !server.ready).map(|server| server.name.as_str()).collect();
    match (servers.len(), down.len()) {
        (0, _) => ConditionDraft::unknown("NotAsked", "no hub pod has answered yet"),
        (all, 0) => ConditionDraft::yes("AllConnected", format!("all {all} servers are connected")),
        (all, some) => ConditionDraft::no(
            "NotConnected",
            format!(
                "{some} of {all} servers are not connected: {}; see status.servers",
                down.join(", ")
            ),
        ),
    }
}

/// The status of Ready, Reconciling and Stalled in each phase.
fn standing(phase: Phase) -> [bool; 3] {
    match phase {
        Phase::Initializing
        | Phase::Progressing
        | Phase::Holding
        | Phase::Paused
        | Phase::Unknown => [false, true, false],
        Phase::Guard | Phase::Healthy => [true, false, false],
        Phase::Failed | Phase::RolledBack | Phase::NotAccepted => [false, false, true],
    }
}

pub(super) fn all(
    conditions: &ConditionDrafts,
    refusal: Option<&Rejection>,
    whole: bool,
    draft: &StatusDraft,
) -> Vec<Condition> {
    let (reason, message) = match conditions.phase {
        Phase::NotAccepted => {
            (conditions.accepted.reason.clone(), conditions.accepted.message.clone())
        }
        _ => (conditions.reason.clone(), conditions.message.clone()),
    };
    let [ready, reconciling, stalled] = match refusal {
        Some(rejection) => {
            let object = &rejection.object;
            let message = format!(
                "the API server refuses {} \"{}\": {}; correct what the message names, the \
                 operator retries",
                object.kind, object.name, rejection.message
            );
            let claim = |holds| ConditionDraft::from_bool(holds, "WriteRefused", &message);
            [claim(false), claim(false), claim(true)]
        }
        None if !whole => {
            let claim = |holds| {
                ConditionDraft::from_bool(holds, "Applying", "not all objects are written yet")
            };
            [claim(false), claim(true), claim(false)]
        }
        None => standing(conditions.phase)
            .map(|holds| ConditionDraft::from_bool(holds, &reason, &message)),
    };
    [
        ("Ready", ready),
        ("Reconciling", reconciling),
        ("Stalled", stalled),
        ("Accepted", conditions.accepted.clone()),
        ("Available", conditions.available.clone()),
        ("RolledBack", conditions.rolled_back.clone()),
        ("ServersReady", conditions.servers.clone()),
    ]
    .into_iter()
    .map(|(kind, claim)| condition(kind, claim, draft))
    .collect()
}

fn condition(kind: &str, claim: ConditionDraft, draft: &StatusDraft) -> Condition {
    let ConditionDraft { status, reason, message } = claim;
    let old = draft.old.conditions.iter().find(|old| old.type_ == kind && old.status == status);
    Condition {
        type_: kind.into(),
        status: status.into(),
        // The API server rejects an empty reason.
        reason: if reason.is_empty() { "Unspecified".into() } else { reason },
        message: cut(message),
        observed_generation: draft.generation,
        last_transition_time: old.map_or(Time(draft.now), |old| old.last_transition_time.clone()),
    }
}

fn cut(message: String) -> String {
    if message.len() <= LONGEST {
        return message;
    }
    let mut end = LONGEST;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} …", &message[..end])
}

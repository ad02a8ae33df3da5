//! The conditions: Ready, Reconciling and Stalled of kstatus, and our own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::Weight;

use super::{LONGEST, StatusDraft};
use crate::api::{Acknowledged, ObjectName};
use crate::input::{Acceptance, PlanInput};
use crate::rollout::Decision;
use crate::rollout::report::Report;
use crate::rollout::state::Pin;
use crate::rollout::text::counted;

/// Reason while the API server has not said whether it accepts what the spec asks for.
const NOT_CHECKED: &str = "NotChecked";

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
    match &input.acceptance {
        Acceptance::Accepted(_) => ConditionDraft::yes("Accepted", "the spec is valid"),
        Acceptance::Unknown(why) => ConditionDraft::unknown(NOT_CHECKED, *why),
        Acceptance::Refused(problems) => {
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
            format!(
                "{} and {} are Ready",
                counted(pods as usize, "hub pod"),
                counted(routers as usize, "router")
            ),
        ),
    }
}

pub(super) fn rolled_back(report: &Report) -> ConditionDraft {
    if let Some(Pin { revision, instead_of }) = &report.pinned {
        return ConditionDraft::yes(
            "RollbackTo",
            format!("a person asked for revision {revision} (rollback-to) instead of {instead_of}"),
        );
    }
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

/// Ready, Reconciling and Stalled of kstatus. Exactly one of them is True.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ready,
    Reconciling,
    Stalled,
}

fn standing(phase: Phase) -> Standing {
    match phase {
        Phase::Initializing
        | Phase::Progressing
        | Phase::Holding
        | Phase::Paused
        | Phase::Unknown => Standing::Reconciling,
        Phase::Guard | Phase::Healthy => Standing::Ready,
        Phase::Failed | Phase::RolledBack | Phase::NotAccepted => Standing::Stalled,
    }
}

/// Only the condition that is True has the whole message, because nobody wants to read it three
/// times in an incident. Ready, which people read first, keeps the part before the details.
fn kstatus(standing: Standing, reason: &str, message: &str) -> [(&'static str, ConditionDraft); 3] {
    let claim = |own: Standing, otherwise: String| {
        if own == standing {
            ConditionDraft::yes(reason, message)
        } else {
            ConditionDraft::no(reason, otherwise)
        }
    };
    let headline = match message.split_once(": ") {
        Some((headline, _)) => format!("{headline}; see the condition {standing:?}"),
        None => message.to_owned(),
    };
    [
        ("Ready", claim(Standing::Ready, headline)),
        ("Reconciling", claim(Standing::Reconciling, "nothing is in progress".into())),
        ("Stalled", claim(Standing::Stalled, "nothing is stuck".into())),
    ]
}

pub(super) fn all(
    conditions: &ConditionDrafts,
    acknowledged: &Acknowledged,
    whole: bool,
    draft: &StatusDraft,
) -> Vec<Condition> {
    let object = |object: &ObjectName| format!("{} \"{}\"", object.kind, object.name);
    let (refusal, failure) = (acknowledged.rejections.first(), acknowledged.failures.first());
    let kstatus = if let Some(rejection) = refusal {
        let message = format!(
            "the API server refuses {}: {}; correct what the message names, the operator retries",
            object(&rejection.object),
            rejection.message
        );
        kstatus(Standing::Stalled, "WriteRefused", &message)
    } else if let Some(failure) = failure {
        let (verb, name) = (failure.verb, object(&failure.object));
        let message = format!("failed to {verb} {name}: {}; the operator retries", failure.message);
        kstatus(Standing::Reconciling, "Applying", &message)
    } else if let Some(why) = draft.waits {
        let message = format!("the change of the spec waits: {why}; the operator asks again");
        kstatus(Standing::Reconciling, NOT_CHECKED, &message)
    } else if !whole {
        kstatus(Standing::Reconciling, "Applying", "not all objects are written yet")
    } else if conditions.phase == Phase::NotAccepted {
        let message = format!("the spec is not accepted: {}", conditions.accepted.message);
        kstatus(Standing::Stalled, &conditions.accepted.reason, &message)
    } else {
        kstatus(standing(conditions.phase), &conditions.reason, &conditions.message)
    };
    let own = [
        ("Accepted", conditions.accepted.clone()),
        ("Available", conditions.available.clone()),
        ("RolledBack", conditions.rolled_back.clone()),
        ("ServersReady", conditions.servers.clone()),
    ];
    let all = kstatus.into_iter().chain(own);
    all.map(|(kind, claim)| condition(kind, claim, draft)).collect()
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

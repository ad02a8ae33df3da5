//! Conditions: kstatus's Ready, Reconciling and Stalled, and ours.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mcphub_crds::status::{Phase, ServerStatus};
use mcphub_hub_wire::dataplane::Weight;

use super::{Draft, LONGEST};
use crate::plan::Rejection;
use crate::rollout::report::Report;
use crate::rollout::{Observation, Outcome};
use crate::scene::Scene;

/// One condition, before it has times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    status: &'static str,
    reason: String,
    message: String,
}

impl Claim {
    pub(super) fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "True", reason: reason.into(), message: message.into() }
    }

    pub(super) fn no(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "False", reason: reason.into(), message: message.into() }
    }

    pub(super) fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "Unknown", reason: reason.into(), message: message.into() }
    }

    fn of(holds: bool, reason: &str, message: &str) -> Self {
        if holds { Self::yes(reason, message) } else { Self::no(reason, message) }
    }
}

/// What the conditions are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) accepted: Claim,
    pub(super) available: Claim,
    pub(super) rolled_back: Claim,
    pub(super) servers: Claim,
    pub(super) phase: Phase,
    pub(super) reason: String,
    pub(super) message: String,
}

pub(super) fn accepted(scene: &Scene<'_>) -> Claim {
    match &scene.accepted {
        Ok(_) => Claim::yes("Accepted", "the spec can be done"),
        Err(problems) => {
            let reason = problems.first().map_or("InvalidSpec", |problem| problem.reason.as_str());
            let messages: Vec<_> =
                problems.iter().map(|problem| problem.message.as_str()).collect();
            Claim::no(reason, messages.join("; "))
        }
    }
}

pub(super) fn available(seen: &Observation<'_>, outcome: &Outcome) -> Claim {
    let serving =
        outcome.dataplane.revisions.iter().filter(|(_, state)| state.weight > Weight::ZERO);
    let ready: u32 =
        serving.filter_map(|(revision, _)| Some(seen.revisions.get(revision)?.ready)).sum();
    match (ready, seen.routers.ready) {
        (0, _) => Claim::no(
            "NoReadyPod",
            "no pod that has traffic is Ready; look at the hub pods' events",
        ),
        (_, 0) => Claim::no("NoReadyRouter", "no router is Ready; look at the router pods' events"),
        (pods, routers) => {
            Claim::yes("Serving", format!("{pods} hub pods and {routers} routers are Ready"))
        }
    }
}

pub(super) fn rolled_back(report: &Report) -> Claim {
    match &report.rollback {
        Some(cause) => {
            Claim::yes("RolledBack", format!("revision {}: {}", cause.revision, cause.reason))
        }
        None => Claim::no("NotRolledBack", "no rollback since the spec changed last"),
    }
}

pub(super) fn servers(servers: &[ServerStatus]) -> Claim {
    let down: Vec<_> =
        servers.iter().filter(|server| !server.ready).map(|server| server.name.as_str()).collect();
    match (servers.len(), down.len()) {
        (0, _) => Claim::unknown("NotAsked", "no hub pod has answered yet"),
        (all, 0) => Claim::yes("AllConnected", format!("all {all} servers are connected")),
        (all, some) => Claim::no(
            "NotConnected",
            format!(
                "{some} of {all} servers are not connected: {}; see status.servers",
                down.join(", ")
            ),
        ),
    }
}

/// Ready, Reconciling, Stalled: the table of rollout.md.
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

/// All conditions with their times.
pub(super) fn all(
    claims: &Claims,
    refusal: Option<&Rejection>,
    whole: bool,
    draft: &Draft,
) -> Vec<Condition> {
    let (reason, message) = match claims.phase {
        Phase::NotAccepted => (claims.accepted.reason.clone(), claims.accepted.message.clone()),
        _ => (claims.reason.clone(), claims.message.clone()),
    };
    let [ready, reconciling, stalled] = match refusal {
        Some(rejection) => {
            let object = &rejection.object;
            let message = format!(
                "the API server refuses {} \"{}\": {}; mend what it names, the operator tries again",
                object.kind, object.name, rejection.message
            );
            let claim = |holds| Claim::of(holds, "WriteRefused", &message);
            [claim(false), claim(false), claim(true)]
        }
        None if !whole => {
            let claim = |holds| Claim::of(holds, "Applying", "not all objects are written yet");
            [claim(false), claim(true), claim(false)]
        }
        None => standing(claims.phase).map(|holds| Claim::of(holds, &reason, &message)),
    };
    [
        ("Ready", ready),
        ("Reconciling", reconciling),
        ("Stalled", stalled),
        ("Accepted", claims.accepted.clone()),
        ("Available", claims.available.clone()),
        ("RolledBack", claims.rolled_back.clone()),
        ("ServersReady", claims.servers.clone()),
    ]
    .into_iter()
    .map(|(kind, claim)| condition(kind, claim, draft))
    .collect()
}

fn condition(kind: &str, claim: Claim, draft: &Draft) -> Condition {
    let Claim { status, reason, message } = claim;
    let old = draft.old.conditions.iter().find(|old| old.type_ == kind && old.status == status);
    Condition {
        type_: kind.into(),
        status: status.into(),
        // The API server refuses an empty one.
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

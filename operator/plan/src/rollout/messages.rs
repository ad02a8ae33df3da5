//! What the status says about a state: phase, reason, and a sentence that says what to do next.
//! Events are worded by the transitions that send them, such as [`super::rollback`].

use std::time::Duration;

use jiff::Timestamp;
use mcphub_crds::status::{HoldReason, Phase, RuleVerdict};
use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::attempt::AttemptResult;
use super::clock::after;
use super::engine::Engine;
use super::intent::Verb;
use super::report::{CanaryReport, Report, RuleReport, StableReport};
use super::rules::judgment::{RuleJudgment, Verdict};
use super::state::{Canary, Pin, RollbackCause, StepState};
use super::steps::{pause, step};
use super::suggestion::{advice, suggestion};
use super::text::plain;
use super::{guard, target};

/// Number of servers that a message names.
const NAMED_SERVERS: usize = 3;

/// Phase, reason of the conditions, and message.
type Summary = (Phase, &'static str, String);

pub(super) fn report(engine: &Engine<'_>) -> Report {
    let (phase, reason, message) = summary(engine);
    let state = &engine.state;
    let keep_for = engine.input.policy.rollback.keep_for;
    let rollback = rollback(engine);
    let rules = rules(engine, rollback.as_ref());
    let stable = state.stable.as_ref();
    Report {
        phase,
        reason: reason.into(),
        message,
        stable: stable
            .map(|stable| StableReport { revision: stable.revision.clone(), since: stable.since }),
        canary: match (&state.canary, &rollback) {
            (Some(canary), _) => Some(canary_report(engine, canary)),
            (None, Some(cause)) => Some(rolled_back_canary(engine, cause)),
            (None, None) => None,
        },
        previous: state.previous.as_ref().map(|previous| {
            let guard =
                if previous.guard_over { previous.drained_at } else { previous.guard_until };
            (previous.revision.clone(), guard.max(previous.drained_at))
        }),
        failed: state
            .failed
            .as_ref()
            .map(|failed| (failed.revision.clone(), after(failed.since, keep_for))),
        rules,
        flags_rolled_back: state.flags_rolled_back.clone(),
        pinned: target::pin(engine).cloned(),
        rollback,
        intents: state.intents.clone(),
    }
}

/// The last rollback, as long as the spec still asks for its revision.
fn rollback(engine: &Engine<'_>) -> Option<RollbackCause> {
    let spec = engine.state.spec_revision.as_ref().map(|spec| &spec.revision);
    engine.state.rollback.clone().filter(|cause| Some(&cause.revision) == spec)
}

/// A canary that was rolled back, as it was then, but without traffic.
fn rolled_back_canary(engine: &Engine<'_>, cause: &RollbackCause) -> CanaryReport {
    CanaryReport {
        revision: cause.revision.clone(),
        attempt: cause.attempt,
        step: cause.step,
        steps: u32::try_from(engine.input.policy.steps.len()).unwrap_or(u32::MAX),
        weight: Weight::ZERO,
        bake_observed: Duration::from_millis(cause.observed_ms),
        bake_required: Duration::from_millis(cause.bake_ms),
        holding: None,
    }
}

fn canary_report(engine: &Engine<'_>, canary: &Canary) -> CanaryReport {
    let step = canary.step.as_ref();
    CanaryReport {
        revision: canary.revision.clone(),
        attempt: canary.attempt,
        step: step.map_or(0, |step| step.number),
        steps: u32::try_from(engine.input.policy.steps.len()).unwrap_or(u32::MAX),
        weight: canary.weight,
        bake_observed: step.map_or(Duration::ZERO, |step| step.observed().min(step.required())),
        bake_required: step.map_or(Duration::ZERO, StepState::required),
        holding: canary.hold.as_ref().map(|hold| (hold.reason, hold.since)),
    }
}

fn summary(engine: &Engine<'_>) -> Summary {
    match (&engine.state.canary, &engine.state.stable) {
        (Some(canary), None) => first_deployment(engine, canary),
        (Some(canary), Some(_)) => in_progress(engine, canary),
        (None, None) => nothing_serves(engine),
        (None, Some(stable)) => match target::wanted(engine) {
            Some(wanted) if wanted != stable.revision && target::blocked(engine, &wanted) => {
                withdrawn(engine, &wanted)
            }
            Some(wanted) if wanted != stable.revision => {
                let message = format!("revision {wanted} starts when an older revision is gone");
                (Phase::Progressing, "RolloutStarting", message)
            }
            Some(_) | None => match target::pin(engine) {
                Some(pin) => pinned(engine, pin),
                None => at_rest(engine),
            },
        },
    }
}

/// A person decided that the spec does not serve. Whoever comes next must see that.
fn pinned(engine: &Engine<'_>, pin: &Pin) -> Summary {
    let Pin { revision, instead_of } = pin;
    let kept = previous(engine).map(|(_, kept)| format!("; {kept}")).unwrap_or_default();
    let message = format!(
        "revision {revision} serves, because a person asked for it (rollback-to), and revision \
         {instead_of}, which the spec asks for, does not; this ends when the spec changes{kept}"
    );
    (Phase::RolledBack, "RollbackTo", message)
}

/// What the pods of the previous revision are kept for, and whether guard is over.
fn previous(engine: &Engine<'_>) -> Option<(bool, String)> {
    let previous = engine.state.previous.as_ref()?;
    let (now, revision) = (engine.now(), &previous.revision);
    let time = |then: Timestamp| then.strftime("%H:%M:%S UTC");
    if now >= previous.guard_until
        && !previous.guard_over
        && let Some(why) = guard::unsettled(engine)
    {
        return Some((false, format!("revision {revision} is kept warm longer: {why}")));
    }
    let guard_over = previous.guard_over || now >= previous.guard_until;
    let end = time(previous.guard_until.max(previous.drained_at));
    Some(if guard_over {
        (true, format!("sessions of revision {revision} end until {}", time(previous.drained_at)))
    } else {
        (false, format!("revision {revision} is kept warm until {end}"))
    })
}

fn in_progress(engine: &Engine<'_>, canary: &Canary) -> Summary {
    let Canary { revision, weight, .. } = canary;
    let percent = weight.percent();
    if let Some(withdrawal) = &canary.withdrawal {
        let message = format!(
            "revision {revision} keeps {percent}% until the stable pods are Ready to take over: {}",
            withdrawal.reason
        );
        return (Phase::Progressing, "RollingBack", message);
    }
    let intent = |verb| suggestion(engine.input, verb, revision, canary.attempt);
    if let Some(why) = pause::reason(engine) {
        let then = format!(
            "set the annotation mcphub.dev/intent to {}, {} or {}",
            intent(Verb::Resume),
            intent(Verb::Promote),
            intent(Verb::Abort)
        );
        let then = if engine.input.policy.paused {
            "set spec.rollout.paused to false to go on".into()
        } else {
            then
        };
        return (
            Phase::Paused,
            "Paused",
            format!("revision {revision} stays at {percent}%: {why}; {then}"),
        );
    }
    if let Some(step) = canary.step.as_ref().filter(|_| pause::waits_for_person(engine)) {
        let passed = canary
            .hold
            .as_ref()
            .map_or_else(|| "passed".into(), |hold| format!("ended: {}", hold.message));
        let advance = intent(Verb::Advance { step: step.number });
        let message = format!(
            "step {} {passed} and waits for a person; set the annotation mcphub.dev/intent to \
             {advance}",
            step.number
        );
        return (Phase::Paused, "PauseStep", message);
    }
    if let Some(hold) = &canary.hold {
        let reason = hold_name(hold.reason);
        return (
            Phase::Holding,
            reason,
            format!("revision {revision} stays at {percent}%: {}", hold.message),
        );
    }
    (Phase::Progressing, "RollingOut", progress(engine, canary))
}

fn nothing_serves(engine: &Engine<'_>) -> Summary {
    match target::wanted(engine) {
        Some(wanted) if target::blocked(engine, &wanted) => {
            let attempt = engine.state.records.get(&wanted).map_or(1, |record| record.attempt);
            let message = format!(
                "revision {wanted} was rolled back, and no other revision was ever promoted; {}",
                advice(engine.input, &wanted, attempt)
            );
            (Phase::Failed, "FirstDeploymentFailed", message)
        }
        Some(_) | None => (Phase::Initializing, "NothingYet", "no revision is accepted yet".into()),
    }
}

fn withdrawn(engine: &Engine<'_>, wanted: &Revision) -> Summary {
    let record = engine.state.records.get(wanted);
    let aborted = record.is_some_and(|record| record.result == Some(AttemptResult::Aborted));
    let reason = record.map_or("", |record| record.reason.as_str());
    let attempt = record.map_or(1, |record| record.attempt);
    let message = format!(
        "stable serves; revision {wanted} does not: {reason}; {}",
        advice(engine.input, wanted, attempt)
    );
    (Phase::RolledBack, if aborted { "Aborted" } else { "RolledBack" }, message)
}

fn at_rest(engine: &Engine<'_>) -> Summary {
    let unwatched = if engine.input.policy.prometheus.is_none() {
        "; the operator has no Prometheus, so changes go to 100% and only Kubernetes watches them"
    } else {
        ""
    };
    let serves = "the revision that the spec asks for serves";
    match previous(engine) {
        Some((false, kept)) => (Phase::Guard, "Guard", format!("{serves} 100%; {kept}{unwatched}")),
        Some((true, kept)) => (Phase::Healthy, "Healthy", format!("{serves}; {kept}{unwatched}")),
        None => (Phase::Healthy, "Healthy", format!("{serves}{unwatched}")),
    }
}

/// What the container servers of a canary suffer from, which its self-check may fail for.
fn server_problems(engine: &Engine<'_>, canary: &Canary) -> String {
    let facts = engine.input.revisions.get(&canary.revision);
    let problems = facts.iter().flat_map(|facts| &facts.server_problems);
    let failed = problems.filter(|(_, problem)| !problem.starting);
    let told =
        failed.map(|(server, problem)| format!("; server \"{server}\": {}", problem.message));
    told.take(NAMED_SERVERS).collect::<Vec<_>>().concat()
}

fn progress(engine: &Engine<'_>, canary: &Canary) -> String {
    let Canary { revision, weight, .. } = canary;
    let percent = weight.percent();
    let Some(step) = &canary.step else {
        let check = match (canary.self_check.failed, canary.self_check.message.as_str()) {
            (_, "") => String::new(),
            (0, message) => format!("; not answered yet: {message}"),
            (tries, message) => format!("; {tries} tries failed: {message}"),
        };
        let servers = server_problems(engine, canary);
        return format!(
            "revision {revision} gets no traffic until its pods are Ready and pass their \
             self-check{check}{servers}"
        );
    };
    if *weight < step.traffic {
        return format!(
            "revision {revision} stays at {percent}% until its pods for {}% are Ready",
            step.traffic.percent()
        );
    }
    match &step.bake {
        None => match warming_up(engine, canary) {
            Some(end) => format!(
                "revision {revision} gets {percent}%; its bake starts after the warmup, at {}",
                end.strftime("%H:%M:%S UTC")
            ),
            None => {
                format!("revision {revision} gets {percent}% when all routers have applied it")
            }
        },
        Some(bake) => format!(
            "revision {revision} gets {percent}%; observed for {} of {}",
            plain(bake.observed()),
            plain(step.required())
        ),
    }
}

fn first_deployment(engine: &Engine<'_>, canary: &Canary) -> Summary {
    let Canary { revision, .. } = canary;
    let servers = server_problems(engine, canary);
    if let Some(why) = &canary.never_worked {
        let message = format!(
            "revision {revision} does not work yet: {why}; it serves as soon as it works, or \
             change the spec{servers}"
        );
        return (Phase::Failed, "FirstDeploymentFailed", message);
    }
    if let Some(hold) = &canary.hold {
        return (
            Phase::Initializing,
            hold_name(hold.reason),
            format!("revision {revision}: {}", hold.message),
        );
    }
    let failed = &canary.self_check;
    let check = if failed.failed == 0 {
        String::new()
    } else {
        format!("; {} tries failed: {}", failed.failed, failed.message)
    };
    let message = format!(
        "revision {revision} serves when its pods are Ready and pass their \
         self-check{check}{servers}"
    );
    debug_assert!(canary.weight == Weight::ZERO);
    (Phase::Initializing, "FirstDeployment", message)
}

fn hold_name(reason: HoldReason) -> &'static str {
    use HoldReason as Reason;
    match reason {
        Reason::GateNotMet => "GateNotMet",
        Reason::TooFewSamples => "TooFewSamples",
        Reason::NoData => "NoData",
        Reason::ProviderDown => "ProviderDown",
        Reason::NodeLost => "NodeLost",
        Reason::Unschedulable => "Unschedulable",
        Reason::PodsMissing => "PodsMissing",
        Reason::RoutersLag => "RoutersLag",
        Reason::Unknown => "Holding",
    }
}

/// When the warmup of a canary with traffic ends; `None` if it is over.
fn warming_up(engine: &Engine<'_>, canary: &Canary) -> Option<Timestamp> {
    let end = step::warmup_end(engine.input, Some(canary)).filter(|end| engine.now() < *end)?;
    (canary.weight > Weight::ZERO).then_some(end)
}

/// The rules as they stand. During the warmup none of them has a verdict.
fn rules(engine: &Engine<'_>, rollback: Option<&RollbackCause>) -> Vec<RuleReport> {
    let canary = engine.state.canary.as_ref();
    if canary.and_then(|canary| warming_up(engine, canary)).is_none() {
        let last = rollback.and_then(|cause| cause.judgment.as_ref());
        let judgment = engine.state.judgment.as_ref().or(last).into_iter();
        return judgment.flat_map(|judgment| &judgment.rules).map(rule_report).collect();
    }
    let applicable = engine.input.policy.rules.iter().filter(|rule| rule.applicable);
    let report = applicable.map(|rule| RuleReport {
        name: rule.name.clone(),
        value: None,
        stable_value: None,
        samples: None,
        verdict: RuleVerdict::WarmingUp,
        breached_since: None,
    });
    report.collect()
}

fn rule_report(rule: &RuleJudgment) -> RuleReport {
    let breached_since = match rule.trigger {
        Some(Verdict::Breach { since }) => Some(since),
        Some(
            Verdict::Good
            | Verdict::TooFew { .. }
            | Verdict::NoData
            | Verdict::ProviderDown
            | Verdict::NotApplicable,
        )
        | None => None,
    };
    RuleReport {
        name: rule.name.clone(),
        value: rule.value,
        stable_value: rule.stable_value,
        samples: rule.samples,
        verdict: verdict(rule),
        breached_since,
    }
}

/// The worse one of trigger and gate. Before its epoch a trigger has no verdict.
fn verdict(rule: &RuleJudgment) -> RuleVerdict {
    match (&rule.trigger, &rule.gate) {
        (Some(Verdict::Breach { .. }), _) => RuleVerdict::Breach,
        (Some(Verdict::NotApplicable), _) => RuleVerdict::NotApplicable,
        (Some(Verdict::ProviderDown), _) | (_, Some(Verdict::ProviderDown)) => {
            RuleVerdict::ProviderDown
        }
        (Some(Verdict::NoData), _) | (_, Some(Verdict::NoData)) => RuleVerdict::NoData,
        (_, Some(Verdict::Breach { .. })) => RuleVerdict::GateNotMet,
        (_, Some(Verdict::TooFew { .. })) | (Some(Verdict::TooFew { .. }) | None, None) => {
            RuleVerdict::TooFewSamples
        }
        (_, Some(Verdict::NotApplicable)) => RuleVerdict::NotApplicable,
        (Some(Verdict::Good), None) | (_, Some(Verdict::Good)) => RuleVerdict::Good,
    }
}

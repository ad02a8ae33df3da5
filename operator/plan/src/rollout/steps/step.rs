//! One step of a canary: pods for the weight, the weight, routers, bake, gates.

use std::time::Duration;

use jiff::Timestamp;
use mcphub_crds::rollout::OnTooFew;
use mcphub_hub_wire::dataplane::Weight;

use super::standing::{self, Standing};
use super::{hold, next_step, pause, pods, promotion, self_check};
use crate::rollout::clock::{after, elapsed, millis};
use crate::rollout::engine::Engine;
use crate::rollout::input::{EngineInput, RouterFacts};
use crate::rollout::rules::bake::Bake;
use crate::rollout::rules::query_plan;
use crate::rollout::state::{Canary, HoldReason};
use crate::rollout::text::plain;
use crate::rollout::{rollback, scale};

/// Takes one transition of a canary that has passed its self-check.
pub(in crate::rollout) fn advance_step(engine: &mut Engine<'_>) -> bool {
    let Some(canary) = &engine.state.canary else { return false };
    let Some(step) = canary.step.as_ref().filter(|_| canary.withdrawal.is_none()) else {
        return false;
    };
    if canary.skip_steps.is_some() && step.traffic < Weight::FULL {
        next_step::enter(engine);
        return true;
    }
    if canary.weight < step.traffic {
        return shift_traffic(engine);
    }
    if step.bake.is_none() {
        return start_bake(engine);
    }
    hold::time_out(engine) || bake(engine)
}

/// Gives the canary the weight of its step when the pods for it are Ready.
fn shift_traffic(engine: &mut Engine<'_>) -> bool {
    let Some(canary) = &engine.state.canary else { return false };
    let Some(step) = &canary.step else { return false };
    let (number, traffic) = (step.number, step.traffic);
    let ready = scale::ready(engine.input, &canary.revision);
    let first = engine.state.stable.is_none();
    let needed = if first { 1 } else { scale::pods_for(traffic, &engine.state, engine.input) };
    if ready < needed {
        return pods::wait(engine);
    }
    if hold::release(engine, &[HoldReason::Unschedulable]) {
        return true;
    }
    // Before a first deployment nothing serves, so a pause could not protect anything.
    if !first && pause::reason(engine).is_some() {
        return false;
    }
    if traffic == Weight::FULL {
        promotion::promote(engine);
        return true;
    }
    let revision = canary_name(engine.state.canary.as_ref());
    engine.emit(
        false,
        "TrafficShifted",
        format!("{revision} gets {}% (step {number})", traffic.percent()),
    );
    let now = engine.now();
    engine.change_canary(|canary| {
        canary.weight = traffic;
        if let Some(step) = &mut canary.step {
            step.weight_since = Some(now);
        }
    })
}

/// Starts the bake when every Ready router obeys the weight.
fn start_bake(engine: &mut Engine<'_>) -> bool {
    let routers = engine.input.routers;
    if routers.ready == 0 || routers.obeyed.is_none_or(|obeyed| obeyed < engine.state.generation) {
        return hold::time_out(engine) || routers_lag(engine);
    }
    let now = engine.now();
    if hold::release(engine, &[HoldReason::RoutersLag]) {
        return true;
    }
    // Nothing is judged during the warmup, so it proves nothing either.
    if warmup_end(engine.input, engine.state.canary.as_ref()).is_some_and(|end| now < end) {
        return false;
    }
    engine.change_canary(|canary| {
        if let Some(step) = &mut canary.step {
            step.bake = Some(Bake::begin(now));
        }
    })
}

fn bake(engine: &mut Engine<'_>) -> bool {
    let Some((canary, step)) = engine.at_step() else { return false };
    let missing = scale::pods_for(canary.weight, &engine.state, engine.input)
        .saturating_sub(scale::ready(engine.input, &canary.revision));
    let facts = engine.input.revisions.get(&canary.revision);
    if missing > 0 {
        let homeless = facts.is_some_and(|facts| facts.unschedulable > 0);
        let message = format!("{missing} of its pods are not Ready");
        return if homeless {
            hold::hold(engine, HoldReason::Unschedulable, message)
        } else {
            pods_missing(engine, message)
        };
    }
    let number = step.number;
    match standing::standing(engine, canary, step) {
        Standing::Baking => {
            // An outdated evaluation ends no hold. The next one is due now.
            !query_plan::due(&engine.state, engine.input) && hold::release_any(engine)
        }
        Standing::ProviderDown(message) => hold::hold(engine, HoldReason::ProviderDown, message),
        Standing::NoData(_) if is_first_scrape_due(engine) => false,
        Standing::NoData(message) => hold::hold(engine, HoldReason::NoData, message),
        Standing::Unmet(message) => gate_not_met(engine, message),
        Standing::TooFew(message) => forget_unmet(engine) | too_few(engine, &message),
        Standing::Passed if forget_unmet(engine) | hold::release_any(engine) => true,
        Standing::Passed => pass(engine, number),
    }
}

/// When the warmup of a canary ends; `None` before its first pod is Ready.
pub(in crate::rollout) fn warmup_end(
    input: &EngineInput<'_>,
    canary: Option<&Canary>,
) -> Option<Timestamp> {
    Some(after(canary?.first_ready?, input.policy.warmup))
}

/// Pods of the canary are gone, and no node is to blame. They may come back until
/// `progressDeadline`. A quota or an admission webhook that refuses them leaves no pod that could
/// be looked at.
fn pods_missing(engine: &mut Engine<'_>, message: String) -> bool {
    let deadline = engine.input.policy.progress_deadline;
    let hold = engine.state.canary.as_ref().and_then(|canary| canary.hold.as_ref());
    let since = hold.filter(|hold| hold.reason == HoldReason::PodsMissing).map(|hold| hold.since);
    if since.is_none_or(|since| elapsed(engine.now(), since) < deadline) {
        return hold::hold(engine, HoldReason::PodsMissing, message);
    }
    pods::give_up(engine, format!("{message} for {}", plain(deadline)))
}

/// Routers apply a weight in well under a second, so one that has not is worth a word.
const ROUTER_GRACE: Duration = Duration::from_secs(30);

fn routers_lag(engine: &mut Engine<'_>) -> bool {
    let since = engine.at_step().and_then(|(_, step)| step.weight_since);
    if since.is_none_or(|since| elapsed(engine.now(), since) < ROUTER_GRACE) {
        return false;
    }
    let message = match engine.input.routers {
        RouterFacts { ready: 0, .. } => "no router pod is Ready",
        RouterFacts { obeyed: None, .. } => {
            "a router does not say which weights it has applied; check that the operator reaches \
             port 7001 of the router pods"
        }
        RouterFacts { obeyed: Some(_), .. } => "a router has not applied the weight yet",
    };
    hold::hold(engine, HoldReason::RoutersLag, message.into())
}

/// After a shift of traffic, a new pod is not scraped at once. That is no hold yet.
fn is_first_scrape_due(engine: &Engine<'_>) -> bool {
    let Some(prometheus) = &engine.input.policy.prometheus else { return false };
    let bake = engine.at_step().and_then(|(_, step)| step.bake.as_ref());
    let grace = (prometheus.scrape_interval * 4).saturating_add(prometheus.ingest_delay);
    bake.is_some_and(|bake| elapsed(engine.now(), bake.began) < grace)
}

/// Enters the next step, unless it must wait for a person.
fn pass(engine: &mut Engine<'_>, number: u32) -> bool {
    let waits = engine.at_step().is_some_and(|(_, step)| step.pause && !step.advanced);
    if waits || pause::reason(engine).is_some() {
        return false;
    }
    engine.emit(
        false,
        "StepPassed",
        format!("{} passed step {number}", canary_name(engine.state.canary.as_ref())),
    );
    next_step::enter(engine);
    true
}

fn gate_not_met(engine: &mut Engine<'_>, message: String) -> bool {
    let limit = engine.input.policy.gate_timeout;
    let Some((_, step)) = engine.at_step() else { return false };
    let observed = millis(step.observed());
    match step.unmet_from_ms {
        // This is counted in observed time, so an outage of Prometheus brings no rollback closer.
        Some(from) if observed.saturating_sub(from) >= millis(limit) => {
            rollback::roll_back(
                engine,
                format!("gate not met for {}: {message}", plain(limit)),
                None,
                false,
            );
            true
        }
        Some(_) => hold::hold(engine, HoldReason::GateNotMet, message),
        None => {
            engine.change_canary(|canary| {
                if let Some(step) = &mut canary.step {
                    step.unmet_from_ms = Some(observed);
                }
            });
            hold::hold(engine, HoldReason::GateNotMet, message);
            true
        }
    }
}

/// Starts `gateTimeout` again, because no gate is unmet now; `false` if it does not run.
fn forget_unmet(engine: &mut Engine<'_>) -> bool {
    let step = engine.state.canary.as_mut().and_then(|canary| canary.step.as_mut());
    step.is_some_and(|step| step.unmet_from_ms.take().is_some())
}

fn too_few(engine: &mut Engine<'_>, message: &str) -> bool {
    if hold::hold(engine, HoldReason::TooFewSamples, message.to_owned()) {
        return true;
    }
    let Some((canary, step)) = engine.at_step() else { return false };
    let limit = standing::longest_bake(engine, step);
    let waits = step.pause && !step.advanced;
    let since_resume = millis(step.observed()).saturating_sub(step.resumed_at_ms);
    if since_resume < millis(limit) || waits || pause::reason(engine).is_some() {
        return false;
    }
    let why = format!("{message} after {} at step {}", plain(limit), step.number);
    match engine.input.policy.on_too_few {
        OnTooFew::Pause => {
            engine.change_canary(|canary| canary.paused = Some(format!("{why} (onTooFew: Pause)")));
            engine.emit(
                true,
                "RolloutPaused",
                format!("{why}; send traffic and then resume, or promote or abort"),
            );
            true
        }
        OnTooFew::Proceed if self_check::passes(engine.input, &canary.revision) => {
            engine.emit(
                false,
                "StepPassedUnjudged",
                format!("{why}; its self-check passes (onTooFew: Proceed)"),
            );
            engine.change_canary(|canary| {
                canary.exceptions.push(format!("{why} (onTooFew: Proceed)"));
            });
            next_step::enter(engine);
            true
        }
        OnTooFew::Proceed => false,
    }
}

fn canary_name(canary: Option<&Canary>) -> String {
    canary.map_or_else(String::new, |canary| format!("revision {}", canary.revision))
}

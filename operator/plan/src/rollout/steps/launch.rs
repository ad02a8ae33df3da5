//! A canary before its first traffic: its pods become Ready and pass their self-check.

use super::self_check::{self, TRIES};
use super::{hold, next_step, pods};
use crate::rollout::clock::elapsed;
use crate::rollout::engine::Engine;
use crate::rollout::input::SelfCheckFact;
use crate::rollout::scale;
use crate::rollout::state::HoldReason;

/// Takes a canary from its creation to its first step.
pub(in crate::rollout) fn launch(engine: &mut Engine<'_>) -> bool {
    let Some(canary) = &engine.state.canary else { return false };
    if canary.withdrawal.is_some() || canary.step.is_some() {
        return false;
    }
    let ready = scale::ready(engine.input, &canary.revision);
    if canary.first_ready.is_none() && ready > 0 {
        let since =
            engine.input.revisions.get(&canary.revision).and_then(|facts| facts.ready_since);
        let first =
            since.unwrap_or(engine.now()).clamp(canary.started.min(engine.now()), engine.now());
        return engine.change_canary(|canary| canary.first_ready = Some(first));
    }
    if ready < scale::launch_pods(canary, &engine.state, engine.input) {
        return pods::wait(engine);
    }
    check(engine)
}

/// Nothing is known, which says nothing about the revision. Only `progressDeadline` ends it.
fn unanswered(engine: &mut Engine<'_>, message: Option<&String>) -> bool {
    let Some(canary) = &mut engine.state.canary else { return false };
    let news = message.filter(|message| canary.self_check.message != **message).cloned();
    let changed = news.map(|news| canary.self_check.message = news).is_some();
    let since = canary.progress_since;
    if elapsed(engine.now(), since) < engine.input.policy.progress_deadline {
        return changed;
    }
    let why = message.map(|message| format!(": {message}")).unwrap_or_default();
    pods::give_up(engine, format!("its pods did not answer a self-check in time{why}")) || changed
}

fn check(engine: &mut Engine<'_>) -> bool {
    let released = hold::release(engine, &[HoldReason::Unschedulable]);
    let (now, input) = (engine.now(), engine.input);
    let Some(canary) = &engine.state.canary else { return false };
    if !self_check::is_due(&engine.state, canary, input) {
        return released;
    }
    let facts = input.revisions.get(&canary.revision);
    match facts.map_or(&SelfCheckFact::Unknown, |facts| &facts.self_check) {
        SelfCheckFact::Unknown => released || unanswered(engine, None),
        SelfCheckFact::Unanswered(message) => unanswered(engine, Some(message)) || released,
        SelfCheckFact::Passed => {
            engine.emit(
                false,
                "SelfCheckPassed",
                format!("revision {} passed its self-check", canary.revision),
            );
            engine.change_canary(|canary| {
                canary.never_worked = None;
                canary.progress_since = now;
            });
            next_step::enter(engine);
            true
        }
        SelfCheckFact::Failed(message) => {
            let failed = canary.self_check.failed.saturating_add(1);
            engine.change_canary(|canary| {
                canary.self_check.failed = failed;
                canary.self_check.last = Some(now);
                canary.self_check.message.clone_from(message);
            });
            if failed >= TRIES {
                pods::give_up(engine, format!("its self-check failed {TRIES} times: {message}"));
            }
            true
        }
    }
}

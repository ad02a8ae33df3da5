//! Waits for the pods of a canary until `progressDeadline`. `input/pod_facts.rs` decides which pods
//! are broken.

use super::hold;
use crate::rollout::clock::elapsed;
use crate::rollout::engine::Engine;
use crate::rollout::rollback;
use crate::rollout::state::HoldReason;
use crate::rollout::text::plain;

/// Waits for pods until `progressDeadline`. A pod without a node is not the fault of the revision.
pub(super) fn wait(engine: &mut Engine<'_>) -> bool {
    let now = engine.now();
    let Some(canary) = &engine.state.canary else { return false };
    let facts = engine.input.revisions.get(&canary.revision);
    if let Some(number) = facts.map(|facts| facts.unschedulable).filter(|number| *number > 0) {
        return hold::hold(
            engine,
            HoldReason::Unschedulable,
            format!("{number} of its pods have no node; see the events of the pods"),
        );
    }
    if hold::release(engine, &[HoldReason::Unschedulable]) {
        // The deadline applies only while the revision has nodes to run on.
        return engine.change_canary(|canary| canary.progress_since = now);
    }
    let Some(canary) = &engine.state.canary else { return false };
    let deadline = engine.input.policy.progress_deadline;
    if elapsed(now, canary.progress_since) < deadline {
        return false;
    }
    let pods = facts.map(|facts| facts.broken.as_slice()).unwrap_or_default();
    let why = pods.first().map(|pod| format!(": {} {}", pod.name, pod.why)).unwrap_or_default();
    let reason = format!("its pods were not Ready within {}{why}", plain(deadline));
    give_up(engine, reason)
}

/// Rolls the canary back. Without a stable revision, it reports the failure and keeps trying.
pub(super) fn give_up(engine: &mut Engine<'_>, reason: String) -> bool {
    let Some(canary) = &engine.state.canary else { return false };
    if engine.state.stable.is_some() {
        rollback::roll_back(engine, reason, None, false);
        return true;
    }
    if canary.never_worked.is_some() {
        return false;
    }
    engine.emit(true, "FirstDeploymentFailed", format!("revision {}: {reason}", canary.revision));
    engine.change_canary(|canary| canary.never_worked = Some(reason))
}

//! Enters the next step of a canary.

use crate::rollout::clock::millis;
use crate::rollout::engine::Engine;
use crate::rollout::state::StepState;

/// Enters the first step with more traffic than the canary has, or the last step if the steps are
/// skipped.
pub(super) fn enter(engine: &mut Engine<'_>) {
    let Some(canary) = &engine.state.canary else { return };
    let steps = &engine.input.policy.steps;
    let found = match canary.skip_steps {
        Some(_) => steps.len().checked_sub(1),
        None => steps.iter().position(|step| step.traffic > canary.weight),
    };
    let Some((at, step)) = found.and_then(|at| Some((at, steps.get(at)?))) else { return };
    let step = StepState {
        number: u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1),
        traffic: step.traffic,
        bake_ms: millis(step.bake),
        pause: step.pause,
        advanced: false,
        weight_since: None,
        bake: None,
        unmet_from_ms: None,
        resumed_at_ms: 0,
    };
    let now = engine.now();
    engine.change_canary(|canary| {
        canary.step = Some(step);
        canary.hold = None;
        canary.progress_since = now;
    });
    // Gates belong to one step. Triggers continue.
    for rule in engine.state.judgment.iter_mut().flat_map(|judgment| &mut judgment.rules) {
        rule.gate = None;
    }
}

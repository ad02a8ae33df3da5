//! A rollout that waits for a person.

use super::standing::{self, Standing};
use crate::rollout::engine::Engine;

/// Why the rollout is paused, if a person or the spec paused it.
pub(in crate::rollout) fn reason(engine: &Engine<'_>) -> Option<String> {
    let by_spec = engine.input.policy.paused.then(|| "spec.rollout.paused is true".to_owned());
    by_spec.or_else(|| engine.state.canary.as_ref()?.paused.clone())
}

pub(in crate::rollout) fn waits_for_person(engine: &Engine<'_>) -> bool {
    let Some((canary, step)) = engine.at_step() else { return false };
    let waits =
        step.pause && !step.advanced && canary.weight == step.traffic && step.bake.is_some();
    waits
        && match standing::standing(engine, canary, step) {
            Standing::Passed => true,
            // More time brings no more samples, so a person must decide.
            Standing::TooFew(_) => step.observed() >= standing::longest_bake(engine, step),
            Standing::Baking
            | Standing::Unmet(_)
            | Standing::NoData(_)
            | Standing::ProviderDown(_) => false,
        }
}

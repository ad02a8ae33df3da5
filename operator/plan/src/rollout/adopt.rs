//! The state that the engine starts from: the one that was stored, or a new one for a hub whose
//! state is lost.

use super::engine::Engine;
use super::input::EngineInput;
use super::rebuild::rebuild;
use super::state::EngineState;

pub(super) fn adopt<'a>(state: Option<&EngineState>, input: &'a EngineInput<'a>) -> Engine<'a> {
    let mut next = state.cloned().unwrap_or_else(|| rebuild(input));
    next.term = input.term;
    for (revision, facts) in input.revisions {
        if let (false, Some(record)) = (next.records.contains_key(revision), &facts.attempt) {
            next.records.insert(revision.clone(), record.clone());
        }
    }
    no_later_than_now(&mut next, input);
    let written = input.dataplane.map_or(0, |dataplane| dataplane.generation);
    let base_generation = written.max(next.generation);
    Engine { state: next, input, base_generation, events: Vec::new() }
}

/// Corrects times that lie in the future. A leader whose clock was ahead would otherwise stop the
/// evaluation until these times are reached.
fn no_later_than_now(state: &mut EngineState, input: &EngineInput<'_>) {
    state.last_judgment = state.last_judgment.map(|last| last.min(input.now));
    if let Some(canary) = &mut state.canary {
        canary.progress_since = canary.progress_since.min(input.now);
        canary.first_ready = canary.first_ready.map(|ready| ready.min(input.now));
        canary.self_check.last = canary.self_check.last.map(|last| last.min(input.now));
        if let Some(step) = &mut canary.step {
            step.weight_since = step.weight_since.map(|since| since.min(input.now));
            if let Some(bake) = &mut step.bake {
                bake.no_later_than(input.now);
            }
        }
    }
}

//! The state that the engine starts from: the one that was stored, or a new one for a hub whose
//! state is lost.

use mcphub_hub_wire::dataplane::Revision;

use super::attempt::{AttemptRecord, AttemptResult};
use super::engine::Engine;
use super::input::EngineInput;
use super::state::{EngineState, Stable};

pub(super) fn adopt<'a>(state: Option<&EngineState>, input: &'a EngineInput<'a>) -> Engine<'a> {
    let mut next = state.cloned().unwrap_or_else(|| rebuilt(input));
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

/// Rebuilds a lost state: the latest promoted revision is stable, and an unfinished attempt starts
/// again at its first step.
fn rebuilt(input: &EngineInput<'_>) -> EngineState {
    let promoted = input.revisions.iter().filter_map(|(revision, facts)| {
        let record = facts
            .attempt
            .as_ref()
            .filter(|record| record.result == Some(AttemptResult::Promoted))?;
        Some((record.at, facts.created, revision, record))
    });
    let latest = promoted.max_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    let deployed = input.revisions.values().any(|facts| facts.deployed.is_some());
    EngineState {
        stable: latest.map(|(_, _, revision, record)| stable(revision, record)),
        // Routers obey the highest generation that they have seen, and nobody remembers which one
        // that was. The seconds since 1970 are more than any hub has counted to.
        generation: if deployed {
            u64::try_from(input.now.as_second()).unwrap_or_default()
        } else {
            0
        },
        ..EngineState::default()
    }
}

fn stable(revision: &Revision, record: &AttemptRecord) -> Stable {
    Stable {
        revision: revision.clone(),
        since: record.at,
        epoch: None,
        forced: false,
        flags_tried: false,
        connected: false,
    }
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

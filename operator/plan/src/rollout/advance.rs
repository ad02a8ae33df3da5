//! One decision of the engine: transitions are taken until none is left.

use mcphub_hub_wire::dataplane::{Dataplane, Revision, SCHEMA};

use super::adopt::adopt;
use super::decision::Decision;
use super::engine::Engine;
use super::input::EngineInput;
use super::rules::evaluation;
use super::state::EngineState;
use super::steps::{launch, step};
use super::{commands, flags, guard, messages, rollback, scale, schedule, spec_change, target};

/// Upper bound of transitions in one decision. A longer chain is a bug, and ends with the next
/// reconcile.
const MOST_TURNS: usize = 32;

/// Decides what follows from `state` and `input`. `state` is `None` if there is none, or if it was
/// lost.
pub fn advance(state: Option<&EngineState>, input: &EngineInput<'_>) -> Decision {
    let mut engine = adopt(state, input);
    target::note_spec(&mut engine, state.is_none());
    take_in_results(&mut engine);
    note_connection(&mut engine);
    settle(&mut engine);
    for _ in 0..MOST_TURNS {
        if !next_transition(&mut engine) {
            break;
        }
        settle(&mut engine);
    }
    decision(engine)
}

/// Takes the most urgent transition; `false` if there is none.
fn next_transition(engine: &mut Engine<'_>) -> bool {
    // A trigger is obeyed before everything else (invariant 3).
    rollback::obey_trigger(engine)
        || guard::obey_trigger(engine)
        || commands::obey_intent(engine)
        || spec_change::follow_spec(engine)
        || rollback::cut_traffic(engine)
        || launch::launch(engine)
        || step::advance_step(engine)
        || guard::end(engine)
        || rollback::remove_failed(engine)
}

/// Evaluates the results of the queries.
fn take_in_results(engine: &mut Engine<'_>) {
    let Some((judgment, bake)) = evaluation::evaluate(&engine.state, engine.input) else { return };
    let of_canary =
        engine.state.canary.as_mut().filter(|canary| canary.revision == judgment.revision);
    if let (Some(bake), Some(step)) = (bake, of_canary.and_then(|canary| canary.step.as_mut())) {
        step.bake = Some(bake);
    }
    engine.state.last_judgment = Some(judgment.at);
    engine.state.judgment = Some(judgment);
}

/// Remembers that stable has worked. Nobody can tell later, when its servers are down.
fn note_connection(engine: &mut Engine<'_>) {
    let stable = engine.state.stable.as_ref().map(|stable| &stable.revision);
    let connected = stable.is_some_and(|stable| engine.is_connected(stable));
    if let Some(stable) = engine.state.stable.as_mut().filter(|_| connected) {
        stable.connected = true;
    }
    let canary = engine.state.canary.as_ref().map(|canary| &canary.revision);
    let connected = canary.is_some_and(|canary| engine.is_connected(canary));
    if let Some(canary) = engine.state.canary.as_mut().filter(|_| connected) {
        canary.connected = true;
    }
}

/// The generation rises when the dataplane changes, and only then: at most once per decision.
fn settle(engine: &mut Engine<'_>) {
    let wanted = scale::dataplane(&engine.state, engine.input);
    let same = engine
        .input
        .dataplane
        .is_some_and(|found| found.revisions == wanted && found.schema == SCHEMA);
    engine.state.generation =
        if same { engine.base_generation } else { engine.base_generation.saturating_add(1) };
}

fn decision(mut engine: Engine<'_>) -> Decision {
    forget_removed_revisions(&mut engine);
    let dataplane = Dataplane {
        schema: SCHEMA,
        generation: engine.state.generation,
        revisions: scale::dataplane(&engine.state, engine.input),
    };
    let live = scale::live(&engine.state, engine.input);
    let report = messages::report(&engine);
    let next = schedule::next(&engine);
    Decision { state: engine.state, dataplane, live, report, events: engine.events, next }
}

/// Removes revisions that have neither a ControllerRevision nor a role.
fn forget_removed_revisions(engine: &mut Engine<'_>) {
    let roles: std::collections::BTreeSet<Revision> =
        scale::with_role(&engine.state).into_iter().cloned().collect();
    let input = engine.input;
    engine
        .state
        .records
        .retain(|revision, _| roles.contains(revision) || input.revisions.contains_key(revision));
    flags::forget_removed_revisions(&mut engine.state, &roles);
}

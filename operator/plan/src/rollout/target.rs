//! The revision that must serve in the end.

use mcphub_hub_wire::dataplane::Revision;

use super::attempt::AttemptResult;
use super::engine::Engine;
use super::flags;
use super::state::{EngineState, Pin, SpecRevision};

/// Records what the spec asks for. After a loss of the state nobody can say that it changed.
pub(super) fn note_spec(engine: &mut Engine<'_>, lost: bool) {
    let Some(desired) = engine.input.desired else { return };
    if engine
        .state
        .spec_revision
        .as_ref()
        .is_some_and(|spec_revision| spec_revision.revision == *desired)
    {
        return;
    }
    let first = engine.state.spec_revision.is_none() && lost;
    let EngineState { spec_revision, stable, .. } = &engine.state;
    let before = spec_revision.as_ref().map(|spec_revision| &spec_revision.revision);
    let before = before.or(stable.as_ref().map(|stable| &stable.revision)).cloned();
    flags::inherit(&mut engine.state, engine.input, before.as_ref(), desired);
    engine.state.spec_revision = Some(SpecRevision { revision: desired.clone(), fresh: !first });
}

/// The revision that must serve in the end: the one that the spec or `rollback-to` asks for.
pub(super) fn wanted(engine: &Engine<'_>) -> Option<Revision> {
    let spec_revision = &engine.state.spec_revision.as_ref()?.revision;
    Some(pin(engine).map_or(spec_revision, |pin| &pin.revision).clone())
}

/// Whether its last attempt failed, so that it is tried again only on request.
pub(super) fn blocked(engine: &Engine<'_>, revision: &Revision) -> bool {
    let fresh =
        engine.state.spec_revision.as_ref().is_some_and(|spec_revision| {
            spec_revision.fresh && spec_revision.revision == *revision
        });
    match engine.state.records.get(revision).and_then(|record| record.result) {
        None | Some(AttemptResult::Promoted | AttemptResult::Replaced) => false,
        Some(AttemptResult::RolledBack) => true,
        Some(AttemptResult::Aborted) => !fresh,
        Some(AttemptResult::Failed) => !fresh && engine.state.stable.is_some(),
    }
}

/// The effect of `rollback-to`, as long as it decides which revision serves.
pub(super) fn pin<'a>(engine: &'a Engine<'_>) -> Option<&'a Pin> {
    let spec_revision = &engine.state.spec_revision.as_ref()?.revision;
    engine.state.pin.as_ref().filter(|pin| pin.instead_of == *spec_revision)
}

pub(super) fn unpin(engine: &mut Engine<'_>) {
    let spec_revision =
        engine.state.spec_revision.as_ref().map(|spec_revision| &spec_revision.revision);
    if engine.state.pin.as_ref().is_some_and(|pin| Some(&pin.instead_of) != spec_revision) {
        engine.state.pin = None;
    }
}

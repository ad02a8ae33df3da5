//! The revisions whose objects a plan may create. The names of these objects are looked up before
//! the engine decides.

use std::collections::BTreeSet;

use mcphub_hub_wire::dataplane::Revision;

use super::adopt::adopt;
use super::engine::Engine;
use super::input::EngineInput;
use super::intent::Verb;
use super::state::EngineState;
use super::{scale, target};

/// Revisions whose objects [`super::advance()`] may ask for, whatever the results of the probes
/// are: those that live now, and the one that the spec or an intent may start.
pub fn candidates(state: Option<&EngineState>, input: &EngineInput<'_>) -> BTreeSet<Revision> {
    let mut engine = adopt(state, input);
    target::note_spec(&mut engine, state.is_none());
    target::unpin(&mut engine);
    let mut all: BTreeSet<Revision> = scale::live(&engine.state, input).into_keys().collect();
    // A blocked revision is not started and its objects are deleted. A lookup of their names in
    // every reconcile would be useless.
    all.extend(target::wanted(&engine).filter(|wanted| !target::blocked(&engine, wanted)));
    all.extend(named_by_intent(&engine));
    all
}

/// The revision that an intent starts, if the intent has not been obeyed yet.
fn named_by_intent(engine: &Engine<'_>) -> Option<Revision> {
    let intent = engine.input.intent.as_ref()?.as_ref().ok()?;
    let last = engine.state.intents.last().filter(|last| last.intent == *intent);
    let obeyed = last.is_some_and(|last| !last.waits && !last.withdrawn);
    let starts = matches!(intent.verb, Verb::Retry | Verb::RollbackTo);
    (starts && !obeyed).then(|| intent.revision.clone())
}

//! One look at a hub: transitions are taken until none is left.

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, SCHEMA, Weight};

use super::state::{EngineState, Failed};
use super::{EngineInput, Outcome, Record, RevisionResult, questions, scale};
use crate::plan::Event;

/// More transitions than one look can take: a chain that is longer is a bug, and ends at the next look.
const MOST_TURNS: usize = 32;

/// One step of the state machine: what follows from `state` (`None`: there is none, or it was lost) and what was seen.
pub fn advance(state: Option<&EngineState>, input: &EngineInput<'_>) -> Outcome {
    let mut engine = Engine::adopt(state, input);
    engine.note_spec(state.is_none());
    engine.judge();
    engine.settle();
    for _ in 0..MOST_TURNS {
        if !engine.turn() {
            break;
        }
        engine.settle();
    }
    engine.outcome()
}

/// The state on its way from one look to the next.
pub(super) struct Engine<'a> {
    pub(super) state: EngineState,
    pub(super) input: &'a EngineInput<'a>,
    /// Generation that `seen.dataplane` has, or that the state left.
    pub(super) base_generation: u64,
    pub(super) events: Vec<Event>,
}

impl Engine<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.input.now
    }

    /// The most urgent transition; `false`: there is none.
    fn turn(&mut self) -> bool {
        // A trigger is obeyed before anything else is looked at (invariant 3).
        self.obey_trigger()
            || self.obey_guard_trigger()
            || self.obey_intent()
            || self.follow_spec()
            || self.cut()
            || self.launch()
            || self.walk()
            || self.end_guard()
            || self.forget_failed()
    }

    /// Takes in the answers of Prometheus.
    fn judge(&mut self) {
        let Some((judged, bake)) = questions::judged(&self.state, self.input) else { return };
        let of_canary =
            self.state.canary.as_mut().filter(|canary| canary.revision == judged.revision);
        if let (Some(bake), Some(step)) = (bake, of_canary.and_then(|canary| canary.step.as_mut()))
        {
            step.bake = Some(bake);
        }
        self.state.last_judged = Some(judged.at);
        self.state.judged = Some(judged);
    }

    /// The generation rises with the dataplane, and only then: at most once a look.
    fn settle(&mut self) {
        let wanted = scale::dataplane(&self.state, self.input);
        let same = self
            .input
            .dataplane
            .is_some_and(|found| found.revisions == wanted && found.schema == SCHEMA);
        self.state.generation =
            if same { self.base_generation } else { self.base_generation.saturating_add(1) };
    }

    pub(super) fn tell(&mut self, warning: bool, reason: &str, message: String) {
        self.events.push(Event { warning, reason: reason.into(), message });
    }

    /// Ends the attempt that goes on, in history.
    pub(super) fn record(
        &mut self,
        revision: &Revision,
        attempt: u32,
        result: RevisionResult,
        reason: String,
    ) {
        let at = self.now();
        self.state
            .records
            .insert(revision.clone(), Record { attempt, result: Some(result), reason, at });
        if let Some(asked) = self.state.asked.as_mut().filter(|asked| asked.revision == *revision) {
            asked.fresh = false;
        }
    }

    /// Keeps a revision without traffic, to be looked at; the one kept before it goes.
    pub(super) fn keep_failed(&mut self, revision: Revision, replicas: u32) {
        self.state.failed = Some(Failed { revision, since: self.now(), replicas });
    }

    /// Weight of the canary now.
    pub(super) fn canary_weight(&self) -> Weight {
        self.state.canary.as_ref().map_or(Weight::ZERO, |canary| canary.weight)
    }

    fn outcome(mut self) -> Outcome {
        self.forget_the_gone();
        let dataplane = Dataplane {
            schema: SCHEMA,
            generation: self.state.generation,
            revisions: scale::dataplane(&self.state, self.input),
        };
        let live = scale::live(&self.state, self.input);
        let report = self.report();
        let next = self.next();
        Outcome { state: self.state, dataplane, live, report, events: self.events, next }
    }

    /// Forgets what no ControllerRevision and no role holds any more.
    fn forget_the_gone(&mut self) {
        let roles: std::collections::BTreeSet<Revision> =
            scale::with_role(&self.state).into_iter().cloned().collect();
        let input = self.input;
        self.state.records.retain(|revision, _| {
            roles.contains(revision) || input.revisions.contains_key(revision)
        });
        self.state.flags_rolled_back.retain(|revision, _| roles.contains(revision));
    }
}

//! The engine while it decides. Transitions are free functions in the modules that are named after
//! them; see [`super::advance`] for their order.

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::attempt::{AttemptRecord, AttemptResult};
use super::input::EngineInput;
use super::state::{Canary, EngineState, FailedRevision, StepState};
use crate::api::Event;

/// The state while it changes.
pub(super) struct Engine<'a> {
    pub(super) state: EngineState,
    pub(super) input: &'a EngineInput<'a>,
    /// The higher one of the generations in the live `dataplane.json` and in the state.
    pub(super) base_generation: u64,
    pub(super) events: Vec<Event>,
}

impl Engine<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.input.now
    }

    pub(super) fn emit(&mut self, warning: bool, reason: &str, message: String) {
        self.events.push(Event { warning, reason: reason.into(), message });
    }

    /// Records the end of an attempt.
    pub(super) fn record(
        &mut self,
        revision: &Revision,
        attempt: u32,
        result: AttemptResult,
        reason: String,
    ) {
        let at = self.now();
        self.state
            .records
            .insert(revision.clone(), AttemptRecord { attempt, result: Some(result), reason, at });
        if let Some(spec_revision) = self
            .state
            .spec_revision
            .as_mut()
            .filter(|spec_revision| spec_revision.revision == *revision)
        {
            spec_revision.fresh = false;
        }
    }

    /// Keeps a revision without traffic for inspection. It replaces the one that was kept before.
    pub(super) fn keep_failed(&mut self, revision: Revision, replicas: u32) {
        self.state.failed = Some(FailedRevision { revision, since: self.now(), replicas });
    }

    pub(super) fn canary_weight(&self) -> Weight {
        self.state.canary.as_ref().map_or(Weight::ZERO, |canary| canary.weight)
    }

    /// Changes the canary. Returns `true`, because something changed.
    pub(super) fn change_canary(&mut self, change: impl FnOnce(&mut Canary)) -> bool {
        if let Some(canary) = &mut self.state.canary {
            change(canary);
        }
        true
    }

    /// Whether a pod of a revision has just reported that it is connected to a server.
    pub(super) fn is_connected(&self, revision: &Revision) -> bool {
        self.input.revisions.get(revision).is_some_and(|facts| facts.connected)
    }

    pub(super) fn at_step(&self) -> Option<(&Canary, &StepState)> {
        let canary = self.state.canary.as_ref()?;
        Some((canary, canary.step.as_ref()?))
    }
}

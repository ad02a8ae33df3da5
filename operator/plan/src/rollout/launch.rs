//! A canary before its first traffic: pods Ready, self-check passed.

use std::time::Duration;

use super::engine::Engine;
use super::report::plain;
use super::state::{Canary, EngineState, HoldReason, StepState, elapsed, millis};
use super::{EngineInput, SelfCheckFact, questions, scale};

/// Tries of a self-check, this far apart.
const TRIES: u32 = 3;
/// See [`TRIES`].
pub(super) const APART: Duration = Duration::from_secs(2);

/// The canary's pods are to be asked for their self-check now.
pub(super) fn self_check_due(
    state: &EngineState,
    canary: &Canary,
    input: &EngineInput<'_>,
) -> bool {
    let ready = scale::ready(input, &canary.revision);
    if canary.leave.is_some() || ready < scale::launch_pods(canary, state, input) {
        return false;
    }
    if canary.step.is_none() {
        return canary
            .self_check
            .last
            .is_none_or(|last| elapsed(input.now, last) >= pause_between(canary, input));
    }
    // `onTooFew: Proceed` asks for one that still passes.
    let too_few = canary.hold.as_ref().is_some_and(|hold| hold.reason == HoldReason::TooFewSamples);
    too_few && questions::due(state, input)
}

/// A first deployment that never worked is tried on for ever, at leisure.
pub(super) fn pause_between(canary: &Canary, input: &EngineInput<'_>) -> Duration {
    if canary.never_worked.is_some() { input.policy.interval } else { APART }
}

impl Engine<'_> {
    /// From nothing to the first step.
    pub(super) fn launch(&mut self) -> bool {
        let Some(canary) = &self.state.canary else { return false };
        if canary.leave.is_some() || canary.step.is_some() {
            return false;
        }
        let ready = scale::ready(self.input, &canary.revision);
        if canary.first_ready.is_none() && ready > 0 {
            let since =
                self.input.revisions.get(&canary.revision).and_then(|facts| facts.ready_since);
            let first =
                since.unwrap_or(self.now()).clamp(canary.started.min(self.now()), self.now());
            return self.change_canary(|canary| canary.first_ready = Some(first));
        }
        if ready < scale::launch_pods(canary, &self.state, self.input) {
            return self.await_pods();
        }
        self.self_check()
    }

    /// Changes the canary at hand; always `true`: something changed.
    pub(super) fn change_canary(&mut self, change: impl FnOnce(&mut Canary)) -> bool {
        if let Some(canary) = &mut self.state.canary {
            change(canary);
        }
        true
    }

    /// Waits for pods until `progressDeadline`; a pod that has no node is not the revision's fault.
    pub(super) fn await_pods(&mut self) -> bool {
        let now = self.now();
        let Some(canary) = &self.state.canary else { return false };
        let facts = self.input.revisions.get(&canary.revision);
        if let Some(number) = facts.map(|facts| facts.unschedulable).filter(|number| *number > 0) {
            return self.hold(
                HoldReason::Unschedulable,
                format!("{number} of its pods have no node; see their events"),
            );
        }
        if self.release(&[HoldReason::Unschedulable]) {
            // The deadline is for a revision that has nodes to run on.
            return self.change_canary(|canary| canary.progress_since = now);
        }
        let Some(canary) = &self.state.canary else { return false };
        let deadline = self.input.policy.progress_deadline;
        if elapsed(now, canary.progress_since) < deadline {
            return false;
        }
        let pods = facts.map(|facts| facts.broken.as_slice()).unwrap_or_default();
        let why = pods.first().map(|pod| format!(": {} {}", pod.name, pod.why)).unwrap_or_default();
        let reason = format!("its pods were not Ready within {}{why}", plain(deadline));
        self.give_up(reason)
    }

    /// Rolled back; or, with nothing to go back to, said and tried on.
    fn give_up(&mut self, reason: String) -> bool {
        let Some(canary) = &self.state.canary else { return false };
        if self.state.stable.is_some() {
            self.roll_back(reason, None, false);
            return true;
        }
        if canary.never_worked.is_some() {
            return false;
        }
        self.tell(true, "FirstDeploymentFailed", format!("revision {}: {reason}", canary.revision));
        self.change_canary(|canary| canary.never_worked = Some(reason))
    }

    fn self_check(&mut self) -> bool {
        let released = self.release(&[HoldReason::Unschedulable]);
        let (now, input) = (self.now(), self.input);
        let Some(canary) = &self.state.canary else { return false };
        if !self_check_due(&self.state, canary, input) {
            return released;
        }
        let facts = input.revisions.get(&canary.revision);
        match facts.map_or(&SelfCheckFact::Unknown, |facts| &facts.self_check) {
            SelfCheckFact::Unknown => {
                // Nobody answers: pods that are Ready and cannot be asked fall under the deadline as well.
                let late = elapsed(now, canary.progress_since) >= input.policy.progress_deadline;
                released
                    || (late && self.give_up("its pods did not answer a self-check in time".into()))
            }
            SelfCheckFact::Passed => {
                self.tell(false, "SelfCheckPassed", format!("revision {}", canary.revision));
                self.change_canary(|canary| {
                    canary.never_worked = None;
                    canary.progress_since = now;
                });
                self.enter_next_step();
                true
            }
            SelfCheckFact::Failed(message) => {
                let failed = canary.self_check.failed.saturating_add(1);
                self.change_canary(|canary| {
                    canary.self_check.failed = failed;
                    canary.self_check.last = Some(now);
                    canary.self_check.message.clone_from(message);
                });
                if failed >= TRIES {
                    self.give_up(format!("its self-check failed {TRIES} times: {message}"));
                }
                true
            }
        }
    }

    /// On to the first step that has more traffic than the canary has now; to the last one where no steps are due.
    pub(super) fn enter_next_step(&mut self) {
        let Some(canary) = &self.state.canary else { return };
        let steps = &self.input.policy.steps;
        let found = match canary.straight {
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
        };
        let now = self.now();
        self.change_canary(|canary| {
            canary.step = Some(step);
            canary.hold = None;
            canary.progress_since = now;
        });
        // Gates are of one step; triggers go on.
        for rule in self.state.judged.iter_mut().flat_map(|judged| &mut judged.rules) {
            rule.gate = None;
        }
    }
}

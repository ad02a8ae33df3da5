//! When the self-check of a canary runs, and whether it passed.

use std::time::Duration;

use mcphub_hub_wire::dataplane::Revision;

use crate::rollout::clock::elapsed;
use crate::rollout::input::{EngineInput, SelfCheckFact};
use crate::rollout::rules::query_plan;
use crate::rollout::scale;
use crate::rollout::state::{Canary, EngineState, HoldReason};

/// SelfCheckTries of a self-check, this far apart.
pub(super) const TRIES: u32 = 3;

/// See [`TRIES`].
const APART: Duration = Duration::from_secs(2);

/// The canary's pods are to be asked for their self-check now.
pub(in crate::rollout) fn is_due(
    state: &EngineState,
    canary: &Canary,
    input: &EngineInput<'_>,
) -> bool {
    let ready = scale::ready(input, &canary.revision);
    if canary.withdrawal.is_some() || ready < scale::launch_pods(canary, state, input) {
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
    too_few && query_plan::due(state, input)
}

/// A first deployment that never worked is tried on for ever, at leisure.
pub(in crate::rollout) fn pause_between(canary: &Canary, input: &EngineInput<'_>) -> Duration {
    if canary.never_worked.is_some() { input.policy.interval } else { APART }
}

/// The self-check of a revision has passed just now.
pub(crate) fn passes(input: &EngineInput<'_>, revision: &Revision) -> bool {
    input.revisions.get(revision).is_some_and(|facts| facts.self_check == SelfCheckFact::Passed)
}

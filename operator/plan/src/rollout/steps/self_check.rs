//! When the self-check of a canary runs, and whether it passed.

use std::time::Duration;

use mcphub_hub_wire::dataplane::Revision;

use crate::rollout::clock::elapsed;
use crate::rollout::input::{EngineInput, SelfCheckFact};
use crate::rollout::rules::query_plan;
use crate::rollout::scale;
use crate::rollout::state::{Canary, EngineState, HoldReason};

/// Number of tries of a self-check.
pub(super) const TRIES: u32 = 3;

/// Time between two tries.
const APART: Duration = Duration::from_secs(2);

/// Whether the canary's pods must run their self-check now.
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
    // `onTooFew: Proceed` requires that the self-check still passes.
    let too_few = canary.hold.as_ref().is_some_and(|hold| hold.reason == HoldReason::TooFewSamples);
    too_few && query_plan::due(state, input)
}

/// A first deployment that never worked is retried forever, but less often.
pub(in crate::rollout) fn pause_between(canary: &Canary, input: &EngineInput<'_>) -> Duration {
    if canary.never_worked.is_some() { input.policy.interval } else { APART }
}

/// Whether the self-check of a revision has just passed.
pub(crate) fn passes(input: &EngineInput<'_>, revision: &Revision) -> bool {
    input.revisions.get(revision).is_some_and(|facts| facts.self_check == SelfCheckFact::Passed)
}

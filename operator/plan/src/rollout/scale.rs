//! Weights, replicas and targets of a fast rollback, which follow from the state alone.

use std::collections::{BTreeMap, BTreeSet};

use mcphub_hub_wire::dataplane::{Revision, RevisionState, Role, Weight};

use super::attempt::AttemptResult;
use super::flags;
use super::input::EngineInput;
use super::policy::Policy;
use super::state::{Canary, EngineState};

/// `spec.replicas` (N), but during a rollout not less than at its start.
pub(crate) fn replicas(state: &EngineState, input: &EngineInput<'_>) -> u32 {
    state.canary.as_ref().map_or(input.replicas, |canary| input.replicas.max(canary.base_replicas))
}

/// Number of canary pods that a weight needs.
pub(crate) fn pods_for(weight: Weight, state: &EngineState, input: &EngineInput<'_>) -> u32 {
    let all = replicas(state, input);
    if weight == Weight::FULL {
        return all.max(1);
    }
    let share = (u64::from(all) * u64::from(weight.percent())).div_ceil(100);
    u32::try_from(share).unwrap_or(u32::MAX).max(input.policy.min_canary_replicas)
}

/// The weight that the canary gets next. Its pods are scaled for this weight.
pub(crate) fn target(canary: &Canary, input: &EngineInput<'_>) -> Weight {
    match (&canary.step, canary.skip_steps) {
        (_, Some(_)) => Weight::FULL,
        (Some(step), None) => canary.weight.max(step.traffic),
        (None, None) => input.policy.steps.first().map_or(Weight::FULL, |step| step.traffic),
    }
}

/// Number of Ready pods before the canary's self-check. For a first deployment, one pod is better
/// than none.
pub(crate) fn launch_pods(canary: &Canary, state: &EngineState, input: &EngineInput<'_>) -> u32 {
    if canary.skip_steps.is_some() { 1 } else { pods_for(target(canary, input), state, input) }
}

/// Whether all pods that the canary's weight needs are Ready.
pub(crate) fn available(state: &EngineState, canary: &Canary, input: &EngineInput<'_>) -> bool {
    ready(input, &canary.revision) >= pods_for(canary.weight, state, input)
}

/// Ready pods of a revision.
pub(crate) fn ready(input: &EngineInput<'_>, revision: &Revision) -> u32 {
    input.revisions.get(revision).map_or(0, |facts| facts.ready)
}

/// The last `fastRollback` promoted revisions besides stable, newest first. A rollback to one of
/// them takes no steps.
pub(crate) fn fast_rollbacks<'a>(state: &'a EngineState, policy: &Policy) -> Vec<&'a Revision> {
    let stable = state.stable.as_ref().map(|stable| &stable.revision);
    let promoted = state.records.iter().filter(|(revision, record)| {
        record.result == Some(AttemptResult::Promoted) && Some(*revision) != stable
    });
    let mut promoted: Vec<_> = promoted.map(|(revision, record)| (record.at, revision)).collect();
    promoted.sort_unstable_by(|a, b| b.cmp(a));
    let limit = usize::try_from(policy.fast_rollback).unwrap_or(usize::MAX);
    promoted.into_iter().take(limit).map(|(_, revision)| revision).collect()
}

/// Revisions with a role.
pub(crate) fn with_role(state: &EngineState) -> BTreeSet<&Revision> {
    let EngineState { stable, canary, previous, failed, .. } = state;
    let stable = stable.iter().map(|stable| &stable.revision);
    let canary = canary.iter().map(|canary| &canary.revision);
    let previous = previous.iter().map(|previous| &previous.revision);
    stable
        .chain(canary)
        .chain(previous)
        .chain(failed.iter().map(|failed| &failed.revision))
        .collect()
}

/// Revisions without a role whose pods may still get requests from a router, with replicas.
pub(crate) fn leaving<'a>(
    state: &EngineState,
    input: &'a EngineInput<'_>,
) -> BTreeMap<&'a Revision, u32> {
    // Nothing has served yet, so no session can be lost.
    let obeyed = input.routers.ready > 0
        && input.routers.obeyed.is_some_and(|obeyed| obeyed >= state.generation);
    if state.stable.is_none() || obeyed {
        return BTreeMap::new();
    }
    let roles = with_role(state);
    let deployed = input.revisions.iter().filter(|(revision, _)| !roles.contains(revision));
    deployed.filter_map(|(revision, facts)| facts.deployed.map(|pods| (revision, pods))).collect()
}

/// Revisions whose objects must exist, with replicas.
pub(crate) fn live(state: &EngineState, input: &EngineInput<'_>) -> BTreeMap<Revision, u32> {
    let all = replicas(state, input);
    // Routers come first: a Deployment that is scaled down before the routers have the generation
    // loses its sessions.
    let mut live: BTreeMap<Revision, u32> = leaving(state, input)
        .into_iter()
        .map(|(revision, pods)| (revision.clone(), pods))
        .collect();
    if let Some(failed) = &state.failed {
        live.insert(failed.revision.clone(), failed.replicas);
    }
    if let Some(previous) = &state.previous {
        live.insert(previous.revision.clone(), all);
    }
    if let Some(canary) = &state.canary {
        live.insert(canary.revision.clone(), canary_pods(canary, state, input));
    }
    if let Some(stable) = &state.stable {
        live.insert(stable.revision.clone(), all);
    }
    live
}

/// Number of pods that the canary must have.
pub(crate) fn canary_pods(canary: &Canary, state: &EngineState, input: &EngineInput<'_>) -> u32 {
    pods_for(target(canary, input).max(canary.weight), state, input)
}

/// Role, weight and flags of every revision with a role.
pub(crate) fn dataplane(
    state: &EngineState,
    input: &EngineInput<'_>,
) -> BTreeMap<Revision, RevisionState> {
    let mut revisions = BTreeMap::new();
    let mut put = |revision: &Revision, role, weight| {
        let flags = flags::in_force(state, input, revision);
        revisions.insert(revision.clone(), RevisionState { role, weight, flags });
    };
    let canary_weight = state.canary.as_ref().map_or(Weight::ZERO, |canary| canary.weight);
    if let Some(failed) = &state.failed {
        put(&failed.revision, Role::Failed, Weight::ZERO);
    }
    if let Some(previous) = &state.previous {
        put(&previous.revision, Role::Previous, Weight::ZERO);
    }
    if let Some(canary) = &state.canary {
        put(&canary.revision, Role::Canary, canary_weight);
    }
    if let Some(stable) = &state.stable {
        put(&stable.revision, Role::Stable, canary_weight.rest());
    }
    revisions
}

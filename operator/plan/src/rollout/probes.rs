//! What must be asked before the engine decides.

use std::collections::BTreeSet;

use mcphub_hub_wire::dataplane::Revision;

use super::input::EngineInput;
use super::rules::query_plan::queries;
use super::scale;
use super::state::{Canary, EngineState};
use super::steps::self_check;
use crate::probes::Query;

/// What the engine needs to know before it decides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RolloutProbes {
    /// Revisions whose Ready pods must run their self-check.
    pub self_checks: BTreeSet<Revision>,
    /// The generation that each Ready router obeys matters now.
    pub router_generations: bool,
    /// Queries to Prometheus; empty between two evaluations.
    pub queries: Vec<Query>,
}

/// What must be asked before the next [`super::advance`].
pub fn probes(state: &EngineState, input: &EngineInput<'_>) -> RolloutProbes {
    let canary = state.canary.as_ref();
    let self_check = canary.filter(|canary| self_check::is_due(state, canary, input));
    RolloutProbes {
        self_checks: self_check.map(|canary| canary.revision.clone()).into_iter().collect(),
        router_generations: canary.is_some_and(awaits_routers)
            || !scale::leaving(state, input).is_empty(),
        queries: queries(state, input),
    }
}

/// The canary has a weight that the routers may not obey yet.
pub(crate) fn awaits_routers(canary: &Canary) -> bool {
    let step = canary.step.as_ref();
    canary.withdrawal.is_none()
        && step.is_some_and(|step| canary.weight == step.traffic && step.bake.is_none())
}

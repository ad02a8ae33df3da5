//! What must not wait: the write that takes traffic or flags away from a revision.

use std::collections::BTreeSet;

use mcphub_hub_wire::dataplane::{Dataplane, Revision, RevisionState, Role, Weight};

use super::prepare::prepare;
use super::{events, nothing, router};
use crate::api::Object;
use crate::input::PlanInput;
use crate::next::Next;
use crate::objects::runtime_config_map::{self, Contents};
use crate::plan::Plan;
use crate::probes::PrometheusAnswers;
use crate::rollout::{self, Decision};
use crate::status::StatusDraft;

/// The write that must not wait for any probe or any other object; `None` if there is none. It
/// leaves the status and all other objects to the plan that follows. `answers` are those of
/// Prometheus, if they are there.
pub fn urgent_plan(input: &PlanInput<'_>, answers: Option<&PrometheusAnswers>) -> Option<Plan> {
    let deleted = input.snapshot.hub.metadata.deletion_timestamp.is_some();
    if deleted || input.newer_term().is_some() || input.must_take_over() {
        return None;
    }
    // A state that is lost is rebuilt by the whole plan.
    let state = input.engine()?;
    let live = input.live.as_ref()?;
    let mut decision = rollout::advance(Some(state), &input.engine_input_unasked(answers)?);
    if !takes_away(input, &decision) {
        return None;
    }
    let mut plan = Plan {
        next: Next::Now,
        deletes_need: BTreeSet::from([runtime_config_map::object_name(input.owner.hub)]),
        ..nothing(StatusDraft::new(input), "traffic or flags are taken away first")
    };
    let events = std::mem::take(&mut decision.events);
    events::post(input, &mut plan, &mut decision, events);
    // Nothing is taken over from a spec that nobody has tried yet.
    let pin = input.runtime.router.clone().unwrap_or_else(|| router::router_pin(input, live));
    let contents = Contents {
        engine: &decision.state,
        dataplane: &decision.dataplane,
        router: &pin,
        accepted: input.runtime.accepted.as_ref(),
    };
    let there = input.runtime.live.as_ref();
    let mut object =
        runtime_config_map::build(there, input.owner, contents, &input.snapshot.operator);
    input.owner.adopt(&mut object.metadata);
    let there = there.cloned().map(Object::ConfigMap);
    plan.objects.push(prepare(Object::ConfigMap(object), there.as_ref()));
    Some(plan)
}

/// Whether the decision takes weight away from a revision that does not go on serving, or changes
/// the flags of a running one.
pub(super) fn takes_away(input: &PlanInput<'_>, decision: &Decision) -> bool {
    let Some(Dataplane { revisions, .. }) = &input.runtime.dataplane else { return false };
    let taken_away = |(revision, old): (&Revision, &RevisionState)| {
        let new = decision.dataplane.revisions.get(revision);
        let weight = new.map_or(Weight::ZERO, |new| new.weight);
        let serves = new.is_some_and(|new| matches!(new.role, Role::Stable | Role::Previous));
        (weight < old.weight && !serves) || new.is_some_and(|new| new.flags != old.flags)
    };
    revisions.iter().any(taken_away)
}

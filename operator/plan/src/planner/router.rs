//! The objects of the router, whose template is pinned.

use k8s_openapi::api::apps::v1::Deployment;

use super::prepare::with_replicas;
use crate::api::labels::{self, Component};
use crate::api::{Object, names};
use crate::input::PlanInput;
use crate::objects::router_deployment::{self, Inputs, RouterPin};
use crate::objects::{disruption_budget, hub_service};
use crate::revisions::recovery;
use crate::spec::valid::ValidLive;

/// Annotation of the router's Deployment: hash of the fields that the user sets.
const INPUTS: &str = "mcphub.dev/inputs";

/// The router as it was rendered last. It is rendered again only if the user changed its inputs.
pub(super) fn router_pin(input: &PlanInput<'_>, live: &ValidLive) -> RouterPin {
    let (hub, operator) = (input.owner.hub, &input.snapshot.operator);
    let secrets =
        input.snapshot.hub.spec.image_pull_secrets.iter().map(|secret| secret.name.clone());
    let inputs =
        Inputs { resources: live.router_resources.clone(), pull_secrets: secrets.collect() };
    let hash = inputs.hash();
    if let Some(pin) = input
        .runtime
        .router
        .as_ref()
        .filter(|pin| pin.inputs == hash || !input.acceptance.is_accepted())
    {
        return pin.clone();
    }
    let there = input.snapshot.objects.deployments.get(&names::router(hub));
    let noted = |there: &&Deployment| {
        there
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(INPUTS))
            .is_some_and(|noted| *noted == hash)
    };
    // Somebody deleted the runtime ConfigMap. What runs is what was pinned.
    let lost = there.filter(|_| input.runtime.router.is_none()).filter(noted);
    let deployment = match lost {
        Some(there) => recovery::bare_deployment(there),
        None => router_deployment::build(hub, &inputs, operator),
    };
    RouterPin { inputs: hash, deployment }
}

pub(super) fn router_objects(
    input: &PlanInput<'_>,
    live: &ValidLive,
    pin: &RouterPin,
) -> Vec<Object> {
    let (hub, version) = (input.owner.hub, &input.snapshot.operator.version);
    let mut deployment = with_replicas(&pin.deployment, live.router_replicas);
    deployment
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(INPUTS.into(), pin.inputs.clone());
    let labels = labels::labels(hub, Component::Router, version);
    let budget = labels::meta(names::router(hub), labels);
    vec![
        Object::Deployment(deployment),
        Object::PodDisruptionBudget(disruption_budget::build(
            budget,
            labels::selector(hub, Component::Router),
        )),
        Object::Service(hub_service::build(hub, &live.service, version)),
    ]
}

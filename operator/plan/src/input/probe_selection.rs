//! Decides what must be asked before a plan is made.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use super::{PlanInput, pod_facts};
use crate::api::{Object, ObjectName};
use crate::objects;
use crate::probes::{Probes, PrometheusAnswers, PrometheusQueries, Query};
use crate::revisions::RevisionRecord;
use crate::rollout::state::EngineState;
use crate::rollout::{self, EngineInput};

/// Pods of one revision that run a self-check at a time. Each self-check makes every server list
/// its tools.
const SELF_CHECKED_PODS: usize = 3;

/// Nothing must be asked about a hub that is being deleted, or that a newer leader has taken over.
pub(super) fn probes(input: &PlanInput<'_>) -> Probes {
    let deleted = input.snapshot.hub.metadata.deletion_timestamp.is_some();
    if deleted || input.newer_term().is_some() {
        return Probes::default();
    }
    let Some(engine_input) = input.engine_input() else { return Probes::default() };
    let unset = EngineState::default();
    let engine = input.engine().unwrap_or(&unset);
    let needs = rollout::probes(engine, &engine_input);
    let objects = &input.snapshot.objects;
    let mut self_checks = BTreeMap::new();
    for revision in &needs.self_checks {
        let pods = pod_facts::ready_pods(objects, revision).take(SELF_CHECKED_PODS);
        self_checks.extend(addresses(pods));
    }
    // Stable shows which servers can be reached at all. A canary is not blamed for a server that
    // nobody reaches.
    let stable = engine.stable.as_ref().map(|stable| &stable.revision);
    if let Some(stable) =
        stable.filter(|_| engine.canary.is_none() || !needs.self_checks.is_empty())
    {
        self_checks.extend(addresses(pod_facts::ready_pods(objects, stable).take(1)));
    }
    let routers =
        if needs.router_generations { pod_facts::ready_routers(objects) } else { Vec::new() };
    Probes {
        names: names(input, &engine_input),
        dry_runs: dry_runs(input),
        self_checks,
        router_generations: addresses(routers.into_iter()).collect(),
        prometheus: prometheus(&engine_input, needs.queries),
    }
}

/// Whether the answers are those to the queries that the engine needs. While they were on their way
/// the rollout may have moved on.
pub(super) fn fits(input: &PlanInput<'_>, answers: &PrometheusAnswers) -> bool {
    let engine = input.engine().zip(input.engine_input());
    engine.is_some_and(|(state, engine_input)| {
        let asked = EngineInput { now: answers.at, ..engine_input };
        rollout::probes(state, &asked).queries == answers.queries
    })
}

fn addresses<'a>(pods: impl Iterator<Item = &'a Pod>) -> impl Iterator<Item = (String, String)> {
    pods.filter_map(pod_facts::address)
}

fn prometheus(input: &EngineInput<'_>, queries: Vec<Query>) -> Option<PrometheusQueries> {
    let server = input.policy.prometheus.as_ref()?.name.clone();
    (!queries.is_empty()).then_some(PrometheusQueries { server, at: input.now, queries })
}

/// Names of objects that the plan may create. Secrets are left out, because the operator may not
/// read them. Their type cannot be changed, so an apply cannot overwrite a Secret of somebody else.
fn names(input: &PlanInput<'_>, engine_input: &EngineInput<'_>) -> BTreeSet<ObjectName> {
    if !input.has_begun() || input.must_take_over() {
        return BTreeSet::new();
    }
    let hub = input.owner.hub;
    let mut names = objects::shared_names(hub);
    for revision in rollout::candidates(input.engine(), engine_input) {
        let record = input.revision(&revision).and_then(|stored| stored.record.as_ref());
        names.extend(record.into_iter().flat_map(|record| record.object_names(hub, &revision)));
    }
    names.retain(|object| !input.snapshot.objects.contains(object));
    names
}

/// The pods of a revision that is not recorded yet.
fn dry_runs(input: &PlanInput<'_>) -> Vec<Object> {
    let desired = input.desired.as_ref().and_then(|desired| input.revision(desired));
    let new = desired.filter(|stored| stored.created.is_none());
    let Some(RevisionRecord { deployment, servers, .. }) =
        new.and_then(|stored| stored.record.as_ref())
    else {
        return Vec::new();
    };
    let servers = servers.iter().map(|server| server.deployment.clone());
    let deployments = std::iter::once(deployment.clone()).chain(servers);
    deployments
        .map(|mut deployment| {
            input.owner.adopt(&mut deployment.metadata);
            Object::Deployment(deployment)
        })
        .collect()
}

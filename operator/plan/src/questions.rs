//! What has to be asked before planning.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use mcphub_hub_wire::dataplane::Revision;

use crate::facts;
use crate::plan::Child;
use crate::planner;
use crate::record::Recorded;
use crate::rollout::state::EngineState;
use crate::rollout::{self, Observation};
use crate::scene::Scene;
use crate::snapshot::{ObjectName, Questions, Snapshot};

/// Pods of one revision that run a self-check at a time: it costs every server a list.
const CHECKED: usize = 3;

/// What has to be asked before planning. Nothing for a hub that is being deleted.
pub fn questions(snapshot: &Snapshot) -> Questions {
    if snapshot.hub.metadata.deletion_timestamp.is_some() {
        return Questions::default();
    }
    let scene = Scene::of(snapshot);
    if scene.runtime.term > snapshot.operator.term {
        return Questions::default();
    }
    let nothing = EngineState::default();
    let engine = scene.engine().unwrap_or(&nothing);
    let Some(seen) = scene.observation() else { return Questions::default() };
    let wants = rollout::wants(engine, &seen);
    let queries = rollout::queries(engine, &seen);
    let mut self_checks = BTreeMap::new();
    for revision in &wants.self_checks {
        self_checks
            .extend(addresses(facts::ready_pods(&snapshot.children, revision).take(CHECKED)));
    }
    // Stable shows which servers can be reached at all: a canary is not blamed for one that nobody reaches.
    if let Some(stable) =
        stable(engine).filter(|_| engine.canary.is_none() || !wants.self_checks.is_empty())
    {
        self_checks.extend(addresses(facts::ready_pods(&snapshot.children, stable).take(1)));
    }
    let routers =
        if wants.generations { facts::ready_routers(&snapshot.children) } else { Vec::new() };
    Questions {
        names: names(snapshot),
        dry_runs: dry_runs(&scene),
        self_checks,
        generations: addresses(routers.into_iter()).collect(),
        prometheus: prometheus(&seen, queries),
    }
}

fn stable(engine: &EngineState) -> Option<&Revision> {
    engine.stable.as_ref().map(|stable| &stable.revision)
}

fn addresses<'a>(pods: impl Iterator<Item = &'a Pod>) -> impl Iterator<Item = (String, String)> {
    pods.filter_map(facts::address)
}

fn prometheus(
    seen: &Observation<'_>,
    queries: Vec<crate::snapshot::Query>,
) -> Option<(String, Vec<crate::snapshot::Query>)> {
    let server = seen.policy.prometheus.as_ref()?;
    (!queries.is_empty()).then(|| (server.name.clone(), queries))
}

/// Names that a plan would create. Not of Secrets: the operator may not look at those; their type keeps it from
/// writing to somebody else's.
fn names(snapshot: &Snapshot) -> std::collections::BTreeSet<ObjectName> {
    let plan = planner::plan(snapshot);
    let objects = plan.objects.iter().map(|object| &object.child);
    let new = objects.filter(|child| {
        !matches!(child, Child::Secret(_)) && snapshot.children.get(child).is_none()
    });
    new.map(Child::object_name).collect()
}

/// The pods of a revision that is not made yet.
fn dry_runs(scene: &Scene<'_>) -> Vec<Child> {
    let Some(desired) = &scene.desired else { return Vec::new() };
    let kept = scene.kept.get(desired).filter(|kept| kept.created.is_none());
    let Some(Recorded { deployment, servers, .. }) = kept.and_then(|kept| kept.recorded.as_ref())
    else {
        return Vec::new();
    };
    let servers = servers.iter().map(|server| server.deployment.clone());
    let deployments = std::iter::once(deployment.clone()).chain(servers);
    deployments
        .map(|mut deployment| {
            scene.owner.adopt(&mut deployment.metadata);
            Child::Deployment(deployment)
        })
        .collect()
}

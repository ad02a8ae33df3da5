//! The objects of a hub, in the order in which they are written.
//!
//! The order decides what a crash between two writes leaves behind. A ControllerRevision comes
//! before everything that is applied from it. The runtime ConfigMap, which has the state of the
//! engine, comes before the Deployments that follow from that state. The result of an attempt is
//! written to its ControllerRevision after the state that says so. A write that fails stops only
//! those that need it.
//!
//! If the runtime ConfigMap takes traffic or flags away from a revision, it comes first and needs
//! nothing. Otherwise an outage that stops the writes of one kind stops all rollbacks.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_hub_wire::dataplane::{Revision, Role};

use super::prepare::with_replicas;
use super::{orphans, router, urgent};
use crate::api::labels::Component;
use crate::api::{Object, ObjectName, names};
use crate::input::PlanInput;
use crate::objects::router_deployment::RouterPin;
use crate::objects::server::ServerObjects;
use crate::objects::{key_secret, learned_config_map, rbac, runtime_config_map};
use crate::revisions::RevisionRecord;
use crate::rollout::Decision;
use crate::spec::revision_content;
use crate::spec::valid::ValidLive;

/// An object without hash and preconditions, and the objects that must be written before it.
pub(super) struct Desired {
    pub(super) object: Object,
    pub(super) needs: Vec<ObjectName>,
}

impl Desired {
    fn new(object: Object, needs: Vec<ObjectName>) -> Self {
        Self { object, needs }
    }
}

/// All objects in order.
pub(super) fn objects(
    input: &PlanInput<'_>,
    live: &ValidLive,
    decision: &Decision,
) -> Vec<Desired> {
    let ranked = ranked(input, decision);
    let pin = router::router_pin(input, live);
    let new = new_revisions(input, &ranked);
    let recorded = new.iter().map(Object::object_name).collect::<Vec<_>>();
    let needs_record = |name: &ObjectName| -> Vec<ObjectName> {
        recorded.iter().filter(|record| record.name == name.name).cloned().collect()
    };
    let urgent = urgent::takes_away(input, decision);
    let state = Object::ConfigMap(runtime_config_map(input, decision, &pin));
    let needs_state = vec![runtime_config_map::object_name(input.owner.hub)];
    let state = Desired::new(state, if urgent { Vec::new() } else { recorded.clone() });
    let (first, state) = if urgent { (Some(state), None) } else { (None, Some(state)) };

    let mut all: Vec<Desired> = first.into_iter().collect();
    all.extend(free(rbac_objects(input, &ranked, decision.state.key_serial)));
    all.extend(free(new));
    all.extend(ranked.iter().map(|(_, record, _)| {
        let config = Object::ConfigMap(record.config.clone());
        let needs = needs_record(&config.object_name());
        Desired::new(config, needs)
    }));
    all.extend(server_objects(input, &ranked, &recorded));
    all.extend(state);
    for (_, record, replicas) in &ranked {
        for object in [
            Object::Service(record.service.clone()),
            Object::PodDisruptionBudget(record.disruption_budget.clone()),
            Object::Deployment(with_replicas(&record.deployment, *replicas)),
        ] {
            let needs = [needs_state.clone(), needs_record(&object.object_name())].concat();
            all.push(Desired::new(object, needs));
        }
    }
    let of_router = router::router_objects(input, live, &pin);
    all.extend(of_router.into_iter().map(|object| Desired::new(object, needs_state.clone())));
    let learned = learned_config_map::build(input.owner.hub, &input.snapshot.operator.version);
    all.extend(free(vec![Object::ConfigMap(learned)]));
    all.extend(attempts(input, live, decision).into_iter().map(|object| {
        let needs = [needs_state.clone(), needs_record(&object.object_name())].concat();
        Desired::new(object, needs)
    }));
    for desired in &mut all {
        input.owner.adopt(desired.object.meta_mut());
    }
    all
}

/// Objects that need no other.
fn free(objects: Vec<Object>) -> impl Iterator<Item = Desired> {
    objects.into_iter().map(|object| Desired::new(object, Vec::new()))
}

/// Live revisions whose record can be read. Revisions that new traffic goes to come first.
fn ranked<'a>(
    input: &'a PlanInput<'_>,
    decision: &Decision,
) -> Vec<(Revision, &'a RevisionRecord, u32)> {
    let rank = |revision: &Revision| match decision
        .dataplane
        .revisions
        .get(revision)
        .map(|state| state.role)
    {
        Some(Role::Canary) => 0,
        Some(Role::Stable) => 1,
        Some(Role::Previous) => 2,
        Some(Role::Failed | Role::Unknown) | None => 3,
    };
    let readable = decision.live.iter().filter_map(|(revision, replicas)| {
        let record = input.revision(revision)?.record.as_ref()?;
        Some((revision.clone(), record, *replicas))
    });
    let mut ranked: Vec<_> = readable.collect();
    ranked.sort_by_key(|(revision, _, _)| (rank(revision), revision.clone()));
    ranked
}

fn rbac_objects(
    input: &PlanInput<'_>,
    ranked: &[(Revision, &RevisionRecord, u32)],
    key_serial: u32,
) -> Vec<Object> {
    let (owner, operator) = (input.owner, &input.snapshot.operator);
    let version = &operator.version;
    let mut objects = Vec::new();
    for component in [Component::Hub, Component::Router] {
        let mut accounts = BTreeSet::from([rbac::account_name(owner.hub, component)]);
        if component == Component::Hub {
            accounts
                .extend(ranked.iter().filter_map(|(_, recorded, _)| account(&recorded.deployment)));
        }
        objects.push(Object::ServiceAccount(rbac::service_account(owner.hub, component, version)));
        objects.push(Object::Role(rbac::role(owner.hub, component, version)));
        let binding = rbac::role_binding(owner.hub, owner.namespace, component, &accounts, version);
        objects.push(Object::RoleBinding(binding));
    }
    objects.push(Object::Secret(key_secret::build(
        owner.hub,
        owner.uid,
        &operator.master_key,
        key_serial,
        version,
    )));
    objects
}

fn account(deployment: &Deployment) -> Option<String> {
    deployment.spec.as_ref()?.template.spec.as_ref()?.service_account_name.clone()
}

/// Live revisions that have no ControllerRevision yet. The attempt is written later, because the
/// state of the engine that says so is written later.
fn new_revisions(
    input: &PlanInput<'_>,
    ranked: &[(Revision, &RevisionRecord, u32)],
) -> Vec<Object> {
    let hub = input.owner.hub;
    let new =
        ranked.iter().filter_map(|(revision, _, _)| Some((revision, input.revision(revision)?)));
    let new = new.filter(|(_, stored)| stored.created.is_none());
    new.map(|(revision, stored)| Object::ControllerRevision(stored.object(hub, revision, None)))
        .collect()
}

/// The servers of all live revisions, each of them once. If revisions differ about a server (its
/// strategy is `Recreate`), the revision that traffic goes to next decides. `recorded` are the
/// ControllerRevisions that this plan creates.
fn server_objects(
    input: &PlanInput<'_>,
    ranked: &[(Revision, &RevisionRecord, u32)],
    recorded: &[ObjectName],
) -> Vec<Desired> {
    let mut servers: BTreeMap<&str, (&ServerObjects, Vec<ObjectName>)> = BTreeMap::new();
    for (revision, record, _) in ranked {
        let name = names::revision(input.owner.hub, revision);
        let own: Vec<_> = recorded.iter().filter(|record| record.name == name).cloned().collect();
        for server in &record.servers {
            let (_, needs) = servers.entry(server.name()).or_insert((server, own.clone()));
            if own.is_empty() {
                needs.clear(); // another revision that has it is recorded
            }
        }
    }
    let mut objects = Vec::new();
    for (server, needs) in servers.into_values() {
        let replicas = server_replicas(input, server);
        let deployment = Object::Deployment(with_replicas(&server.deployment, replicas));
        let config_maps = server.config_maps.iter().cloned().map(Object::ConfigMap);
        let rest = [Object::Service(server.service.clone()), deployment];
        let all = config_maps.chain(rest);
        objects.extend(all.map(|object| Desired::new(object, needs.clone())));
    }
    objects
}

fn server_replicas(input: &PlanInput<'_>, server: &ServerObjects) -> u32 {
    let spec = input.snapshot.hub.spec.servers.iter().find(|spec| spec.name == server.server);
    spec.and_then(|spec| spec.container.as_ref()?.replicas).unwrap_or(1)
}

fn runtime_config_map(input: &PlanInput<'_>, decision: &Decision, pin: &RouterPin) -> ConfigMap {
    let now_accepted = input.acceptance.is_accepted();
    let now_accepted =
        now_accepted.then(|| revision_content::live_fields(&input.snapshot.hub.spec));
    let accepted = now_accepted.or_else(|| input.runtime.accepted.clone());
    let contents = runtime_config_map::Contents {
        engine: &decision.state,
        dataplane: &decision.dataplane,
        router: pin,
        accepted: accepted.as_ref(),
    };
    let live = input.runtime.live.as_ref();
    runtime_config_map::build(live, input.owner, contents, &input.snapshot.operator)
}

/// All ControllerRevisions that stay, with the last attempt according to the state of the engine.
fn attempts(input: &PlanInput<'_>, live: &ValidLive, decision: &Decision) -> Vec<Object> {
    let hub = input.owner.hub;
    let forgotten = orphans::forgotten(input, live, decision);
    let stored = input.revisions().filter(|(revision, _)| !forgotten.contains(*revision));
    let readable = stored.filter(|(_, stored)| stored.record.is_some());
    let attempted = readable.filter_map(|(revision, stored)| {
        let attempt = decision.state.records.get(revision).or(stored.attempt.as_ref());
        let made =
            stored.created.is_some() || (attempt.is_some() && decision.live.contains_key(revision));
        made.then(|| Object::ControllerRevision(stored.object(hub, revision, attempt)))
    });
    attempted.collect()
}

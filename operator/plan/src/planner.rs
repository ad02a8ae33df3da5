//! From a scene and the engine's decision to objects in order.
//!
//! The order is what a crash between two writes must leave behind: a ControllerRevision before anything that is
//! applied from it; the runtime ConfigMap, which the engine's state is in, before the Deployments that follow from it;
//! the result of an attempt on its ControllerRevision only after the state that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use mcphub_hub_wire::dataplane::{Revision, Role};

use crate::accept::{Problem, ValidLive};
use crate::children::router_deployment::Inputs;
use crate::children::runtime::RouterPin;
use crate::children::server::ServerObjects;
use crate::children::{
    access, disruption_budget, hub_service, key_secret, learned, router_deployment, runtime,
};
use crate::drift;
use crate::input::PlanInput;
use crate::labels::{self, Component};
use crate::names;
use crate::orphans;
use crate::plan::{Child, Delete, Event, Next, Object, Plan, Prepared};
use crate::probes::ProbeResults;
use crate::record::{self, RevisionRecord};
use crate::revision;
use crate::rollout::{self, Outcome};
use crate::status::StatusDraft;

/// Annotation of the router's Deployment: hash of what the user decides about it.
const INPUTS: &str = "mcphub.dev/inputs";

/// Decides what is written. Total: whatever is wrong with the spec becomes `Accepted=False`.
pub fn plan<'a>(input: PlanInput<'a>, results: &'a ProbeResults) -> Plan {
    let input = input.with_results(results);
    let status = StatusDraft::new(&input);
    if input.snapshot.hub.metadata.deletion_timestamp.is_some() {
        // Objects made now would outlive the garbage collector's look.
        return nothing(status, "the McpHub is being deleted");
    }
    if let Some(term) = input.newer_term() {
        return Plan {
            superseded_by: Some(term),
            ..nothing(status, "a newer leader has taken over")
        };
    }
    if input.must_take_over() {
        return take_over(&input, status);
    }
    let events = problems(&input);
    let (true, Some(engine_input), Some(live)) =
        (input.has_begun(), input.engine_input(), &input.live)
    else {
        let status = status.refused(&input);
        return Plan {
            events,
            ..nothing(status, "the spec is not accepted, and nothing runs yet")
        };
    };
    let outcome = rollout::advance(input.engine(), &engine_input);
    let status = status.decided(&input, live, &outcome);
    compose(&input, live, &outcome, status, events)
}

fn nothing(status: StatusDraft, why: &str) -> Plan {
    Plan {
        objects: Vec::new(),
        deletes: Vec::new(),
        events: Vec::new(),
        next: Next::Idle,
        superseded_by: None,
        waits: vec![why.to_owned()],
        status,
    }
}

/// A new leader writes its term before it acts: from then on no write of an older one takes effect here.
fn take_over(input: &PlanInput<'_>, status: StatusDraft) -> Plan {
    let operator = &input.snapshot.operator;
    let mut child = Child::ConfigMap(runtime::with_term(
        input.runtime.live.as_ref(),
        input.owner.hub,
        operator.term,
        &operator.version,
    ));
    input.owner.adopt(child.meta_mut());
    stamp(&mut child);
    Plan {
        objects: vec![Object::prepare(child)],
        next: Next::Now,
        ..nothing(status, "taking over from an older leader")
    }
}

/// An Event for every problem that status does not name yet.
fn problems(input: &PlanInput<'_>) -> Vec<Event> {
    let Err(problems) = &input.accepted else { return Vec::new() };
    let conditions = input.snapshot.hub.status.iter().flat_map(|status| &status.conditions);
    let told: Vec<_> = conditions
        .filter(|condition| condition.type_ == "Accepted")
        .map(|c| c.message.as_str())
        .collect();
    let new =
        problems.iter().filter(|problem| !told.iter().any(|told| told.contains(&problem.message)));
    new.map(|Problem { reason, message }| Event {
        warning: true,
        reason: reason.as_str().into(),
        message: message.clone(),
    })
    .collect()
}

/// How long a server that is not connected is left alone.
const SERVERS_AGAIN: Duration = Duration::from_secs(10);

fn compose(
    input: &PlanInput<'_>,
    live: &ValidLive,
    outcome: &Outcome,
    status: StatusDraft,
    events: Vec<Event>,
) -> Plan {
    let children = &input.snapshot.children;
    let mut plan = Plan { next: outcome.next, ..nothing(status, &outcome.report.message) };
    plan.events.extend(events);
    plan.events.extend(not_canaried(input, outcome));
    plan.events.extend(outcome.events.clone());
    for child in objects(input, live, outcome) {
        match children.get(&child) {
            // Not ours: it is never touched.
            _ if input.results.taken.contains(&child.object_name()) => {}
            Some(there) if drift::unpatchable(&there, &child) => {
                plan.deletes.extend(delete(&there));
                plan.next = Next::Now;
            }
            there => plan.objects.push(prepare(child, there.as_ref())),
        }
    }
    let planned: BTreeSet<_> =
        plan.objects.iter().map(|object| object.child.object_name()).collect();
    let orphans = orphans::orphans(input, live, outcome);
    plan.deletes.extend(
        orphans.iter().filter(|child| !planned.contains(&child.object_name())).filter_map(delete),
    );
    plan.status.expect(&plan.objects);
    if plan.next == Next::Idle && waits_for_servers(input) {
        plan.next = Next::In(SERVERS_AGAIN);
    }
    plan
}

/// A server that comes up after its hub tells nobody: without another look status would miss it for an hour.
fn waits_for_servers(input: &PlanInput<'_>) -> bool {
    let mut checks = input.results.self_checks.values();
    checks.any(|check| {
        check.as_ref().map_or(true, |check| check.servers.iter().any(|server| !server.connected))
    })
}

/// A new revision with a server that two pods cannot run beside each other: that one changes for everybody at once.
fn not_canaried(input: &PlanInput<'_>, outcome: &Outcome) -> Vec<Event> {
    let revisions = input.revisions().count();
    let stored =
        outcome.live.keys().filter_map(|revision| Some((revision, input.revision(revision)?)));
    let new = stored.filter(|(_, stored)| stored.created.is_none() && revisions > 1);
    let servers = new.flat_map(|(revision, stored)| {
        let servers = stored.record.iter().flat_map(|record| &record.servers);
        servers.filter(|server| server.is_recreated()).map(move |server| (revision, server))
    });
    servers
        .map(|(revision, server)| Event {
            warning: true,
            reason: "NotCanaried".into(),
            message: format!(
                "server \"{}\" has strategy Recreate: if revision {revision} changes it, it changes for all revisions at \
                 once; use a ReadWriteMany volume and RollingUpdate to have it tried with the canary",
                server.server
            ),
        })
        .collect()
}

/// Every object in order, without hash and preconditions.
fn objects(input: &PlanInput<'_>, live: &ValidLive, outcome: &Outcome) -> Vec<Child> {
    let ranked = ranked(input, outcome);
    let pin = router_pin(input, live);
    let mut all = access_objects(input, &ranked, outcome.state.key_serial);
    all.extend(new_revisions(input, &ranked));
    all.extend(ranked.iter().map(|(_, recorded, _)| Child::ConfigMap(recorded.config.clone())));
    all.extend(server_objects(input, &ranked));
    all.push(runtime_config_map(input, outcome, &pin));
    for (_, recorded, replicas) in &ranked {
        all.push(Child::Service(recorded.service.clone()));
        all.push(Child::PodDisruptionBudget(recorded.disruption_budget.clone()));
        all.push(Child::Deployment(with_replicas(&recorded.deployment, *replicas)));
    }
    all.extend(router_objects(input, live, &pin));
    all.push(Child::ConfigMap(learned::build(input.owner.hub, &input.snapshot.operator.version)));
    all.extend(attempts(input, live, outcome));
    for child in &mut all {
        input.owner.adopt(child.meta_mut());
    }
    all
}

/// Live revisions whose record can be read, the ones that new traffic goes to first.
fn ranked<'a>(
    input: &'a PlanInput<'_>,
    outcome: &Outcome,
) -> Vec<(Revision, &'a RevisionRecord, u32)> {
    let rank = |revision: &Revision| match outcome
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
    let readable = outcome.live.iter().filter_map(|(revision, replicas)| {
        let record = input.revision(revision)?.record.as_ref()?;
        Some((revision.clone(), record, *replicas))
    });
    let mut ranked: Vec<_> = readable.collect();
    ranked.sort_by_key(|(revision, _, _)| (rank(revision), revision.clone()));
    ranked
}

fn access_objects(
    input: &PlanInput<'_>,
    ranked: &[(Revision, &RevisionRecord, u32)],
    key_serial: u32,
) -> Vec<Child> {
    let (owner, operator) = (input.owner, &input.snapshot.operator);
    let version = &operator.version;
    let mut objects = Vec::new();
    for component in [Component::Hub, Component::Router] {
        let mut accounts = BTreeSet::from([access::account_name(owner.hub, component)]);
        if component == Component::Hub {
            accounts
                .extend(ranked.iter().filter_map(|(_, recorded, _)| account(&recorded.deployment)));
        }
        objects.push(Child::ServiceAccount(access::service_account(owner.hub, component, version)));
        objects.push(Child::Role(access::role(owner.hub, component, version)));
        let binding =
            access::role_binding(owner.hub, owner.namespace, component, &accounts, version);
        objects.push(Child::RoleBinding(binding));
    }
    objects.push(Child::Secret(key_secret::build(
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

/// Live revisions that have no ControllerRevision yet. Without an attempt: that one has begun is the engine's to say,
/// and its state is written later.
fn new_revisions(input: &PlanInput<'_>, ranked: &[(Revision, &RevisionRecord, u32)]) -> Vec<Child> {
    let hub = input.owner.hub;
    let new =
        ranked.iter().filter_map(|(revision, _, _)| Some((revision, input.revision(revision)?)));
    let new = new.filter(|(_, stored)| stored.created.is_none());
    new.map(|(revision, stored)| Child::ControllerRevision(stored.object(hub, revision, None)))
        .collect()
}

/// Servers of all live revisions, each once. Where revisions disagree about one (it is `Recreate`), the one that
/// traffic goes to next decides.
fn server_objects(
    input: &PlanInput<'_>,
    ranked: &[(Revision, &RevisionRecord, u32)],
) -> Vec<Child> {
    let mut servers: BTreeMap<&str, &ServerObjects> = BTreeMap::new();
    for server in ranked.iter().flat_map(|(_, recorded, _)| &recorded.servers) {
        servers.entry(server.name()).or_insert(server);
    }
    let mut objects = Vec::new();
    for server in servers.values() {
        objects.extend(server.config_maps.iter().cloned().map(Child::ConfigMap));
        objects.push(Child::Service(server.service.clone()));
        objects.push(Child::Deployment(with_replicas(
            &server.deployment,
            server_replicas(input, server),
        )));
    }
    objects
}

fn server_replicas(input: &PlanInput<'_>, server: &ServerObjects) -> u32 {
    let spec = input.snapshot.hub.spec.servers.iter().find(|spec| spec.name == server.server);
    spec.and_then(|spec| spec.container.as_ref()?.replicas).unwrap_or(1)
}

fn with_replicas(deployment: &Deployment, replicas: u32) -> Deployment {
    let mut deployment = deployment.clone();
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(i32::try_from(replicas).unwrap_or(i32::MAX));
    }
    deployment
}

fn runtime_config_map(input: &PlanInput<'_>, outcome: &Outcome, pin: &RouterPin) -> Child {
    let operator = &input.snapshot.operator;
    let now_accepted =
        input.accepted.is_ok().then(|| revision::live_fields(&input.snapshot.hub.spec));
    let accepted = now_accepted.or_else(|| input.runtime.accepted.clone());
    let hub = input.owner.hub;
    let contents = runtime::Contents {
        engine: &outcome.state,
        dataplane: &outcome.dataplane,
        router: pin,
        accepted: accepted.as_ref(),
    };
    let live = input.runtime.live.as_ref();
    Child::ConfigMap(runtime::build(live, hub, contents, &operator.version))
}

/// The router as it was rendered last, unless the user changed what it is made of.
fn router_pin(input: &PlanInput<'_>, live: &ValidLive) -> RouterPin {
    let (hub, operator) = (input.owner.hub, &input.snapshot.operator);
    let secrets =
        input.snapshot.hub.spec.image_pull_secrets.iter().map(|secret| secret.name.clone());
    let inputs =
        Inputs { resources: live.router_resources.clone(), pull_secrets: secrets.collect() };
    let hash = inputs.hash();
    if let Some(pin) =
        input.runtime.router.as_ref().filter(|pin| pin.inputs == hash || input.accepted.is_err())
    {
        return pin.clone();
    }
    let there = input.snapshot.children.deployments.get(&names::router(hub));
    let noted = |there: &&Deployment| {
        there
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(INPUTS))
            .is_some_and(|noted| *noted == hash)
    };
    // The runtime ConfigMap was deleted by hand: what runs is what was pinned.
    let lost = there.filter(|_| input.runtime.router.is_none()).filter(noted);
    let deployment = match lost {
        Some(there) => record::bare_deployment(there),
        None => router_deployment::build(hub, &inputs, operator),
    };
    RouterPin { inputs: hash, deployment }
}

fn router_objects(input: &PlanInput<'_>, live: &ValidLive, pin: &RouterPin) -> Vec<Child> {
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
        Child::Deployment(deployment),
        Child::PodDisruptionBudget(disruption_budget::build(
            budget,
            labels::selector(hub, Component::Router),
        )),
        Child::Service(hub_service::build(hub, &live.service, version)),
    ]
}

/// Every ControllerRevision that stays, with its last attempt as the engine's state says.
fn attempts(input: &PlanInput<'_>, live: &ValidLive, outcome: &Outcome) -> Vec<Child> {
    let hub = input.owner.hub;
    let forgotten = orphans::forgotten(input, live, outcome);
    let stored = input.revisions().filter(|(revision, _)| !forgotten.contains(*revision));
    let readable = stored.filter(|(_, stored)| stored.record.is_some());
    let attempted = readable.filter_map(|(revision, stored)| {
        let attempt = outcome.state.records.get(revision).or(stored.attempt.as_ref());
        let made =
            stored.created.is_some() || (attempt.is_some() && outcome.live.contains_key(revision));
        made.then(|| Child::ControllerRevision(stored.object(hub, revision, attempt)))
    });
    attempted.collect()
}

/// With its hash, and with preconditions where a stale view would do harm.
fn prepare(mut child: Child, there: Option<&Child>) -> Object<Prepared> {
    stamp(&mut child);
    let Some(there) = there else {
        return match &child {
            // What is not in the cache may be there: an apply would overwrite what a newer leader wrote.
            Child::ConfigMap(map) if map.immutable != Some(true) => Object::create(child),
            Child::ControllerRevision(object) if !attempted(object) => Object::create(child),
            _ => Object::prepare(child),
        };
    };
    if let (Child::Deployment(ours), Child::Deployment(there)) = (&mut child, there)
        && replicas(there) > replicas(ours)
    {
        ours.metadata.uid.clone_from(&there.metadata.uid);
        ours.metadata.resource_version.clone_from(&there.metadata.resource_version);
    }
    Object::prepare(child)
}

fn attempted(object: &k8s_openapi::api::apps::v1::ControllerRevision) -> bool {
    object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(record::ATTEMPT))
}

/// The hash is of what is wished, not of the preconditions.
fn stamp(child: &mut Child) {
    let meta = child.meta_mut();
    let (uid, version) = (meta.uid.take(), meta.resource_version.take());
    drift::stamp(child);
    let meta = child.meta_mut();
    meta.uid = uid;
    meta.resource_version = version;
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// `None` for an object that was never on the server.
fn delete(child: &Child) -> Option<Delete> {
    let meta = child.meta();
    Some(Delete {
        object: child.object_name(),
        uid: meta.uid.clone()?,
        resource_version: meta.resource_version.clone()?,
    })
}

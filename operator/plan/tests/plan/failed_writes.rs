//! Writes that fail, and questions that nobody answers. What serves goes on, and what takes traffic
//! away waits for nothing.

use std::collections::BTreeMap;

use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_operator_plan::api::{Failure, ObjectName};
use mcphub_operator_plan::next::Next;
use mcphub_operator_plan::plan::Plan;
use mcphub_operator_plan::probes::ProbeResults;
use mcphub_operator_plan::{PlanInput, check, status, urgent_plan};

use super::cluster::{Cluster, SPEC};
use super::damage::{phase, steps};

fn weights(cluster: &Cluster) -> BTreeMap<Revision, u8> {
    let revisions = cluster.dataplane().expect("a dataplane").revisions;
    revisions.into_iter().map(|(revision, state)| (revision, state.weight.percent())).collect()
}

/// A hub whose canary has 10%, and a person who has just asked to abort it.
fn aborted() -> (Cluster, Revision) {
    let mut cluster = phase("canary");
    let (canary, _) =
        weights(&cluster).into_iter().find(|(_, weight)| *weight == 10).expect("a canary");
    cluster.intent(&format!("abort/{canary}/1"));
    (cluster, canary)
}

fn names(plan: &Plan) -> Vec<String> {
    let names = plan.objects.iter().map(|write| write.object.object_name());
    names.map(|ObjectName { kind, name }| format!("{kind} {name}")).collect()
}

/// Planned before anything was asked.
fn urgent(cluster: &Cluster) -> Option<Plan> {
    let plan = urgent_plan(&PlanInput::read(&cluster.snapshot), None)?;
    check(&plan, &cluster.snapshot, ProbeResults::EMPTY).expect("a plan without violations");
    Some(plan)
}

/// The API server answers no question.
fn plan_without_answers(cluster: &mut Cluster) -> Plan {
    let probes = cluster.ask();
    cluster.results.unknown_names = probes.names;
    cluster.results.untried =
        probes.dry_runs.iter().map(mcphub_operator_plan::api::Object::object_name).collect();
    let plan = cluster.plan_with_results();
    check(&plan, &cluster.snapshot, &cluster.results).expect("a plan without violations");
    plan
}

#[test]
fn traffic_is_taken_away_before_anything_is_asked_and_in_one_write() {
    let (mut cluster, canary) = aborted();
    let plan = urgent(&cluster).expect("something urgent");
    assert_eq!(names(&plan), ["ConfigMap team-runtime"]);
    assert_eq!((plan.deletes.len(), plan.next), (0, Next::Now));
    let reasons: Vec<_> = plan.events.iter().map(|event| &*event.reason).collect();
    assert_eq!(reasons, ["IntentObeyed", "Aborted"]);
    cluster.apply(&plan);
    assert_eq!(weights(&cluster)[&canary], 0);
    assert_eq!(urgent(&cluster), None);
}

#[test]
fn a_hub_whose_traffic_stays_has_no_urgent_write() {
    for name in ["settled", "canary", "guard", "rolled back"] {
        let cluster = if name == "settled" { Cluster::settled(SPEC) } else { phase(name) };
        assert_eq!(urgent(&cluster), None, "{name}");
    }
}

#[test]
fn the_write_that_takes_traffic_away_is_the_first_of_its_plan_and_needs_nothing() {
    let (mut cluster, _) = aborted();
    // The new spec makes a revision that is not recorded yet.
    cluster.set_spec(&steps(10, 3));
    let plan = cluster.plan();
    assert_eq!(names(&plan)[0], "ConfigMap team-runtime");
    assert!(plan.objects[0].needs().is_empty());
}

#[test]
fn a_state_that_adds_a_revision_is_written_after_the_record_of_the_revision() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.set_spec(&steps(10, 2));
    let plan = cluster.plan();
    let state = plan.objects.iter().find(|write| write.object.name() == "team-runtime").unwrap();
    let needs: Vec<_> = state.needs().iter().map(|object| object.kind).collect();
    assert_eq!(needs, ["ControllerRevision"]);
}

#[test]
fn a_secret_that_cannot_be_written_stops_no_other_object_and_the_status_names_it() {
    let mut cluster = Cluster::new(SPEC);
    for _ in 0..8 {
        cluster.run_pods();
        let plan = cluster.plan();
        cluster.apply_without(&plan, |object| object.kind == "Secret");
        cluster.pass(2);
    }
    assert_eq!(cluster.inventory(), Cluster::settled(SPEC).inventory());
    assert_eq!(cluster.status().phase, Some(Phase::Healthy));
    assert_eq!(cluster.status().observed_generation, None);
    let (status, reason, message) = cluster.condition("Reconciling");
    assert_eq!((&*status, &*reason), ("True", "Applying"));
    assert_eq!(
        message,
        "failed to write Secret \"team-keys\": failed calling webhook; the operator retries"
    );
}

#[test]
fn an_object_that_cannot_be_deleted_is_named_in_the_status() {
    let mut cluster = Cluster::settled(SPEC);
    let plan = cluster.plan();
    let mut acknowledged = cluster.apply_some(&plan, usize::MAX);
    let object = ObjectName { kind: "Service", name: "team-r-0a1b2c3d".into() };
    let message = "denied by a policy".into();
    acknowledged.failures.push(Failure { verb: "delete", object, message });
    cluster.snapshot.hub.status = Some(status(&plan.status, &acknowledged));
    let (_, reason, message) = cluster.condition("Reconciling");
    assert_eq!(reason, "Applying");
    assert_eq!(
        message,
        "failed to delete Service \"team-r-0a1b2c3d\": denied by a policy; the operator retries"
    );
}

// A Deployment that is scaled down while routers obey the old weights loses sessions.
#[test]
fn without_the_state_nothing_that_follows_from_it_is_done() {
    let mut cluster = phase("guard");
    cluster.pass(24 * 3600);
    cluster.run_pods();
    let before = cluster.inventory();
    for _ in 0..3 {
        let plan = cluster.plan();
        cluster.apply_without(&plan, |object| object.name == "team-runtime");
        cluster.pass(2);
    }
    assert_eq!(cluster.inventory(), before);
}

#[test]
fn a_new_spec_waits_for_the_answer_of_the_api_server_and_the_rest_goes_on() {
    let mut cluster = phase("canary");
    let before = weights(&cluster);
    cluster.set_spec(&steps(10, 3));
    let plan = plan_without_answers(&mut cluster);
    assert!(matches!(plan.next, Next::In(_)), "asked again");
    cluster.apply(&plan);
    assert_eq!(weights(&cluster), before);
    assert_eq!(cluster.condition("Accepted").0, "Unknown");
    assert_eq!(cluster.condition("Reconciling").1, "NotChecked");
    assert_eq!(cluster.status().observed_generation, Some(2));

    let canary = before.iter().find(|(_, weight)| **weight == 10).unwrap().0;
    cluster.intent(&format!("abort/{canary}/1"));
    let plan = plan_without_answers(&mut cluster);
    cluster.apply(&plan);
    assert_eq!(weights(&cluster)[canary], 0);

    cluster.settle();
    assert_eq!(weights(&cluster).values().filter(|weight| **weight == 10).count(), 1);
    assert_eq!(cluster.condition("Accepted").0, "True");
}

#[test]
fn a_new_hub_waits_for_the_answer_of_the_api_server() {
    let mut cluster = Cluster::new(SPEC);
    let plan = plan_without_answers(&mut cluster);
    assert_eq!(plan.objects, []);
    cluster.apply(&plan);
    assert_eq!(cluster.status().phase, Some(Phase::Initializing));
    assert_eq!(cluster.condition("Reconciling").1, "NotChecked");
    cluster.settle();
    assert_eq!(cluster.status().phase, Some(Phase::Healthy));
}

#[test]
fn an_object_whose_owner_is_unknown_is_not_written_and_stops_only_what_needs_it() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.remove("Deployment", "team-router");
    cluster.remove("Service", "team");
    let plan = {
        cluster.ask();
        cluster.results.unknown_names =
            [ObjectName { kind: "Deployment", name: "team-router".into() }].into();
        cluster.plan_with_results()
    };
    assert!(!names(&plan).contains(&"Deployment team-router".to_owned()));
    assert!(names(&plan).contains(&"Service team".to_owned()));
    cluster.apply(&plan);
    assert_eq!(cluster.condition("Ready").0, "False");
    cluster.settle();
    assert_eq!(cluster.inventory(), Cluster::settled(SPEC).inventory());
}

#[test]
fn while_a_config_map_of_the_spec_cannot_be_read_everything_stays_and_intents_are_obeyed() {
    let (mut cluster, canary) = aborted();
    cluster.snapshot.unread_config_maps = ["clock".to_owned()].into();
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(weights(&cluster)[&canary], 0);
    assert_eq!(cluster.condition("Accepted").0, "Unknown");
    assert_eq!(plan.deletes, []);
}

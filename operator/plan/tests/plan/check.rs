//! The checker finds what a planner with a bug would do.

use std::collections::BTreeMap;

use super::cluster::{Cluster, SPEC};
use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_operator_plan::api::{Delete, Object, ObjectName, ObjectWrite};
use mcphub_operator_plan::check;
use mcphub_operator_plan::plan::Plan;
use mcphub_operator_plan::snapshot::Snapshot;
use serde_json::{Value, json};

/// The violation in a settled hub's plan after `damage`.
fn violation(damage: impl FnOnce(&mut Plan, &mut Snapshot)) -> &'static str {
    let mut cluster = Cluster::settled(SPEC);
    let mut plan = cluster.plan();
    damage(&mut plan, &mut cluster.snapshot);
    check(&plan, &cluster.snapshot, &cluster.results).expect_err("a violation").category()
}

fn at<'a>(plan: &'a mut Plan, kind: &str, name: &str) -> &'a mut Object {
    let mut objects = plan.objects.iter_mut().map(|write| &mut write.object);
    objects
        .find(|object| object.kind() == kind && object.name().starts_with(name))
        .expect("planned")
}

fn data<'a>(plan: &'a mut Plan, name: &str) -> &'a mut BTreeMap<String, String> {
    match at(plan, "ConfigMap", name) {
        Object::ConfigMap(ConfigMap { data: Some(data), .. }) => data,
        other => panic!("{other:?}"),
    }
}

fn edit(plan: &mut Plan, file: &str, change: impl FnOnce(&mut Value)) {
    let text = data(plan, "team-runtime").get_mut(file).expect("there");
    let mut value: Value = serde_json::from_str(text).expect("json");
    change(&mut value);
    *text = value.to_string();
}

fn state(dataplane: &mut Value) -> &mut Value {
    dataplane["revisions"].as_object_mut().expect("revisions").values_mut().next().expect("one")
}

#[test]
fn weights_that_do_not_sum_to_100_are_found() {
    assert_eq!(
        violation(
            |plan, _| edit(plan, "dataplane.json", |value| state(value)["weight"] = json!(90))
        ),
        "weights"
    );
}

#[test]
fn a_failed_revision_with_weight_is_found() {
    assert_eq!(
        violation(
            |plan, _| edit(plan, "dataplane.json", |value| state(value)["role"] = json!("failed"))
        ),
        "weights"
    );
}

#[test]
fn a_generation_that_stays_while_roles_change_or_that_goes_back_is_found() {
    assert_eq!(
        violation(
            |plan, _| edit(plan, "dataplane.json", |value| state(value)["role"] = json!("canary"))
        ),
        "generation"
    );
    assert_eq!(
        violation(|plan, _| edit(plan, "dataplane.json", |value| value["generation"] = json!(0))),
        "generation"
    );
}

#[test]
fn another_leaders_term_is_found() {
    assert_eq!(
        violation(|plan, _| edit(plan, "engine.json", |value| value["term"] = json!(9))),
        "term"
    );
}

#[test]
fn a_runtime_config_map_without_its_precondition_is_found() {
    assert_eq!(
        violation(
            |plan, _| at(plan, "ConfigMap", "team-runtime").meta_mut().resource_version = None
        ),
        "precondition"
    );
}

#[test]
fn a_scale_down_without_its_precondition_is_found() {
    let fewer = |plan: &mut Plan, _: &mut Snapshot| match at(plan, "Deployment", "team-router") {
        Object::Deployment(deployment) => {
            deployment.spec.as_mut().expect("spec").replicas = Some(1);
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(violation(fewer), "precondition");
}

#[test]
fn a_live_revision_that_is_rendered_again_is_found() {
    let anew = |plan: &mut Plan, _: &mut Snapshot| match at(plan, "Deployment", "team-r-") {
        Object::Deployment(deployment) => {
            let template = &mut deployment.spec.as_mut().expect("spec").template;
            template.spec.as_mut().expect("pod").termination_grace_period_seconds = Some(1);
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(violation(anew), "rendered");
    assert_eq!(
        violation(|plan, _| drop(data(plan, "team-r-").insert("config.json".into(), "{}".into()))),
        "rendered"
    );
}

#[test]
fn a_role_label_is_found() {
    let label = |plan: &mut Plan, _: &mut Snapshot| {
        let labels = at(plan, "Service", "team-r-").meta_mut().labels.get_or_insert_default();
        labels.insert("mcphub.dev/role".into(), "stable".into());
    };
    assert_eq!(violation(label), "label");
}

#[test]
fn key_material_outside_of_a_secret_is_found() {
    let leak = |plan: &mut Plan, snapshot: &mut Snapshot| {
        let ring = snapshot.operator.master_key.ring(super::cluster::UID, 1);
        let ring = serde_json::to_string(&ring).expect("json");
        data(plan, "team-runtime").insert("keys.json".into(), ring);
    };
    assert_eq!(violation(leak), "leak");
}

#[test]
fn an_object_of_another_owner_namespace_name_or_taken_is_found() {
    assert_eq!(
        violation(|plan, _| at(plan, "Service", "team").meta_mut().owner_references = None),
        "not_ours"
    );
    assert_eq!(
        violation(
            |plan, _| at(plan, "Service", "team").meta_mut().namespace = Some("kube-system".into())
        ),
        "not_ours"
    );
    assert_eq!(
        violation(|plan, _| {
            at(plan, "Service", "team").meta_mut().name = Some("kubernetes".into());
        }),
        "not_ours"
    );
    let mut cluster = Cluster::settled(SPEC);
    let plan = cluster.plan();
    cluster.results.taken.insert(ObjectName { kind: "Service", name: "team".into() });
    let taken = check(&plan, &cluster.snapshot, &cluster.results).expect_err("a violation");
    assert_eq!(taken.category(), "not_ours");
}

#[test]
fn a_delete_of_a_live_revisions_deployment_is_found() {
    let delete = |plan: &mut Plan, snapshot: &mut Snapshot| {
        let (name, live) = snapshot
            .objects
            .deployments
            .iter()
            .find(|(name, _)| name.starts_with("team-r-"))
            .expect("one");
        plan.deletes.push(Delete {
            object: ObjectName { kind: "Deployment", name: name.clone() },
            uid: live.metadata.uid.clone().expect("uid"),
            resource_version: live.metadata.resource_version.clone().expect("version"),
        });
    };
    assert_eq!(violation(delete), "live_deleted");
}

#[test]
fn a_delete_of_an_object_that_was_not_read_is_found() {
    let object = ObjectName { kind: "Deployment", name: "team-router".into() };
    let delete = Delete { object, uid: "other".into(), resource_version: "1".into() };
    assert_eq!(violation(|plan, _| plan.deletes.push(delete)), "unseen");
}

#[test]
fn an_object_planned_twice_and_a_write_of_a_superseded_leader_are_found() {
    let twice = |plan: &mut Plan, _: &mut Snapshot| {
        let service = at(plan, "Service", "team").clone();
        plan.objects.push(ObjectWrite::prepare(service));
    };
    assert_eq!(violation(twice), "twice");
    assert_eq!(violation(|plan, _| plan.superseded_by = Some(9)), "superseded");
}

//! Changes that others make to our objects.

use super::cluster::{Cluster, SPEC};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use mcphub_operator_plan::api::Object;
use mcphub_operator_plan::api::drift::{differs, stamp, strays, unpatchable};
use rstest::rstest;
use serde_json::{Value, json};

/// A planned Deployment, and the live one after a change.
fn changed(change: impl FnOnce(&mut Value)) -> (Object, Object) {
    let cluster = Cluster::settled(SPEC);
    let ours = cluster.snapshot.objects.deployments["team-router"].clone();
    let mut live = serde_json::to_value(&ours).expect("json");
    change(&mut live);
    let live: Deployment = serde_json::from_value(live).expect("a Deployment");
    (Object::Deployment(live), Object::Deployment(ours))
}

#[rstest]
#[case("/spec/replicas", json!(7))]
#[case("/spec/template/spec/containers/0/image", json!("other"))]
#[case("/spec/template/spec/containers/0/args/0", json!("serve"))]
#[case("/spec/template/spec/securityContext/runAsNonRoot", json!(false))]
#[case("/metadata/labels/mcphub.dev~1hub", json!("other"))]
fn a_field_of_ours_that_was_edited_is_seen(#[case] path: &str, #[case] value: Value) {
    let (live, ours) = changed(|live| *live.pointer_mut(path).expect("set by us") = value);
    assert!(differs(&live, &ours));
}

// A reconcile would otherwise delete what pods have learned.
#[test]
fn what_pods_have_learned_is_no_drift() {
    let mut cluster = Cluster::settled(SPEC);
    let learned = cluster.snapshot.objects.config_maps.get_mut("team-learned").expect("planned");
    learned.data = Some([("memory".to_owned(), "1".to_owned())].into());
    let (live, plan) = (Object::ConfigMap(learned.clone()), cluster.plan());
    let ours =
        plan.objects.iter().find(|write| write.object.name() == "team-learned").expect("planned");
    assert!(!differs(&live, &ours.object));
    assert_eq!(plan.deletes, []);
    let needed =
        plan.objects.iter().any(|write| write.needs().contains(&ours.object.object_name()));
    assert!(!needed, "a quota that refuses it must not stop a rollback");
}

// Otherwise every object would be written in every reconcile.
#[test]
fn what_the_api_server_fills_in_is_no_difference() {
    let (live, ours) = changed(|live| {
        live["status"] = json!({"replicas": 2});
        live["spec"]["progressDeadlineSeconds"] = json!(600);
        let pod = &mut live["spec"]["template"]["spec"];
        pod["dnsPolicy"] = json!("ClusterFirst");
        pod["containers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
        pod["containers"][0]["readinessProbe"]["httpGet"]["scheme"] = json!("HTTP");
        pod["volumes"][0]["configMap"]["defaultMode"] = json!(420);
    });
    assert!(!differs(&live, &ours));
    assert_eq!(strays(&live, &ours), None);
}

#[rstest]
#[case("500m", "0.5", false)]
#[case("1Gi", "1024Mi", false)]
#[case("1k", "1000", false)]
#[case("1", "2", true)]
fn quantities_are_compared_by_value(
    #[case] live: &str,
    #[case] ours: &str,
    #[case] different: bool,
) {
    let with = |amount: &str| {
        let (live, _) = changed(|live| {
            live["spec"]["template"]["spec"]["containers"][0]["resources"] =
                json!({"limits": {"cpu": amount}});
        });
        live
    };
    assert_eq!(differs(&with(live), &with(ours)), different);
}

// Otherwise the Service of a hub would send to no pods, or to pods of somebody else.
#[test]
fn a_label_added_to_a_selector_is_seen() {
    let cluster = Cluster::settled(SPEC);
    let ours = cluster.snapshot.objects.services["team"].clone();
    let mut live = ours.clone();
    let selector = live.spec.as_mut().and_then(|spec| spec.selector.as_mut()).expect("a selector");
    selector.insert("x".into(), "y".into());
    assert!(differs(&Object::Service(live), &Object::Service(ours)));
}

// A field that is removed from the desired object stays in the live object until an apply is sent.
#[test]
fn a_field_that_is_not_set_any_more_is_seen_by_the_hash_of_what_was_applied() {
    let with = |annotations: &str| {
        let mut cluster =
            Cluster::new(&format!("{SPEC}\nexpose: {{service: {{annotations: {annotations}}}}}"));
        let plan = cluster.plan();
        let service = plan.objects.iter().find(|write| {
            write.object.object_name().name == "team" && write.object.kind() == "Service"
        });
        service.expect("planned").object.clone()
    };
    let (live, ours) = (with("{a: b, c: d}"), with("{a: b}"));
    assert!(differs(&live, &ours));
}

#[test]
fn the_hash_does_not_depend_on_the_hash_before() {
    let cluster = Cluster::settled(SPEC);
    let mut object = Object::Service(cluster.snapshot.objects.services["team"].clone());
    let before = object.clone();
    stamp(&mut object);
    stamp(&mut object);
    let once = object.clone();
    stamp(&mut object);
    assert_eq!(object, once);
    assert!(
        before
            .meta()
            .annotations
            .as_ref()
            .is_some_and(|all| all.contains_key("mcphub.dev/applied"))
    );
}

#[test]
fn entries_of_others_are_removed_by_one_patch_that_tests_the_version() {
    let (live, ours) = changed(|live| {
        live["metadata"]["resourceVersion"] = json!("42");
        let pod = &mut live["spec"]["template"]["spec"];
        let push =
            |value: &mut Value, entry: Value| value.as_array_mut().expect("a list").push(entry);
        push(&mut pod["containers"][0]["env"], json!({"name": "LD_PRELOAD", "value": "/evil.so"}));
        push(&mut pod["containers"][0]["ports"], json!({"containerPort": 22, "protocol": "TCP"}));
        push(&mut pod["containers"], json!({"name": "sidecar", "image": "x"}));
        push(&mut pod["containers"], json!({"name": "sidecar2", "image": "x"}));
        pod["initContainers"] = json!([{"name": "init", "image": "x"}]);
        push(&mut pod["volumes"], json!({"name": "more", "emptyDir": {}}));
    });
    let spec = "/spec/template/spec";
    let removals = [
        "/containers/0/env/2",
        "/containers/0/ports/2",
        "/containers/2",
        "/containers/1",
        "/initContainers/0",
        "/volumes/3",
    ];
    let mut expected =
        vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": "42"})];
    expected.extend(removals.map(|path| json!({"op": "remove", "path": format!("{spec}{path}")})));
    assert_eq!(strays(&live, &ours), Some(Value::Array(expected)));
}

#[test]
fn a_port_added_to_a_service_and_a_rule_added_to_a_role_are_removed() {
    let cluster = Cluster::settled(SPEC);
    let ours = cluster.snapshot.objects.services["team"].clone();
    let mut live = serde_json::to_value(&ours).expect("json");
    live["spec"]["ports"]
        .as_array_mut()
        .expect("ports")
        .push(json!({"port": 22, "protocol": "TCP"}));
    let live: Service = serde_json::from_value(live).expect("a Service");
    let patch = strays(&Object::Service(live), &Object::Service(ours)).expect("a patch");
    assert_eq!(patch[1], json!({"op": "remove", "path": "/spec/ports/1"}));

    let ours = cluster.snapshot.objects.roles["team"].clone();
    let mut live = ours.clone();
    live.rules
        .as_mut()
        .expect("rules")
        .insert(0, k8s_openapi::api::rbac::v1::PolicyRule::default());
    let patch = strays(&Object::Role(live), &Object::Role(ours)).expect("a patch");
    assert_eq!(patch[1], json!({"op": "remove", "path": "/rules/0"}));
}

#[test]
fn a_deployment_with_another_selector_cannot_be_patched() {
    let (live, ours) = changed(|live| live["spec"]["selector"]["matchLabels"] = json!({"a": "b"}));
    assert!(unpatchable(&live, &ours));
    let (live, ours) = changed(|live| live["spec"]["replicas"] = json!(9));
    assert!(!unpatchable(&live, &ours));
}

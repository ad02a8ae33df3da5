//! Whole plans against a cluster in memory.

use super::cluster::{Cluster, SPEC, config_map};
use mcphub_crds::status::Phase;
use mcphub_operator_plan::api::{Object, ObjectName};
use mcphub_operator_plan::next::Next;
use mcphub_operator_plan::probes::Probes;
use serde_json::{Value, json};

const CHANGED: &str = "
replicas: 2
servers:
- name: github
  remote: {url: 'https://mcp.example.com/v2'}
- name: files
  container: {image: 'registry.example/files:1', command: [mcp-files, /data]}
";

#[test]
fn a_new_hub_settles_and_planning_again_changes_nothing() {
    let mut cluster = Cluster::settled(SPEC);
    assert_eq!(cluster.status().phase, Some(Phase::Healthy));
    let plan = cluster.plan();
    assert!(!cluster.changes(&plan));
    assert_eq!(plan.events, []);
    assert_eq!(cluster.apply(&plan), cluster.snapshot.hub.status.clone().expect("a status"));
}

#[test]
fn a_settled_hub_consists_of_these_objects() {
    let cluster = Cluster::settled(SPEC);
    insta::assert_yaml_snapshot!(cluster.inventory());
}

/// An operator that is killed after this many writes, twice, and then left alone.
fn killed_after(writes: usize, mut cluster: Cluster) -> Cluster {
    for _ in 0..2 {
        let plan = cluster.plan();
        cluster.apply_some(&plan, writes);
        cluster.run_pods();
        cluster.pass(1);
    }
    cluster.settle();
    cluster
}

// A crash loop of the operator must lead to the same result as an undisturbed start.
#[test]
fn an_operator_killed_after_any_write_of_a_first_deployment_ends_where_an_undisturbed_one_does() {
    let undisturbed = Cluster::settled(SPEC).inventory();
    for writes in 1..22 {
        let cluster = killed_after(writes, Cluster::new(SPEC));
        assert_eq!(cluster.inventory(), undisturbed, "killed after write {writes}");
        assert_eq!(cluster.status().phase, Some(Phase::Healthy));
    }
}

#[test]
fn an_operator_killed_after_any_single_write_of_a_change_ends_where_the_undisturbed_one_does() {
    let mut changed = Cluster::settled(SPEC);
    changed.set_spec(CHANGED);
    let mut undisturbed = changed.clone();
    undisturbed.settle();
    for writes in 1..8 {
        let cluster = killed_after(writes, changed.clone());
        assert_eq!(cluster.inventory(), undisturbed.inventory(), "killed after write {writes}");
        assert_eq!(cluster.dataplane(), undisturbed.dataplane());
        assert_eq!(cluster.status().phase, undisturbed.status().phase);
    }
}

#[test]
fn a_changed_spec_becomes_a_second_revision_and_the_first_goes_after_the_guard() {
    let mut cluster = Cluster::settled(SPEC);
    let first = cluster.serving();
    cluster.set_spec(CHANGED);
    cluster.settle();
    let second = cluster.serving();
    assert_ne!(second, first);
    assert!(
        cluster.snapshot.objects.deployments.contains_key(&format!("team-r-{first}")),
        "kept warm in guard"
    );
    cluster.pass(24 * 3600);
    cluster.settle();
    assert_eq!(cluster.status().phase, Some(Phase::Healthy));
    assert!(!cluster.snapshot.objects.deployments.contains_key(&format!("team-r-{first}")));
    assert!(
        cluster.snapshot.objects.controller_revisions.contains_key(&format!("team-r-{first}")),
        "to go back to"
    );
}

#[test]
fn revisions_that_do_not_change_a_server_share_it_until_the_last_one_is_removed() {
    let mut cluster = Cluster::settled(SPEC);
    let servers = |cluster: &Cluster| -> Vec<String> {
        cluster
            .snapshot
            .objects
            .deployments
            .keys()
            .filter(|name| name.starts_with("team-s-"))
            .cloned()
            .collect()
    };
    let before = servers(&cluster);
    assert_eq!(before.len(), 1);
    cluster.set_spec(CHANGED);
    cluster.settle();
    assert_eq!(servers(&cluster), before);
    cluster.set_spec(
        "{replicas: 2, servers: [{name: github, remote: {url: 'https://mcp.example.com/v2'}}]}",
    );
    cluster.settle();
    assert_eq!(servers(&cluster), before, "the old revision is kept warm, and so is its server");
    cluster.pass(24 * 3600);
    cluster.settle();
    assert_eq!(servers(&cluster), [""; 0]);
}

/// All pod templates, by Deployment.
fn templates(plan: &mcphub_operator_plan::plan::Plan) -> Vec<(String, Value)> {
    let deployments = plan.objects.iter().filter(|write| write.object.kind() == "Deployment");
    deployments
        .map(|write| {
            (write.object.name().to_owned(), write.object.to_value()["spec"]["template"].clone())
        })
        .collect()
}

// An operator upgrade would otherwise restart every hub, router and server of the cluster at once.
#[test]
fn a_newer_operator_plans_the_same_pods() {
    let mut cluster = Cluster::settled(SPEC);
    let before = templates(&cluster.plan());
    assert_eq!(before.len(), 3);
    let operator = &mut cluster.snapshot.operator;
    operator.version = "2.0.0".into();
    operator.hub_image = "registry.example/mcp-hub:2.0.0".into();
    operator.image_pull_policy = Some("Always".into());
    assert_eq!(templates(&cluster.plan()), before);
    cluster.settle();
    assert_eq!(templates(&cluster.plan()), before);
}

// An upgrade with thousands of hubs would otherwise write tens of thousands of objects at once.
#[test]
fn a_newer_operator_writes_no_object_of_a_hub_at_rest() {
    let mut cluster = Cluster::settled(SPEC);
    let operator = &mut cluster.snapshot.operator;
    operator.version = "2.0.0".into();
    operator.hub_image = "registry.example/mcp-hub:2.0.0".into();
    let plan = cluster.plan();
    assert!(!cluster.changes(&plan));
    cluster.remove("Service", "team");
    cluster.settle();
    let labels = cluster.snapshot.objects.services["team"].metadata.labels.as_ref();
    assert_eq!(labels.expect("labels")["app.kubernetes.io/version"], "2.0.0", "made by it");
}

// The same holds for a revision that this operator would render differently.
#[test]
fn a_revision_rendered_by_other_code_is_applied_as_it_was_rendered() {
    let mut cluster = Cluster::settled(SPEC);
    let name = format!("team-r-{}", cluster.serving());
    for path in ["/deployment", "/servers/0/deployment"] {
        let revision = cluster.snapshot.objects.controller_revisions.get_mut(&name).expect("made");
        let data = &mut revision.data.as_mut().expect("data").0;
        let deployment = data.pointer_mut(path).expect("recorded");
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "OLD", "value": "render"}]);
    }
    let plan = cluster.plan();
    let env = |name: &str| {
        let templates = templates(&plan);
        let (_, template) =
            templates.iter().find(|(deployment, _)| deployment.starts_with(name)).expect("planned");
        template["spec"]["containers"][0]["env"].clone()
    };
    assert_eq!(env("team-r-"), json!([{"name": "OLD", "value": "render"}]));
    assert_eq!(env("team-s-"), json!([{"name": "OLD", "value": "render"}]));
}

#[test]
fn a_user_who_changes_the_router_gets_a_new_one_and_replicas_alone_restart_none() {
    let mut cluster = Cluster::settled(SPEC);
    let router = |cluster: &mut Cluster| {
        let plan = cluster.plan();
        let object = plan.objects.iter().find(|write| {
            write.object.kind() == "Deployment" && write.object.name() == "team-router"
        });
        object.expect("planned").object.to_value()["spec"].clone()
    };
    let before = router(&mut cluster);
    cluster.snapshot.operator.hub_image = "registry.example/mcp-hub:2.0.0".into();
    cluster.set_spec(&format!("{SPEC}\nrouter: {{replicas: 3}}"));
    let scaled = router(&mut cluster);
    assert_eq!(scaled["replicas"], 3);
    assert_eq!(scaled["template"], before["template"]);
    cluster.set_spec(&format!("{SPEC}\nrouter: {{resources: {{limits: {{memory: 64Mi}}}}}}"));
    let changed = router(&mut cluster);
    assert_eq!(
        changed["template"]["spec"]["containers"][0]["image"],
        "registry.example/mcp-hub:2.0.0"
    );
    assert_eq!(
        changed["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"],
        "64Mi"
    );
}

#[test]
fn a_runtime_config_map_deleted_by_hand_comes_back_with_the_same_router_and_stable_revision() {
    let mut cluster = Cluster::settled(SPEC);
    let (before, serving) = (templates(&cluster.plan()), cluster.serving());
    cluster.remove("ConfigMap", "team-runtime");
    cluster.snapshot.operator.hub_image = "registry.example/mcp-hub:2.0.0".into();
    cluster.settle();
    assert_eq!(templates(&cluster.plan()), before);
    assert_eq!(cluster.serving(), serving);
}

// If a newer operator rendered it again, the pods that still run would restart.
#[test]
fn a_controller_revision_deleted_by_hand_is_copied_back_from_what_runs() {
    let mut cluster = Cluster::settled(SPEC);
    let before = templates(&cluster.plan());
    let name = format!("team-r-{}", cluster.serving());
    let was = cluster.snapshot.objects.controller_revisions[&name].data.clone();
    cluster.remove("ControllerRevision", &name);
    cluster.settle();
    assert_eq!(
        cluster.snapshot.objects.controller_revisions[&name].data, was,
        "the same operator: all of it"
    );

    cluster.remove("ControllerRevision", &name);
    cluster.snapshot.operator.version = "2.0.0".into();
    cluster.snapshot.operator.hub_image = "registry.example/mcp-hub:2.0.0".into();
    cluster.settle();
    assert_eq!(templates(&cluster.plan()), before, "a newer operator: what runs");
    assert_eq!(cluster.status().phase, Some(Phase::Healthy));
}

#[test]
fn objects_deleted_by_hand_come_back() {
    let mut cluster = Cluster::settled(SPEC);
    let all = cluster.inventory();
    for object in &all {
        let (kind, name) = object.split_once(' ').expect("kind and name");
        cluster.remove(kind, name);
        cluster.settle();
        assert_eq!(cluster.inventory(), all, "{object} was deleted");
    }
}

// It is immutable, so an apply would be rejected forever.
#[test]
fn a_config_that_somebody_recreated_with_other_content_is_replaced() {
    let mut cluster = Cluster::settled(SPEC);
    let name = format!("team-r-{}", cluster.serving());
    let map = cluster.snapshot.objects.config_maps.get_mut(&name).expect("made");
    map.data.as_mut().expect("data").insert("config.json".into(), "{}".into());
    let plan = cluster.plan();
    assert_eq!(plan.deletes.len(), 1);
    assert_eq!(plan.next, Next::Now);
    cluster.apply(&plan);
    cluster.settle();
    let data = cluster.snapshot.objects.config_maps[&name].data.clone().expect("data");
    assert!(data["config.json"].contains("github"));
}

#[test]
fn content_of_a_referenced_config_map_is_part_of_the_revision_and_its_pods_keep_the_old_one() {
    let spec = "
servers:
- name: files
  container:
    image: files:1
    command: [mcp-files]
    envFrom: [{configMapRef: {name: settings}}]
    volumes: [{name: extra, configMap: {name: settings}}]
    volumeMounts: [{name: extra, mountPath: /extra}]
";
    let mut cluster = Cluster::new(spec);
    let settings = |value: &str| Some(config_map("settings", &[("LEVEL", value)]));
    cluster.snapshot.config_maps.insert("settings".into(), settings("1"));
    cluster.settle();
    let first = cluster.serving();
    cluster.snapshot.config_maps.insert("settings".into(), settings("2"));
    cluster.settle();
    assert_ne!(cluster.serving(), first);
    let copies: Vec<_> = cluster
        .snapshot
        .objects
        .config_maps
        .values()
        .filter_map(|map| map.data.as_ref()?.get("LEVEL").cloned().zip(map.immutable))
        .collect();
    assert_eq!(copies.len(), 2, "one copy a revision, while both live");
    assert!(copies.contains(&("1".into(), true)) && copies.contains(&("2".into(), true)));
    cluster.snapshot.config_maps.insert("settings".into(), settings("1"));
    cluster.settle();
    assert_eq!(cluster.serving(), first, "the old content is the old revision");
}

#[test]
fn an_object_of_our_name_that_is_somebody_elses_is_never_touched() {
    let mut cluster = Cluster::new(SPEC);
    let probes = cluster.ask();
    let service = ObjectName { kind: "Service", name: "team".into() };
    assert!(probes.names.contains(&service));
    assert!(
        !probes.names.iter().any(|object| object.kind == "Secret"),
        "the operator may not look at Secrets"
    );
    cluster.results.taken.insert(service);
    let plan = cluster.plan();
    assert_eq!(plan.objects, []);
    cluster.apply(&plan);
    let (status, reason, message) = cluster.condition("Accepted");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NameTaken"));
    assert_eq!(
        message,
        "Service \"team\" exists and does not belong to this McpHub; delete it, or rename the \
         hub \"team\""
    );
    assert_eq!(cluster.status().phase, Some(Phase::NotAccepted));
}

#[test]
fn an_invalid_spec_leaves_the_running_revision_alone() {
    let mut cluster = Cluster::settled(&format!("{SPEC}\nrouter: {{replicas: 3}}"));
    let (before, serving) = (templates(&cluster.plan()), cluster.serving());
    cluster.set_spec(&format!(
        "{SPEC}\nrollout: {{prometheus: nobody}}\nresources: {{limits: {{memory: {{}}}}}}"
    ));
    cluster.settle();
    assert_eq!(templates(&cluster.plan()), before);
    assert_eq!(cluster.serving(), serving);
    assert_eq!(cluster.status().phase, Some(Phase::NotAccepted));
    assert_eq!(cluster.condition("Stalled").0, "True");
    assert_eq!(cluster.status().observed_generation, Some(2));
    let router = &cluster.snapshot.objects.deployments["team-router"];
    assert_eq!(
        router.spec.as_ref().and_then(|spec| spec.replicas),
        Some(3),
        "as it was accepted last"
    );
}

#[test]
fn pods_that_the_dry_run_rejects_make_no_revision() {
    let mut cluster = Cluster::new(SPEC);
    let probes = cluster.ask();
    let asked: Vec<_> = probes.dry_runs.iter().map(Object::object_name).collect();
    assert_eq!(asked.len(), 2, "the hub's and the server's Deployment");
    cluster
        .results
        .refused
        .insert(asked[0].clone(), "spec.template.spec.tolerations[0].effect: no".into());
    let plan = cluster.plan_with_results();
    assert_eq!(plan.objects, []);
    cluster.apply(&plan);
    let (_, reason, message) = cluster.condition("Accepted");
    assert_eq!(reason, "PodRefused");
    assert!(message.contains("tolerations[0].effect: no"), "{message}");
    let mut settled = Cluster::settled(SPEC);
    assert_eq!(settled.ask().dry_runs, [], "asked once, before the revision is made");
}

#[test]
fn a_new_leader_writes_its_term_and_nothing_else_first() {
    let mut cluster = Cluster::settled(SPEC);
    let before = cluster.dataplane();
    cluster.snapshot.operator.term = 2;
    cluster.set_spec(CHANGED);
    let plan = cluster.plan();
    assert_eq!(plan.objects.len(), 1);
    assert_eq!(plan.objects[0].object.name(), "team-runtime");
    assert!(plan.objects[0].object.meta().resource_version.is_some());
    assert_eq!(plan.next, Next::Now);
    let status = cluster.status().clone();
    assert_eq!(cluster.apply(&plan), status, "nothing is said before anything is done");
    assert_eq!(cluster.dataplane(), before);
    cluster.settle();
    cluster.snapshot.operator.term = 1;
    let plan = cluster.plan();
    assert_eq!(plan.superseded_by, Some(2));
    assert_eq!((plan.objects, plan.deletes), (Vec::new(), Vec::new()));
}

#[test]
fn nothing_is_recreated_for_a_hub_that_is_being_deleted() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.snapshot.hub.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(cluster.snapshot.now));
    cluster.remove("Deployment", "team-router");
    let plan = cluster.plan();
    assert_eq!((plan.objects, plan.deletes), (Vec::new(), Vec::new()));
    assert_eq!(cluster.ask(), Probes::default());
}

#[test]
fn status_deleted_by_hand_comes_back_the_same() {
    let mut cluster = Cluster::settled(SPEC);
    let before = cluster.status().clone();
    cluster.snapshot.hub.status = None;
    let plan = cluster.plan();
    let mut after = cluster.apply(&plan);
    for (condition, before) in after.conditions.iter_mut().zip(&before.conditions) {
        condition.last_transition_time = before.last_transition_time.clone();
    }
    assert_eq!(after, before);
}

#[test]
fn a_scale_down_carries_what_was_seen_as_precondition() {
    let mut cluster = Cluster::settled(SPEC);
    let name = format!("team-r-{}", cluster.serving());
    cluster.set_spec(&SPEC.replace("replicas: 2", "replicas: 1"));
    let plan = cluster.plan();
    let write = plan
        .objects
        .iter()
        .find(|write| write.object.kind() == "Deployment" && write.object.name() == name)
        .expect("planned");
    let live = &cluster.snapshot.objects.deployments[&name].metadata;
    assert_eq!(write.object.meta().resource_version, live.resource_version);
    assert_eq!(write.object.meta().uid, live.uid);
    cluster.settle();
    assert_eq!(cluster.status().replicas, Some(1));
}

#[test]
fn no_more_than_history_limit_records_are_kept() {
    let mut cluster = Cluster::new(SPEC);
    for change in 0..7 {
        cluster.set_spec(&format!(
            "{SPEC}\nstartupTimeout: {}s\nrollout: {{historyLimit: 4, guard: 1s}}",
            10 + change
        ));
        cluster.settle();
        cluster.pass(24 * 3600);
        cluster.settle();
    }
    assert_eq!(cluster.snapshot.objects.controller_revisions.len(), 4);
    assert_eq!(cluster.status().history.len(), 4);
}

// With its own Deployment beside the old one, the new pod would wait for the volume forever.
#[test]
fn a_changed_recreate_server_is_replaced_in_place_and_an_event_says_so() {
    let with = |image: &str| {
        format!(
            "servers: [{{name: files, container: {{image: '{image}', command: [a], strategy: \
             Recreate}}}}]"
        )
    };
    let mut cluster = Cluster::settled(&with("files:1"));
    cluster.set_spec(&with("files:2"));
    let plan = cluster.plan();
    let events: Vec<_> = plan.events.iter().filter(|event| event.reason == "NotCanaried").collect();
    assert_eq!(events.len(), 1);
    assert!(
        events[0].message.starts_with("server \"files\" has strategy Recreate: "),
        "{}",
        events[0].message
    );
    cluster.settle();
    let servers: Vec<_> = cluster
        .snapshot
        .objects
        .deployments
        .iter()
        .filter(|(name, _)| name.starts_with("team-s-"))
        .collect();
    assert_eq!(servers.len(), 1);
    let image = servers[0]
        .1
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref()?.containers[0].image.clone());
    assert_eq!(image.as_deref(), Some("files:2"));
}

// After a downgrade of the operator, hubs of the newer operator must keep running as they are.
#[test]
fn a_revision_recorded_by_a_newer_operator_is_neither_touched_nor_deleted() {
    let mut cluster = Cluster::settled(SPEC);
    let name = format!("team-r-{}", cluster.serving());
    let before = cluster.inventory();
    let revision = cluster.snapshot.objects.controller_revisions.get_mut(&name).expect("made");
    revision.data.as_mut().expect("data").0["schema"] = json!(99);
    for _ in 0..5 {
        let plan = cluster.plan();
        assert_eq!(plan.deletes, []);
        let touched = plan.objects.iter().any(|write| write.object.name() == name);
        assert!(!touched, "{:?}", plan.waits);
        cluster.apply(&plan);
        cluster.run_pods();
        cluster.pass(60);
    }
    assert_eq!(cluster.inventory(), before);
    assert_eq!(cluster.serving().as_str(), &name["team-r-".len()..]);
}

//! The hash of a revision.

use std::collections::BTreeMap;

use super::cluster::{SPEC, config_map, hub};
use mcphub_crds::McpHubSpec;
use mcphub_operator_plan::spec::revision_content::{
    RevisionContent, fields, referenced_config_maps,
};
use rstest::rstest;
use serde_json::json;

const SMALL: &str = "servers: [{name: a, remote: {url: 'https://a.example/mcp'}}]";

fn spec(yaml: &str) -> McpHubSpec {
    hub(yaml).spec
}

fn hash(yaml: &str) -> String {
    RevisionContent::new(&spec(yaml), &BTreeMap::new()).revision(0).to_string()
}

// A changed hash of an unchanged spec is a new revision: a rollout of every hub in the world.
#[rstest]
#[case(SMALL, "e7b025e7")]
#[case(SPEC, "a36e41af")]
#[case(&format!("{SMALL}\nimage: hub:2\nfeatureFlags: {{autoCorrection: false, custom: {{b: true, \
                 a: false}}}}"), "1ed4fb73")]
#[case(&format!("{SMALL}\nrollout: {{drainTimeout: 10s}}\nexpose: {{externalUrl: \
                 'https://hub.example'}}"), "d25139c3")]
fn hashes_of_golden_specs_are_pinned(#[case] yaml: &str, #[case] pinned: &str) {
    assert_eq!(hash(yaml), pinned);
}

#[rstest]
#[case("replicas: 7")]
#[case("autoscaling: {maxReplicas: 3}")]
#[case("upgradePolicy: NextRevision")]
#[case("router: {replicas: 5}")]
#[case("networkPolicy: {enabled: false}")]
#[case("monitoring: {serviceMonitor: 'Off'}")]
#[case("expose: {service: {port: 80}}")]
#[case("rollout: {guard: 1s, steps: [{traffic: 100}]}")]
fn what_is_applied_at_once_makes_no_revision(#[case] field: &str) {
    assert_eq!(hash(&format!("{SMALL}\n{field}")), hash(SMALL));
}

#[rstest]
#[case("image: hub:2")]
#[case("imagePullPolicy: Always")]
#[case("podTemplate: {labels: {a: b}}")]
#[case("featureFlags: {enhancedErrorMessages: true}")]
#[case("rollout: {drainTimeout: 5m}")]
#[case("expose: {externalUrl: 'https://hub.example'}")]
#[case("sessions: {ttl: 30m}")]
fn what_the_user_writes_makes_a_revision_even_if_it_is_the_default(#[case] field: &str) {
    assert_ne!(hash(&format!("{SMALL}\n{field}")), hash(SMALL));
}

// A template that writes `filtering: {}` because it has nothing to say would start a rollout.
#[rstest]
#[case("filtering: {}")]
#[case("filtering: {servers: {}, categories: {}}")]
#[case("featureFlags: {}")]
#[case("podTemplate: {}")]
#[case("sessions: {}\nauth: {}\nlimits: {}\nresources: {}")]
#[case("servers: [{name: a, remote: {url: 'https://a.example/mcp'}, tools: {}}]")]
fn an_empty_section_makes_no_revision(#[case] field: &str) {
    let small = if field.starts_with("servers") { "" } else { SMALL };
    assert_eq!(hash(&format!("{small}\n{field}")), hash(SMALL));
}

#[test]
fn an_empty_object_in_a_pod_shaped_field_is_part_of_the_revision() {
    let with = |volume: &str| {
        hash(&format!(
            "servers: [{{name: a, container: {{image: a, command: [a], volumes: [{volume}]}}}}]"
        ))
    };
    assert_ne!(with("{name: v, emptyDir: {}}"), with("{name: v}"));
}

#[test]
fn replicas_of_a_container_server_make_no_revision_and_its_image_does() {
    let with = |container: &str| {
        hash(&format!("servers: [{{name: a, container: {{command: [a], {container}}}}}]"))
    };
    assert_eq!(with("image: 'a:1', replicas: 1"), with("image: 'a:1'"));
    assert_ne!(with("image: 'a:2'"), with("image: 'a:1'"));
}

#[test]
fn the_order_of_keys_makes_no_difference_and_the_order_of_servers_does() {
    let two = |a: &str, b: &str| hash(&format!("servers: [{a}, {b}]"));
    let (a, b) = ("{name: a, remote: {url: 'http://a'}}", "{name: b, remote: {url: 'http://b'}}");
    assert_eq!(two(a, b), two("{remote: {url: 'http://a'}, name: a}", b));
    assert_ne!(two(a, b), two(b, a));
}

#[test]
fn content_of_config_maps_and_the_render_serial_are_part_of_it() {
    let spec = spec(
        "servers: [{name: a, container: {image: 'a:1', command: [a], envFrom: [{configMapRef: \
         {name: m}}]}}]",
    );
    let of = |value: &str| {
        RevisionContent::new(
            &spec,
            &BTreeMap::from([("m".into(), Some(config_map("m", &[("A", value)])))]),
        )
    };
    assert_ne!(of("1").revision(0), of("2").revision(0));
    assert_ne!(of("1").revision(0), of("1").revision(1));
    let relabeled = {
        let mut map = config_map("m", &[("A", "1")]);
        map.metadata.labels = Some(BTreeMap::from([("x".into(), "y".into())]));
        RevisionContent::new(&spec, &BTreeMap::from([("m".into(), Some(map))]))
    };
    assert_eq!(relabeled, of("1"), "its metadata is not");
}

#[test]
fn config_maps_are_found_wherever_a_container_refers_to_them() {
    let spec = spec(
        "
servers:
- name: a
  container:
    image: a:1
    env: [{name: A, valueFrom: {configMapKeyRef: {name: one, key: k}}}, {name: B, valueFrom: \
    {secretKeyRef: {name: not, key: k}}}]
    envFrom: [{configMapRef: {name: two}}, {secretRef: {name: not}}]
    volumes:
    - {name: v, configMap: {name: three}}
    - {name: w, projected: {sources: [{configMap: {name: four}}, {secret: {name: not}}]}}
",
    );
    assert_eq!(
        referenced_config_maps(&spec),
        ["one", "two", "three", "four"].map(String::from).into()
    );
}

// Every new field must be assigned: either it is part of the revision, so that a change is rolled
// out, or it is applied at once.
#[test]
fn every_field_of_the_spec_is_assigned_to_the_revision_or_applied_at_once() {
    let McpHubSpec {
        // In the revision.
        image: _,
        image_pull_policy: _,
        image_pull_secrets: _,
        resources: _,
        pod_template: _,
        servers: _,
        filtering: _,
        feature_flags: _,
        sessions: _,
        auth: _,
        schema_compat: _,
        startup_timeout: _,
        access: _,
        limits: _,
        connection_pool: _,
        allowed_origins: _,
        allowed_hosts: _,
        // In part: externalUrl, drainTimeout.
        expose: _,
        rollout: _,
        // Applied at once.
        upgrade_policy: _,
        replicas: _,
        autoscaling: _,
        router: _,
        network_policy: _,
        monitoring: _,
    } = spec(SMALL);
    assert_eq!(
        fields(&spec(SMALL)),
        json!({"servers": [{"name": "a", "remote": {"url": "https://a.example/mcp"}}]})
    );
}

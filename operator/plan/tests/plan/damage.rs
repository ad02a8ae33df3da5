//! Whatever is written into the runtime ConfigMap: no weight moves because of it, and nothing that
//! serves is deleted.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::{Dataplane, Revision, Weight};
use rstest::rstest;
use serde_json::{Value, json};

use super::cluster::{Cluster, SPEC};

/// A file of the runtime ConfigMap.
const FILES: [&str; 2] = ["engine.json", "dataplane.json"];

pub(super) fn steps(traffic: u8, image: u8) -> String {
    let spec = SPEC.replace("files:1", &format!("files:{image}"));
    format!("{spec}rollout: {{steps: [{{traffic: {traffic}, pause: true}}, {{traffic: 100}}]}}\n")
}

/// A hub in each phase, at rest or waiting for a person.
pub(super) fn phase(name: &str) -> Cluster {
    let mut cluster = Cluster::settled(&steps(10, 1));
    match name {
        "healthy" => cluster.pass(7200),
        "refused" => cluster.set_spec("servers: []\nrollout: {steps: [{traffic: 10}]}\n"),
        "canary" => cluster.set_spec(&steps(10, 2)),
        "guard" => {
            cluster.set_spec(&steps(10, 2));
            cluster.settle();
            let canary = weights(&cluster).into_iter().find(|(_, weight)| *weight == 10);
            let (canary, _) = canary.expect("a canary");
            cluster.intent(&format!("promote/{canary}/1"));
        }
        "rolled back" => {
            cluster.healthy = false;
            cluster.set_spec(&steps(10, 2));
        }
        other => panic!("{other} is no phase"),
    }
    cluster.settle();
    cluster
}

fn weights(cluster: &Cluster) -> BTreeMap<Revision, u8> {
    let Dataplane { revisions, .. } = cluster.dataplane().expect("a dataplane");
    let serving = revisions.into_iter().filter(|(_, state)| state.weight > Weight::ZERO);
    serving.map(|(revision, state)| (revision, state.weight.percent())).collect()
}

/// Ways to spoil a document: at its root, and one at every key.
fn damages(document: &Value) -> Vec<String> {
    let mut all = vec![String::new(), "null".into(), "[]".into(), "{}".into(), "{\"term\":".into()];
    let mut paths = Vec::new();
    collect(document, "", &mut paths);
    let values =
        [None, Some(json!(u64::MAX)), Some(Value::Null), Some(json!("?")), Some(json!({}))];
    for (path, value) in paths.iter().zip(values.iter().cycle()) {
        let mut edited = document.clone();
        let (parent, key) = path.rsplit_once('/').expect("below the root");
        match (edited.pointer_mut(parent).expect("a path of it"), value) {
            (Value::Object(parent), None) => drop(parent.remove(key)),
            (Value::Object(parent), Some(value)) => drop(parent.insert(key.into(), value.clone())),
            (parent, _) => *parent = json!([]),
        }
        all.push(edited.to_string());
    }
    all
}

fn collect(value: &Value, path: &str, into: &mut Vec<String>) {
    let children: Vec<_> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in children {
        let path = format!("{path}/{key}");
        into.push(path.clone());
        collect(value, &path, into);
    }
}

/// Reconciles until the hub rests, and looks at every plan.
fn survives(mut cluster: Cluster, before: &BTreeMap<Revision, u8>, what: &str) {
    for _ in 0..30 {
        cluster.run_pods();
        let plan = cluster.plan();
        for delete in &plan.deletes {
            let served =
                before.keys().any(|revision| delete.object.name.ends_with(revision.as_str()));
            assert!(!(delete.object.kind == "Deployment" && served), "{what}: {delete:?}");
        }
        let busy = cluster.changes(&plan);
        cluster.apply(&plan);
        if cluster.dataplane().is_some() && cluster.dataplane_is_signed() {
            assert_eq!(weights(&cluster), *before, "{what}");
        }
        if !busy {
            return;
        }
        cluster.pass(1);
    }
    panic!("{what}: never comes to rest");
}

#[rstest]
#[case("healthy")]
#[case("refused")]
#[case("canary")]
#[case("guard")]
#[case("rolled back")]
fn no_damage_to_the_runtime_config_map_moves_weight_or_deletes_what_serves(#[case] name: &str) {
    let cluster = phase(name);
    let before = weights(&cluster);
    assert_eq!(before.values().map(|weight| u32::from(*weight)).sum::<u32>(), 100, "{name}");
    for file in FILES {
        let document = serde_json::from_str(&cluster.runtime_file(file)).expect("json");
        for damage in damages(&document) {
            let mut damaged = cluster.clone();
            damaged.set_runtime_file(file, Some(&damage));
            survives(damaged, &before, &format!("{name}, {file}: {damage}"));
        }
        let mut damaged = cluster.clone();
        damaged.set_runtime_file(file, None);
        survives(damaged, &before, &format!("{name}, without {file}"));
    }
}

#[test]
fn a_forged_term_ends_no_leadership_and_is_overwritten() {
    for term in [json!(41), json!(u64::MAX), json!(1_u64 << 40), json!(-1), json!("x")] {
        let mut cluster = phase("healthy");
        cluster.edit_runtime_unsigned(|engine| engine["term"] = term.clone());
        let plan = cluster.plan();
        assert_eq!(plan.superseded_by, None, "{term}");
        assert!(plan.events.iter().any(|event| event.reason == "StateLost"), "{:?}", plan.events);
        cluster.settle();
        let engine: Value = serde_json::from_str(&cluster.runtime_file("engine.json")).unwrap();
        assert_eq!(engine["term"], json!(1));
    }
}

#[test]
fn an_old_copy_of_the_state_does_not_bring_back_old_weights() {
    let mut cluster = phase("canary");
    let old = (cluster.runtime_file("engine.json"), cluster.runtime_file("signatures.json"));
    let canary = weights(&cluster).into_iter().find(|(_, weight)| *weight == 10).unwrap().0;
    cluster.intent(&format!("promote/{canary}/1"));
    cluster.settle();
    let before = weights(&cluster);
    let mut signatures: Value =
        serde_json::from_str(&cluster.runtime_file("signatures.json")).unwrap();
    let of_old: Value = serde_json::from_str(&old.1).unwrap();
    signatures["engine.json"] = of_old["engine.json"].clone();
    cluster.set_runtime_file("engine.json", Some(&old.0));
    cluster.set_runtime_file("signatures.json", Some(&signatures.to_string()));
    survives(cluster, &before, "an old copy");
}

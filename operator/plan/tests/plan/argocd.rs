//! The health script for Argo CD, with the statuses that the operator writes.

use mlua::{Lua, LuaSerdeExt as _, Table};

use super::cluster::{Cluster, SPEC};

const SCRIPT: &str = include_str!("../../../../manifests/argocd/health.lua");

/// Status and message, as Argo CD computes them.
fn health(cluster: &Cluster) -> (String, String) {
    let lua = Lua::new();
    let hub = lua.to_value(&cluster.snapshot.hub).expect("a Lua value");
    lua.globals().set("obj", hub).expect("a global");
    let health: Table = lua.load(SCRIPT).eval().expect("a table");
    (health.get("status").expect("a status"), health.get("message").expect("a message"))
}

fn reconciled(spec: &str) -> Cluster {
    let mut cluster = Cluster::settled(SPEC);
    cluster.set_spec(spec);
    let plan = cluster.plan();
    cluster.apply(&plan);
    cluster
}

#[test]
fn argo_cd_shows_the_health_of_each_phase_with_its_message() {
    let healthy = Cluster::settled(SPEC);
    assert_eq!(health(&healthy).0, "Healthy");
    let new = Cluster::new(SPEC);
    let expected = ("Progressing".into(), "the operator has not seen this spec yet".into());
    assert_eq!(health(&new), expected);
    let refused = reconciled(&format!("{SPEC}\nrollout: {{prometheus: prod}}"));
    assert_eq!(health(&refused), ("Degraded".into(), refused.condition("Stalled").2));
    let rollout = reconciled(&SPEC.replace("files:1", "files:2"));
    assert_eq!(health(&rollout), ("Progressing".into(), rollout.condition("Reconciling").2));
    let mut paused = rollout;
    paused.snapshot.hub.status.as_mut().expect("a status").phase =
        Some(mcphub_crds::status::Phase::Paused);
    assert_eq!(health(&paused).0, "Suspended");
}

// Otherwise a sync would succeed before the operator has looked at the new spec.
#[test]
fn a_status_about_an_older_spec_is_no_health() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.set_spec(&SPEC.replace("files:1", "files:2"));
    assert_eq!(health(&cluster).0, "Progressing");
}

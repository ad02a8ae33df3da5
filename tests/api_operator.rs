//! What the operator writes, and which of its replicas. There are no nodes, so no pod starts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use mcphub_crds::McpHub;
use mcphub_tests::cluster::ControlPlane;
use mcphub_tests::wait::{PATIENCE, limit, until};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::api_replica::{Installation, Replica};
use crate::{CRD, established, plane};

const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/install.yaml");

/// A hub with a remote server and one in a container that reads the ConfigMap `clock`.
pub(crate) async fn apply_hub(installed: &Installation) -> Result<()> {
    let clock = json!({
        "image": "clock:1", "command": ["clock"], "envFrom": [{"configMapRef": {"name": "clock"}}],
    });
    let hub = json!({
        "apiVersion": "mcphub.dev/v1alpha1", "kind": "McpHub", "metadata": {"name": "team"},
        "spec": {"servers": [
            {"name": "docs", "remote": {"url": "http://docs.example/mcp"}},
            {"name": "clock", "container": clock},
        ]},
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "clock"},
        "data": {"ZONE": "UTC"},
    });
    installed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [map, hub]})).await
}

/// The `engine.json` of the hub.
async fn engine(installed: &Installation) -> Result<Value> {
    let runtime = Api::<ConfigMap>::namespaced(installed.client.clone(), &installed.hubs)
        .get("team-runtime")
        .await?;
    let engine =
        runtime.data.unwrap_or_default().remove("engine.json").context("no engine.json")?;
    Ok(serde_json::from_str(&engine)?)
}

async fn term(installed: &Installation) -> Option<u64> {
    engine(installed).await.ok()?["term"].as_u64()
}

/// The hub, at rest: its first revision waits for its pods.
pub(crate) async fn settled(installed: &Installation, replica: &Replica) -> Result<McpHub> {
    let hubs = Api::<McpHub>::namespaced(installed.client.clone(), &installed.hubs);
    let phase = async || {
        let hub = hubs.get("team").await.ok();
        hub.and_then(|hub| hub.status).is_some_and(|status| status.observed_generation == Some(1))
    };
    until("the hub has a status", PATIENCE, phase).await.with_context(|| replica.tail())?;
    replica.idle().await?;
    Ok(hubs.get("team").await?)
}

#[tokio::test]
async fn an_applied_hub_gets_all_its_objects_and_a_status() -> Result<()> {
    let installed = Installation::new(plane().await?, "objects").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    let hub = settled(&installed, &replica).await?;
    let status = hub.status.context("no status")?;
    let revision = status.canary.context("the first revision is not tried")?.revision;

    let mut objects = installed.objects().await?;
    let (mut of_server, rest): (Vec<_>, Vec<_>) =
        objects.drain(..).partition(|object| object.contains("/team-s-clock-"));
    for object in &mut of_server {
        object.truncate(object.len() - "-0a1b2c3d".len());
    }
    assert_eq!(
        of_server,
        ["ConfigMap/team-s-clock", "Deployment/team-s-clock", "Service/team-s-clock"]
    );
    let expected = [
        "ConfigMap/team-learned".into(),
        format!("ConfigMap/team-r-{revision}"),
        "ConfigMap/team-runtime".into(),
        format!("ControllerRevision/team-r-{revision}"),
        format!("Deployment/team-r-{revision}"),
        "Deployment/team-router".into(),
        format!("PodDisruptionBudget/team-r-{revision}"),
        "PodDisruptionBudget/team-router".into(),
        "Role/team".into(),
        "Role/team-router".into(),
        "RoleBinding/team".into(),
        "RoleBinding/team-router".into(),
        "Secret/team-keys".into(),
        "Service/team".into(),
        format!("Service/team-r-{revision}"),
        "ServiceAccount/team".into(),
        "ServiceAccount/team-router".into(),
    ];
    assert_eq!(rest, expected);
    replica.nothing_was_forbidden()?;
    replica.stop().await
}

// Otherwise a field that the API server normalizes would make the operator write forever.
#[tokio::test]
async fn a_reconcile_without_a_change_writes_nothing() -> Result<()> {
    let installed = Installation::new(plane().await?, "fixpoint").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let (writes, reconciles) =
        (replica.writes().await?, replica.metric("mcphub_operator_reconciles_total").await?);
    installed
        .plane
        .kubectl(["-n", &installed.hubs, "annotate", "hub", "team", "example.com/touched=yes"])
        .await?;
    let again = async || {
        replica
            .metric("mcphub_operator_reconciles_total")
            .await
            .is_ok_and(|count| count > reconciles)
    };
    until("the hub is reconciled again", PATIENCE, again).await?;
    replica.idle().await?;
    let more = replica.writes().await? - writes;
    ensure!(more < 0.5, "{more} writes\n{}", replica.tail());
    Ok(())
}

// Otherwise a key that a later release drops would stay in objects that were created with POST.
#[tokio::test]
async fn what_the_operator_created_is_owned_by_its_applies_alone() -> Result<()> {
    let installed = Installation::new(plane().await?, "owners").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    for name in installed.objects().await? {
        let args = ["-n", &installed.hubs, "get", &name, "--show-managed-fields", "-o", "json"];
        let object: Value = serde_json::from_str(&installed.plane.kubectl(args).await?)?;
        let entries = object["metadata"]["managedFields"].as_array().context("no entries")?;
        let ours = entries.iter().filter(|entry| entry["manager"] == "mcphub-operator");
        let operations: Vec<_> = ours.map(|entry| entry["operation"].clone()).collect();
        assert_eq!(operations, ["Apply"], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_status_is_restored_as_it_was() -> Result<()> {
    let installed = Installation::new(plane().await?, "status").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    let before = timeless(settled(&installed, &replica).await?)?;
    let hubs = Api::<McpHub>::namespaced(installed.client.clone(), &installed.hubs);
    hubs.patch_status("team", &PatchParams::default(), &Patch::Merge(json!({"status": null})))
        .await?;
    let back = async || {
        hubs.get("team").await.is_ok_and(|hub| timeless(hub).is_ok_and(|status| status == before))
    };
    until("the status is restored", limit(Duration::from_secs(5)), back)
        .await
        .with_context(|| replica.tail())?;
    Ok(())
}

/// The status without its transition times.
fn timeless(hub: McpHub) -> Result<Value> {
    let mut status = serde_json::to_value(hub.status.context("no status")?)?;
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    Ok(status)
}

// The content is part of the revision, so a change of it must be rolled out like any other.
#[tokio::test]
async fn a_change_of_a_referenced_config_map_creates_a_revision() -> Result<()> {
    let installed = Installation::new(plane().await?, "references").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let revisions = async || {
        let objects = installed.objects().await.unwrap_or_default();
        objects
            .into_iter()
            .filter(|object| object.starts_with("ControllerRevision/"))
            .collect::<Vec<_>>()
    };
    let before = revisions().await;
    let patch = r#"{"data": {"ZONE": "CET"}}"#;
    installed
        .plane
        .kubectl(["-n", &installed.hubs, "patch", "configmap", "clock", "--patch", patch])
        .await?;
    let another = async || revisions().await.iter().any(|revision| !before.contains(revision));
    until("there is another revision", limit(Duration::from_secs(5)), another)
        .await
        .with_context(|| replica.tail())?;
    Ok(())
}

#[tokio::test]
async fn of_two_replicas_one_writes_and_a_killed_leader_is_replaced_with_a_higher_term()
-> Result<()> {
    let installed = Installation::new(plane().await?, "succession").await?;
    let first = installed.start("operator-0").await?;
    until("one leads", PATIENCE, async || first.leads().await).await?;
    let second = installed.start("operator-1").await?;
    apply_hub(&installed).await?;
    settled(&installed, &first).await?;
    assert_eq!(term(&installed).await, Some(1));
    assert_eq!((second.leads().await, second.writes().await?), (false, 0.0));

    first.kill()?;
    let succeeded = async || term(&installed).await.is_some_and(|term| term > 1);
    until("the next leader has written its term", PATIENCE, succeeded)
        .await
        .with_context(|| second.tail())?;
    assert!(second.leads().await);
    let writes = second.writes().await?;
    ensure!(
        writes < 3.0,
        "taking over wrote more than the term: {writes} writes\n{}",
        second.tail()
    );
    Ok(())
}

#[tokio::test]
async fn a_replica_that_stops_releases_the_lease() -> Result<()> {
    let installed = Installation::new(plane().await?, "stop").await?;
    let replica = installed.start("operator-0").await?;
    until("it leads", PATIENCE, async || replica.leads().await).await?;
    replica.stop().await?;
    let lease =
        Api::<Lease>::namespaced(installed.client.clone(), &installed.own).get("mcphub").await?;
    let spec = lease.spec.context("no spec")?;
    assert_eq!(
        (spec.holder_identity.unwrap_or_default().as_str(), spec.lease_transitions),
        ("", Some(1))
    );
    Ok(())
}

// Whoever may edit ConfigMaps in the hub's namespace can write this file.
#[tokio::test]
async fn a_forged_term_in_a_hub_ends_no_leadership_and_is_overwritten() -> Result<()> {
    let installed = Installation::new(plane().await?, "forged").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let mut engine = engine(&installed).await?;
    engine["term"] = json!(1_u64 << 40);
    let runtimes = Api::<ConfigMap>::namespaced(installed.client.clone(), &installed.hubs);
    let patch = Patch::Merge(json!({"data": {"engine.json": engine.to_string()}}));
    runtimes.patch("team-runtime", &PatchParams::default(), &patch).await?;
    let overwritten = async || term(&installed).await == Some(1);
    until("the term is its own again", PATIENCE, overwritten).await?;
    settled(&installed, &replica).await?;
    ensure!(!replica.log().contains("resigning"), "{}", replica.tail());
    ensure!(replica.leads().await, "{}", replica.tail());
    Ok(())
}

#[tokio::test]
async fn after_the_lease_was_deleted_the_next_term_is_above_the_one_in_the_hubs() -> Result<()> {
    let installed = Installation::new(plane().await?, "superseded").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    replica.stop().await?;
    let second = installed.start("operator-1").await?;
    until("the second term", PATIENCE, async || term(&installed).await == Some(2)).await?;
    second.stop().await?;
    let leases = Api::<Lease>::namespaced(installed.client.clone(), &installed.own);
    leases.delete("mcphub", &DeleteParams::default()).await?;
    let third = installed.start("operator-2").await?;
    let above = async || term(&installed).await.is_some_and(|term| term >= 3);
    until("the next term is above it", PATIENCE, above).await.with_context(|| third.tail())?;
    Ok(())
}

#[tokio::test]
async fn the_committed_install_manifest_is_the_rendered_chart_and_its_rights_are_enough()
-> Result<()> {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    // With an API server of its own, because this operator manages every namespace.
    let plane = PLANE.get_or_try_init(ControlPlane::start).await?;
    let manifest = std::fs::read_to_string(INSTALL)?;
    let rendered =
        plane.helm(["template", "mcphub", "charts/mcphub-operator", "-n", "mcphub-system"]).await?;
    let definition = plane.helm(["template", "mcphub-crds", "charts/mcphub-crds"]).await?;
    ensure!(
        manifest.contains(rendered.trim()) && manifest.contains(definition.trim()),
        "run `make manifests`"
    );
    ensure!(
        definition.contains(crd_body()?.trim()),
        "charts/mcphub-crds has an old CRD; run `make generate`"
    );

    let refused = || async { forbidden(plane).await };
    let installed =
        Installation::from_manifest(plane, "mcphub-system".into(), "default".into(), &manifest)
            .await?;
    established(plane).await?;
    let before = refused().await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    installed.plane.kubectl(["-n", "default", "delete", "deployment", "team-router"]).await?;
    let back = async || {
        installed
            .objects()
            .await
            .is_ok_and(|all| all.contains(&"Deployment/team-router".to_owned()))
    };
    until("the router is back", limit(Duration::from_secs(5)), back)
        .await
        .with_context(|| replica.tail())?;
    installed.plane.kubectl(["-n", "default", "delete", "hub", "team"]).await?;
    replica.idle().await?;
    replica.nothing_was_forbidden()?;
    let more = refused().await? - before;
    ensure!(more < 0.5, "the API server has forbidden {more} requests");
    Ok(())
}

/// The CRD from its spec on. Its metadata differs by an annotation.
fn crd_body() -> Result<String> {
    let text = std::fs::read_to_string(CRD)?;
    Ok(text.split_once("\nspec:\n").context("no spec")?.1.to_owned())
}

/// How many requests the API server has answered with 403.
async fn forbidden(plane: &ControlPlane) -> Result<f64> {
    let metrics = plane.kubectl(["get", "--raw", "/metrics"]).await?;
    let lines = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{") && line.contains(r#"code="403""#)
    });
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

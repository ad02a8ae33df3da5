//! Changes that people make to the objects of a hub by hand are undone, and no pod restarts that
//! need not.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcphub_crds::McpHub;
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_tests::traffic::client::{Client, Reply};
use mcphub_tests::wait::{PATIENCE, eventually, limit};
use serde_json::{Value, json};

use crate::system_hub::{Hub, Pods, echo, spec};
use crate::system_scenario::{Scenario, run_shared};

/// The limit for a repair.
fn repair() -> Duration {
    limit(Duration::from_secs(5))
}

async fn object(scenario: &Scenario, name: &str) -> Option<Value> {
    serde_json::from_str(&scenario.kubectl(&["get", name, "-o", "json"]).await.ok()?).ok()
}

#[tokio::test]
async fn objects_edited_or_deleted_by_hand_are_restored_within_5_s_and_pods_stay() {
    run_shared("drift", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let revision = hub.deploy(&spec(scenario.cluster, &["everything"])?).await?;
        let (pods, routers) = (hub.pods(&revision).await?, hub.routers().await?);

        edits_are_undone(&hub, &revision).await?;
        same_pods(&hub, &revision, &pods).await?;
        deleted_objects_are_restored(&hub, &revision).await?;
        same_pods(&hub, &revision, &pods).await?;
        assert_eq!(hub.routers().await?, routers, "no router had to change");
        status_is_derived(&hub).await?;

        delete(&hub, &format!("deployment/team-r-{revision}")).await?;
        let another =
            async || hub.pods(&revision).await.ok().filter(|now| now.len() == 1 && *now != pods);
        eventually("there is another hub pod", PATIENCE, another).await?;
        a_reconcile_restores_the_secret(&hub).await?;

        hub.phase(Phase::Healthy, PATIENCE).await?;
        let mut client = Client::new(&hub.url().await?);
        let (tool, arguments) = echo();
        let answers = async || {
            let opened = client.initialize().await == Reply::Ok;
            (opened && client.call(tool, &arguments).await == Reply::Ok).then_some(())
        };
        eventually("the new pod answers", PATIENCE, answers).await
    })
    .await;
}

/// Waits until surplus pods are gone. The pods of before must be the ones that stay.
async fn same_pods(hub: &Hub, revision: &Revision, before: &Pods) -> Result<()> {
    let same = async || hub.pods(revision).await.ok().filter(|now| now == before);
    eventually("exactly the pods of before are left", PATIENCE, same).await.map(drop)
}

async fn edits_are_undone(hub: &Hub, revision: &Revision) -> Result<()> {
    let container = "/spec/template/spec/containers";
    let spy = json!({"name": "spy", "image": "mcphub.test/spy:1"});
    let deployment = format!("deployment/{}-r-{revision}", hub.name);
    let edits = [
        (&*deployment, json!([{"op": "replace", "path": "/spec/replicas", "value": 3}])),
        (
            &*deployment,
            json!([
                {
                    "op": "replace", "path": format!("{container}/0/image"),
                    "value": "mcphub.test/spy:1",
                },
            ]),
        ),
        (&*deployment, json!([{"op": "add", "path": format!("{container}/-"), "value": spy}])),
        (
            "service/team",
            json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}]),
        ),
    ];
    for (name, patch) in edits {
        let before =
            object(&hub.scenario, name).await.with_context(|| name.to_owned())?["spec"].take();
        hub.scenario
            .kubectl(&["patch", name, "--type=json", "--patch", &patch.to_string()])
            .await?;
        let restored =
            async || (object(&hub.scenario, name).await?["spec"] == before).then_some(());
        eventually(&format!("{patch} on {name} is undone"), repair(), restored).await?;
    }
    Ok(())
}

/// Deletes an object and waits until it is created again.
async fn delete(hub: &Hub, name: &str) -> Result<Value> {
    let uid =
        object(&hub.scenario, name).await.with_context(|| name.to_owned())?["metadata"]["uid"]
            .take();
    hub.scenario.kubectl(&["delete", name, "--wait=false"]).await?;
    let back = async || {
        object(&hub.scenario, name).await.filter(|object| object["metadata"]["uid"] != uid)
    };
    eventually(&format!("{name} is back"), repair(), back).await
}

async fn deleted_objects_are_restored(hub: &Hub, revision: &Revision) -> Result<()> {
    let before = hub.dataplane().await?;
    let record = hub.record(revision).await?;
    let of_revision = format!("controllerrevision/team-r-{revision}");
    for name in
        ["service/team", "configmap/team-runtime", &of_revision, "rolebinding/team", "role/team"]
    {
        delete(hub, name).await?;
    }
    let after = hub.dataplane().await?;
    assert_eq!(after.revisions, before.revisions);
    // Routers apply only generations that are higher than the last: after a lower one, no change
    // would reach them.
    assert!(
        after.generation > before.generation,
        "{} after {}",
        after.generation,
        before.generation
    );
    assert_eq!(hub.record(revision).await?, record);
    Ok(())
}

async fn status_is_derived(hub: &Hub) -> Result<()> {
    let before = timeless(hub.phase(Phase::Healthy, PATIENCE).await?)?;
    let hubs: Api<McpHub> = Api::namespaced(hub.scenario.client.clone(), &hub.scenario.namespace);
    hubs.patch_status(&hub.name, &PatchParams::default(), &Patch::Merge(json!({"status": null})))
        .await?;
    let same = async || {
        let status = hubs.get(&hub.name).await.ok()?.status?;
        (timeless(status).ok()? == before).then_some(())
    };
    eventually(&format!("the status is {before} again"), repair(), same).await
}

/// The status without its transition times.
fn timeless(status: mcphub_crds::McpHubStatus) -> Result<Value> {
    let mut status = serde_json::to_value(status)?;
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    Ok(status)
}

/// The operator has no right to read Secrets of tenants, so it does not notice that one is gone.
/// Every reconcile writes it.
async fn a_reconcile_restores_the_secret(hub: &Hub) -> Result<()> {
    let keys = async || {
        object(&hub.scenario, "secret/team-keys").await.map(|mut secret| secret["data"].take())
    };
    let before = keys().await.context("no secret/team-keys")?;
    hub.scenario.kubectl(&["delete", "secret", "team-keys"]).await?;
    hub.scenario
        .kubectl(&["annotate", "mcphub", &hub.name, "--overwrite", "example.com/touched=yes"])
        .await?;
    let after = eventually("the keys are restored", limit(Duration::from_secs(10)), keys).await?;
    assert_eq!(after, before, "with other keys, every session would end");
    Ok(())
}

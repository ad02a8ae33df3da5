//! What people do to a hub's objects by hand is undone, and no pod pays for it that need not.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcphub_crds::McpHub;
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_tests::traffic::client::{Client, Reply};
use serde_json::{Value, json};

use crate::hub::{Hub, LONG, Pods, echo, spec};
use crate::scene::{Scene, beside_others, eventually};

const LIMIT: Duration = Duration::from_secs(5);

async fn object(scene: &Scene, name: &str) -> Option<Value> {
    serde_json::from_str(&scene.kubectl(&["get", name, "-o", "json"]).await.ok()?).ok()
}

#[tokio::test]
async fn what_is_edited_or_deleted_by_hand_is_back_within_5_s_and_pods_stay() {
    beside_others("drift", async |scene| {
        let hub = Hub::new(scene, "team");
        let revision = hub.deploy(&spec(scene.cluster, &["everything"])?).await?;
        let (pods, routers) = (hub.pods(&revision).await?, hub.routers().await?);

        edits_are_undone(&hub, &revision).await?;
        same_pods(&hub, &revision, &pods).await?;
        deleted_objects_are_back(&hub, &revision).await?;
        same_pods(&hub, &revision, &pods).await?;
        assert_eq!(hub.routers().await?, routers, "no router needed to change");
        status_is_derived(&hub).await?;

        deleted(&hub, &format!("deployment/team-r-{revision}")).await?;
        let whole =
            async || hub.pods(&revision).await.ok().filter(|now| now.len() == 1 && *now != pods);
        eventually("there is another hub pod", LONG, whole).await?;
        secret_comes_with_a_reconcile(&hub).await?;

        hub.phase(Phase::Healthy, LONG).await?;
        let mut client = Client::new(&hub.url().await?);
        let (tool, arguments) = echo();
        let answers = async || {
            let opened = client.initialize().await == Reply::Ok;
            (opened && client.call(tool, &arguments).await == Reply::Ok).then_some(())
        };
        eventually("the new pod answers", LONG, answers).await
    })
    .await;
}

/// Waits until surplus pods are gone; those that were there must be the ones that stay.
async fn same_pods(hub: &Hub, revision: &Revision, before: &Pods) -> Result<()> {
    let same = async || hub.pods(revision).await.ok().filter(|now| now == before);
    eventually("exactly the pods of before are left", LONG, same).await.map(drop)
}

async fn edits_are_undone(hub: &Hub, revision: &Revision) -> Result<()> {
    let container = "/spec/template/spec/containers";
    let spy = json!({"name": "spy", "image": "mcphub.test/spy:1"});
    let deployment = format!("deployment/{}-r-{revision}", hub.name);
    let edits = [
        (&*deployment, json!([{"op": "replace", "path": "/spec/replicas", "value": 3}])),
        (
            &*deployment,
            json!([{"op": "replace", "path": format!("{container}/0/image"), "value": "mcphub.test/spy:1"}]),
        ),
        (&*deployment, json!([{"op": "add", "path": format!("{container}/-"), "value": spy}])),
        (
            "service/team",
            json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}]),
        ),
    ];
    for (name, patch) in edits {
        let before =
            object(&hub.scene, name).await.with_context(|| name.to_owned())?["spec"].take();
        hub.scene.kubectl(&["patch", name, "--type=json", "--patch", &patch.to_string()]).await?;
        let put_back = async || (object(&hub.scene, name).await?["spec"] == before).then_some(());
        eventually(&format!("{patch} on {name} is undone"), LIMIT, put_back).await?;
    }
    Ok(())
}

/// Deletes an object and waits for the next one of the same name.
async fn deleted(hub: &Hub, name: &str) -> Result<Value> {
    let uid =
        object(&hub.scene, name).await.with_context(|| name.to_owned())?["metadata"]["uid"].take();
    hub.scene.kubectl(&["delete", name, "--wait=false"]).await?;
    let back =
        async || object(&hub.scene, name).await.filter(|object| object["metadata"]["uid"] != uid);
    eventually(&format!("{name} is back"), LIMIT, back).await
}

async fn deleted_objects_are_back(hub: &Hub, revision: &Revision) -> Result<()> {
    let before = hub.dataplane().await?;
    let record = hub.record(revision).await?;
    let of_revision = format!("controllerrevision/team-r-{revision}");
    for name in
        ["service/team", "configmap/team-runtime", &of_revision, "rolebinding/team", "role/team"]
    {
        deleted(hub, name).await?;
    }
    let after = hub.dataplane().await?;
    assert_eq!(after.revisions, before.revisions);
    // Routers obey the highest generation that they know: a lower one would be written in vain from now on.
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
    let before = timeless(hub.phase(Phase::Healthy, LONG).await?)?;
    let hubs: Api<McpHub> = Api::namespaced(hub.scene.client.clone(), &hub.scene.namespace);
    hubs.patch_status(&hub.name, &PatchParams::default(), &Patch::Merge(json!({"status": null})))
        .await?;
    let same = async || {
        let status = hubs.get(&hub.name).await.ok()?.status?;
        (timeless(status).ok()? == before).then_some(())
    };
    eventually(&format!("the status is {before} again"), LIMIT, same).await
}

/// A status without the times of its transitions.
fn timeless(status: mcphub_crds::McpHubStatus) -> Result<Value> {
    let mut status = serde_json::to_value(status)?;
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    Ok(status)
}

/// The operator may not read Secrets of tenants, so it does not see that one is gone. Any reconcile writes it again.
async fn secret_comes_with_a_reconcile(hub: &Hub) -> Result<()> {
    let keys = async || {
        object(&hub.scene, "secret/team-keys").await.map(|mut secret| secret["data"].take())
    };
    let before = keys().await.context("no secret/team-keys")?;
    hub.scene.kubectl(&["delete", "secret", "team-keys"]).await?;
    hub.scene
        .kubectl(&["annotate", "mcphub", &hub.name, "--overwrite", "example.com/touched=yes"])
        .await?;
    let after = eventually("the keys are back", Duration::from_secs(10), keys).await?;
    assert_eq!(after, before, "other keys would end every session");
    Ok(())
}

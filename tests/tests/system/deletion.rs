//! A hub that is deleted leaves nothing.

use anyhow::Result;
use mcphub_tests::traffic::client::{Client, Reply};

use crate::hub::{Hub, LONG, spec, variant};
use crate::scene::{Scene, beside_others, eventually};

/// Everything in the namespace that carries the label of a hub, of whatever kind.
pub(crate) async fn leavings(scene: &Scene, hub: &str) -> Result<Vec<String>> {
    let kinds = scene
        .cluster
        .kubectl(["api-resources", "--namespaced", "--verbs=list", "--output=name"])
        .await?;
    let kinds = kinds.lines().collect::<Vec<_>>().join(",");
    let label = format!("mcphub.dev/hub={hub}");
    let found = scene
        .kubectl(&["get", &kinds, "-l", &label, "--ignore-not-found", "--output=name"])
        .await?;
    Ok(found.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_deleted_hub_leaves_nothing_with_its_label_even_in_the_middle_of_a_rollout() {
    beside_others("deletion", async |scene| {
        let hub = Hub::new(scene, "team");
        let first = spec(scene.cluster, &["everything"])?;
        hub.deploy(&first).await?;
        // A session that is open keeps its pod for `drainTimeout` and not longer.
        let mut client = Client::new(&hub.url().await?);
        assert_eq!(client.initialize().await, Reply::Ok);
        let mut written = hub.written();
        hub.apply(&variant(&first, 1)).await?;
        written.first("a canary", LONG, |state| state.revisions.len() == 2).await?;
        assert!(leavings(scene, "team").await?.len() > 20);

        scene.kubectl(&["delete", "mcphub", "team", "--wait=false"]).await?;
        let gone =
            async || leavings(scene, "team").await.is_ok_and(|left| left.is_empty()).then_some(());
        let waited = eventually("everything is gone", LONG, gone).await;
        waited.map_err(|error| error.context("see the pods above"))
    })
    .await;
}

//! A hub that is deleted leaves nothing.

use anyhow::Result;
use mcphub_tests::traffic::client::{Client, Reply};

use mcphub_tests::wait::{PATIENCE, eventually};

use crate::system_hub::{Hub, spec, variant};
use crate::system_scenario::{Scenario, run_shared};

/// All objects in the namespace, of any kind, with the label of a hub.
pub(crate) async fn labeled_objects(scenario: &Scenario, hub: &str) -> Result<Vec<String>> {
    let kinds = scenario
        .cluster
        .kubectl(["api-resources", "--namespaced", "--verbs=list", "--output=name"])
        .await?;
    let kinds = kinds.lines().collect::<Vec<_>>().join(",");
    let label = format!("mcphub.dev/hub={hub}");
    let found = scenario
        .kubectl(&["get", &kinds, "-l", &label, "--ignore-not-found", "--output=name"])
        .await?;
    Ok(found.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_deleted_hub_leaves_nothing_with_its_label_even_in_the_middle_of_a_rollout() {
    run_shared("deletion", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let first = spec(scenario.cluster, &["everything"])?;
        hub.deploy(&first).await?;
        // An open session keeps its pod for `drainTimeout` and not longer.
        let mut client = Client::new(&hub.url().await?);
        assert_eq!(client.initialize().await, Reply::Ok);
        let mut log = hub.runtime_log().await?;
        hub.apply(&variant(&first, 1)).await?;
        log.first("there is a canary", PATIENCE, |state| state.revisions.len() == 2).await?;
        let many =
            async || (labeled_objects(scenario, "team").await.ok()?.len() > 20).then_some(());
        eventually("both revisions have their objects", PATIENCE, many).await?;

        scenario.kubectl(&["delete", "mcphub", "team", "--wait=false"]).await?;
        let gone = async || {
            labeled_objects(scenario, "team").await.is_ok_and(|left| left.is_empty()).then_some(())
        };
        let waited = eventually("everything is gone", PATIENCE, gone).await;
        waited.map_err(|error| error.context("the diagnostics above show what is left"))
    })
    .await;
}

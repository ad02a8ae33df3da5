//! Without the operator, hubs keep serving. Without the CRD, nothing is left of them.

use anyhow::ensure;
use mcphub_tests::install;
use mcphub_tests::traffic::client::{Client, Reply};

use mcphub_tests::wait::{PATIENCE, eventually};

use crate::system_deletion::labeled_objects;
use crate::system_hub::{Hub, echo, spec};
use crate::system_scenario::{operator_is_removed, run_alone};

#[tokio::test]
async fn helm_uninstall_leaves_hubs_serving_and_deleting_the_crd_leaves_nothing() {
    run_alone("uninstall", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let revision = hub.deploy(&spec(scenario.cluster, &["everything"])?).await?;
        let pods = hub.pods(&revision).await?;
        let mut client = Client::new(&hub.url().await?);
        let (tool, arguments) = echo();
        assert_eq!(client.initialize().await, Reply::Ok);

        operator_is_removed().await;
        install::uninstall(scenario.cluster).await?;
        let own =
            "deployments,pods,serviceaccounts,roles,rolebindings,configmaps,poddisruptionbudgets";
        let of_helm = "app.kubernetes.io/part-of=mcphub";
        let left = async |kinds: &str| {
            let get = ["-n", install::NAMESPACE, "get", kinds, "-l", of_helm, "--output=name"];
            scenario.cluster.kubectl(get).await.unwrap_or_else(|error| format!("{error:#}"))
        };
        eventually("the operator is gone", PATIENCE, async || {
            left(own).await.is_empty().then_some(())
        })
        .await?;
        let everywhere = left("clusterroles,clusterrolebindings").await;
        ensure!(everywhere.is_empty(), "left: {everywhere}");
        // The same session, on the same pods.
        assert_eq!(client.call(tool, &arguments).await, Reply::Ok);
        assert_eq!(hub.pods(&revision).await?, pods);
        ensure!(
            scenario.kubectl(&["get", "mcphub", "team", "--output=name"]).await?
                == "mcphub.mcphub.dev/team\n"
        );

        scenario.cluster.kubectl(["delete", "crd", "mcphubs.mcphub.dev", "--wait=false"]).await?;
        let gone = async || {
            labeled_objects(scenario, "team").await.is_ok_and(|left| left.is_empty()).then_some(())
        };
        eventually("everything of the hub is gone", PATIENCE, gone).await?;
        // The next installation must not find a CRD that is being deleted.
        let crd = async || {
            scenario
                .cluster
                .kubectl(["get", "crd", "mcphubs.mcphub.dev"])
                .await
                .is_err()
                .then_some(())
        };
        eventually("the CRD is gone", PATIENCE, crd).await
    })
    .await;
}

//! The operator goes, and hubs serve on; the resource goes, and everything goes with it.

use anyhow::ensure;
use mcphub_tests::install;
use mcphub_tests::traffic::client::{Client, Reply};

use crate::deletion::leavings;
use crate::hub::{Hub, LONG, echo, spec};
use crate::scene::{alone, eventually, operator_is_gone};

#[tokio::test]
async fn helm_uninstall_leaves_hubs_serving_and_deleting_the_crd_leaves_nothing() {
    alone("uninstall", async |scene| {
        let hub = Hub::new(scene, "team");
        let revision = hub.deploy(&spec(scene.cluster, &["everything"])?).await?;
        let pods = hub.pods(&revision).await?;
        let mut client = Client::new(&hub.url().await?);
        let (tool, arguments) = echo();
        assert_eq!(client.initialize().await, Reply::Ok);

        operator_is_gone().await;
        install::uninstall(scene.cluster).await?;
        let own =
            "deployments,pods,serviceaccounts,roles,rolebindings,configmaps,poddisruptionbudgets";
        let of_helm = "app.kubernetes.io/part-of=mcphub";
        let left = async |kinds: &str| {
            let get = ["-n", install::NAMESPACE, "get", kinds, "-l", of_helm, "--output=name"];
            scene.cluster.kubectl(get).await.unwrap_or_else(|error| format!("{error:#}"))
        };
        eventually("the operator is gone", LONG, async || left(own).await.is_empty().then_some(()))
            .await?;
        let everywhere = left("clusterroles,clusterrolebindings").await;
        ensure!(everywhere.is_empty(), "left: {everywhere}");
        // The session of before, on the pods of before.
        assert_eq!(client.call(tool, &arguments).await, Reply::Ok);
        assert_eq!(hub.pods(&revision).await?, pods);
        ensure!(
            scene.kubectl(&["get", "mcphub", "team", "--output=name"]).await?
                == "mcphub.mcphub.dev/team\n"
        );

        scene.cluster.kubectl(["delete", "crd", "mcphubs.mcphub.dev", "--wait=false"]).await?;
        let gone =
            async || leavings(scene, "team").await.is_ok_and(|left| left.is_empty()).then_some(());
        eventually("everything of the hub is gone", LONG, gone).await?;
        // The next installation must find no CRD that is on its way out.
        let crd = async || {
            scene.cluster.kubectl(["get", "crd", "mcphubs.mcphub.dev"]).await.is_err().then_some(())
        };
        eventually("the CRD is gone", LONG, crd).await
    })
    .await;
}

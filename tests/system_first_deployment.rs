//! A first deployment that cannot work reports why and what to do, and is replaced by a spec that
//! works.

use anyhow::ensure;
use mcphub_crds::status::Phase;
use mcphub_tests::cluster::Image;
use mcphub_tests::traffic::client::{Client, Reply};
use mcphub_tests::wait::PATIENCE;
use serde_json::json;

use crate::system_hub::{Hub, condition, echo, serving, spec};
use crate::system_scenario::run_shared;

#[tokio::test]
async fn a_first_deployment_that_never_works_is_failed_until_a_working_spec_is_applied() {
    run_shared("first", async |scenario| {
        let good = spec(scenario.cluster, &["everything"])?;
        let with_image = |image: String| {
            let mut spec = good.clone();
            spec["image"] = json!(image);
            spec["rollout"]["progressDeadline"] = json!("45s");
            spec
        };
        let cases = [
            // The image does not exist.
            ("image", with_image("mcphub.test/there-is-none:1".into())),
            // The image contains no hub, so its container ends at once.
            ("program", with_image(scenario.cluster.image(Image::ServersNode)?)),
        ];
        let cases = cases.map(|(name, bad)| (Hub::new(scenario, name), bad));
        for (hub, bad) in &cases {
            hub.apply(bad).await?;
        }
        for (hub, _) in &cases {
            let stalled = condition(&hub.phase(Phase::Failed, PATIENCE).await?, "Stalled");
            let pod = format!("{}-r-", hub.name);
            for words in ["its pods were not Ready within 45s", &pod, "change the spec"] {
                ensure!(stalled.message.contains(words), "no \"{words}\" in {stalled:?}");
            }
            hub.deploy(&good).await?;
        }
        for (hub, _) in &cases {
            let (tool, arguments) = echo();
            let mut client = Client::new(&hub.url().await?);
            assert_eq!(client.initialize().await, Reply::Ok, "{}", hub.name);
            assert_eq!(client.call(tool, &arguments).await, Reply::Ok, "{}", hub.name);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_ends_at_once_is_named_in_status_while_the_others_serve() {
    run_shared("server", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let good = spec(scenario.cluster, &["everything", "memory"])?;
        let mut bad = good.clone();
        bad["startupTimeout"] = json!("3s");
        bad["servers"][1]["container"]["command"] = json!(["node", "-e", "process.exit(3)"]);
        hub.apply(&bad).await?;
        let status = hub.status("the hub serves with one of two servers", PATIENCE, |status| {
            serving(status) && status.servers_ready.as_deref() == Some("1/2")
        });
        let status = status.await?;
        let ready = condition(&status, "ServersReady");
        ensure!(
            ready.status == "False" && ready.message.ends_with("; see status.servers"),
            "{ready:?}"
        );
        ensure!(
            ready.message.starts_with("1 of 2 servers is not connected: memory ("),
            "{ready:?}"
        );
        let message = status
            .servers
            .iter()
            .find(|server| !server.ready)
            .and_then(|server| server.message.as_deref());
        ensure!(message.is_some_and(|message| !message.is_empty()), "{:?}", status.servers);
        let (tool, arguments) = echo();
        let mut client = Client::new(&hub.url().await?);
        assert_eq!(client.initialize().await, Reply::Ok);
        assert_eq!(client.call(tool, &arguments).await, Reply::Ok);
        Ok(())
    })
    .await;
}

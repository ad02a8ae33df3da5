//! The operator on a test cluster, installed as a user installs it: with helm, from the charts of this checkout.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use mcphub_hub_wire::paths;

use crate::cluster::{Cluster, Image};

/// Namespace of the operator.
pub const NAMESPACE: &str = "mcphub-system";

/// Values that tests choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Replicas of the operator.
    pub replicas: u8,
    /// How often the cluster's Prometheus, known to hubs as `main`, scrapes.
    pub prometheus_scrape: Duration,
    /// Seconds after which a leader that was not heard of is replaced; the other times of the election follow from it.
    pub lease_seconds: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replicas: 2, prometheus_scrape: Duration::from_secs(1), lease_seconds: 15 }
    }
}

/// Installs both charts and waits until the operator is ready.
pub async fn operator(cluster: &Cluster, settings: &Settings) -> Result<()> {
    cluster
        .helm([
            "upgrade",
            "--install",
            "mcphub-crds",
            "charts/mcphub-crds",
            "--namespace",
            "default",
        ])
        .await?;
    let scrape = format!("{}ms", settings.prometheus_scrape.as_millis());
    let lease = settings.lease_seconds;
    let values = [
        format!("image={}", cluster.image(Image::Operator)?),
        format!("hubImage={}", cluster.image(Image::Hub)?),
        format!("replicas={}", settings.replicas),
        "prometheus[0].name=main".into(),
        format!("prometheus[0].url={}", cluster.prometheus_url()?),
        format!("prometheus[0].scrapeInterval={scrape}"),
        format!("leaderElection.duration={lease}"),
        format!("leaderElection.renewDeadline={}", lease * 2 / 3),
        format!("leaderElection.retryPeriod={}", (lease / 7).max(1)),
    ];
    let mut install: Vec<String> =
        "upgrade --install mcphub charts/mcphub-operator --create-namespace --wait --timeout 2m --namespace"
            .split(' ')
            .map(str::to_owned)
            .collect();
    install.push(NAMESPACE.into());
    install.extend(values.into_iter().flat_map(|value| ["--set".into(), value]));
    if let Err(error) = cluster.helm(install).await {
        return Err(error.context(cluster.complaints(NAMESPACE).await));
    }
    Ok(())
}

/// Waits until all replicas of the operator are ready.
pub async fn wait_for_operator(cluster: &Cluster) -> Result<()> {
    let wait = ["-n", NAMESPACE, "rollout", "status", "deployment", "--timeout=90s"];
    cluster.kubectl(wait).await.map(drop)
}

/// Removes the operator, then the resource with every McpHub there is.
pub async fn uninstall(cluster: &Cluster) -> Result<()> {
    cluster.helm(["uninstall", "mcphub", "--namespace", NAMESPACE, "--wait"]).await?;
    cluster.helm(["uninstall", "mcphub-crds", "--namespace", "default"]).await.map(drop)
}

/// The `/mcp` endpoint of a hub as this process reaches it.
pub async fn url(cluster: &Cluster, namespace: &str, hub: &str) -> Result<String> {
    let services: Api<Service> = Api::namespaced(cluster.client().await?, namespace);
    let service = services.get(hub).await?;
    let address = service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("the hub's Service has no address")?;
    Ok(format!("http://{address}:{}/mcp", paths::PORT))
}

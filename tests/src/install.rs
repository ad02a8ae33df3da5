//! The operator on a test cluster, installed as users install it: with helm, from the charts of
//! this checkout.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use mcphub_hub_wire::paths;
use serde_json::json;

use crate::cluster::{Cluster, Image};

/// Namespace of the operator.
pub const NAMESPACE: &str = "mcphub-system";

/// Settings of the operator that tests choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Replicas of the operator.
    pub replicas: u8,
    /// How often the Prometheus of the cluster scrapes. Hubs know it as `main`.
    pub prometheus_scrape: Duration,
    /// Seconds until a silent leader is replaced. The other times of the election follow from it.
    pub lease_seconds: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replicas: 2, prometheus_scrape: Duration::from_secs(1), lease_seconds: 15 }
    }
}

/// The values file of the chart `mcphub-operator`, with the images and the Prometheus of a cluster.
pub fn values(cluster: &Cluster, settings: &Settings) -> Result<String> {
    let lease = settings.lease_seconds;
    Ok(serde_yaml_ng::to_string(&json!({
        "image": cluster.image(Image::Operator)?,
        "hubImage": cluster.image(Image::Hub)?,
        "replicas": settings.replicas,
        "prometheus": [{
            "name": "main",
            "url": cluster.prometheus_url()?,
            "scrapeInterval": format!("{}ms", settings.prometheus_scrape.as_millis()),
        }],
        "leaderElection": {
            "duration": lease,
            "renewDeadline": lease * 2 / 3,
            "retryPeriod": (lease / 7).max(1),
        },
    }))?)
}

/// The two commands that install the operator with a values file.
pub fn commands(values: &Path) -> [String; 2] {
    let charts = ["mcphub-crds charts/mcphub-crds", "mcphub charts/mcphub-operator"];
    let [crds, operator] = charts.map(|chart| {
        format!("helm upgrade --install {chart} --namespace {NAMESPACE} --create-namespace")
    });
    [crds, format!("{operator} --values {} --wait --timeout 5m", values.display())]
}

/// Installs both charts and waits until the operator is ready.
pub async fn operator(cluster: &Cluster, settings: &Settings) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), values(cluster, settings)?)?;
    for command in commands(file.path()) {
        if let Err(error) = cluster.helm(command.split(' ').skip(1)).await {
            return Err(error.context(cluster.diagnostics(NAMESPACE).await));
        }
    }
    Ok(())
}

/// Waits until all replicas of the operator are ready.
pub async fn wait_for_operator(cluster: &Cluster) -> Result<()> {
    let wait = ["-n", NAMESPACE, "rollout", "status", "deployment", "--timeout=300s"];
    cluster.kubectl(wait).await.map(drop)
}

/// Removes the operator and the release of the CRD. The CRD itself, and every McpHub with it,
/// stays.
pub async fn uninstall(cluster: &Cluster) -> Result<()> {
    for release in ["mcphub", "mcphub-crds"] {
        cluster.helm(["uninstall", release, "--namespace", NAMESPACE, "--wait"]).await?;
    }
    Ok(())
}

/// The `/mcp` endpoint of a hub, for this process.
pub async fn url(cluster: &Cluster, namespace: &str, hub: &str) -> Result<String> {
    let services: Api<Service> = Api::namespaced(cluster.client().await?, namespace);
    let service = services.get(hub).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    let address = address.with_context(|| format!("the Service {hub} has no address"))?;
    Ok(format!("http://{address}:{}/mcp", paths::PORT))
}

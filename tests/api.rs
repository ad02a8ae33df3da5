//! Tests against etcd and an API server without a node: the resource `McpHub`, and the operator
//! with the rights of its chart.

mod api_drift;
mod api_fault_proxy;
mod api_faults;
mod api_hollow;
mod api_invariants;
mod api_operator;
mod api_outage;
mod api_replica;
mod api_resource;
mod api_resource_tables;
mod api_revision;

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::{conditions, wait::await_condition};
use mcphub_tests::cluster::ControlPlane;
use mcphub_tests::wait::{PATIENCE, within};
use tokio::sync::OnceCell;

pub(crate) const CRD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/mcphubs.yaml");

/// One API server for all tests, with the CRD applied as users do. It ends with the process.
pub(crate) async fn plane() -> Result<&'static ControlPlane> {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_try_init(|| async {
            let plane = ControlPlane::start().await?;
            // Client-side apply is the harder case: it stores the whole object in an annotation of
            // limited size.
            plane.kubectl(["apply", "-f", CRD]).await?;
            established(&plane).await?;
            Ok(plane)
        })
        .await
}

/// Waits until the API server serves the resource.
pub(crate) async fn established(plane: &ControlPlane) -> Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(plane.client().await?);
    let established =
        await_condition(definitions, "mcphubs.mcphub.dev", conditions::is_crd_established());
    within(PATIENCE, "the CRD is established", established).await.map(drop)
}

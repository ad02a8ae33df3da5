//! What serves users while something else does not work: an admission webhook that is down, or a
//! Prometheus that does not answer.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use mcphub_crds::McpHub;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use mcphub_tests::wait::{PATIENCE, eventually, limit, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::api_hollow::{HollowNode, hollow_node};
use crate::api_operator::{apply_hub, settled};
use crate::api_replica::{Installation, Replica};
use crate::plane;

/// While it exists, the API server answers every write of such an object of the hubs with an error.
pub(crate) struct Outage {
    webhooks: Api<ValidatingWebhookConfiguration>,
    name: String,
}

impl Outage {
    /// `group` and `resource` are those of the API, such as `apps` and `deployments`.
    pub(crate) async fn begin(
        installed: &Installation,
        group: &str,
        resource: &str,
    ) -> Result<Self> {
        let name = format!("{}-{resource}", installed.hubs);
        let webhook = json!({
            "metadata": {"name": name},
            "webhooks": [{
                "name": "down.example.com",
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "rules": [{
                    "apiGroups": [group], "apiVersions": ["*"], "resources": [resource],
                    "operations": ["*"],
                }],
                "namespaceSelector": {"matchLabels": {
                    "kubernetes.io/metadata.name": installed.hubs,
                }},
                "failurePolicy": "Fail", "sideEffects": "None",
                "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            }],
        });
        let webhooks = Api::all(installed.client.clone());
        webhooks.create(&PostParams::default(), &serde_json::from_value(webhook)?).await?;
        Ok(Self { webhooks, name })
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.webhooks.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

// A policy engine that is down must not take every hub with it.
#[tokio::test]
async fn while_secrets_cannot_be_written_all_else_is_and_the_status_says_so() -> Result<()> {
    let installed = Installation::new(plane().await?, "no-secrets").await?;
    let outage = Outage::begin(&installed, "", "secrets").await?;
    // A webhook takes effect a moment after it was stored.
    let probe = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}});
    let refused = async || installed.apply(&probe).await.is_err();
    until("the outage has begun", PATIENCE, refused).await?;

    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    let complete = async || {
        installed.objects().await.is_ok_and(|objects| {
            objects.len() > 15 && objects.contains(&"Deployment/team-router".into())
        })
    };
    until("the other objects exist", PATIENCE, complete).await.with_context(|| replica.tail())?;
    let hubs = Api::<McpHub>::namespaced(installed.client.clone(), &installed.hubs);
    let reported = async || {
        let status = hubs.get("team").await.ok().and_then(|hub| hub.status);
        let mut conditions = status.into_iter().flat_map(|status| status.conditions);
        conditions.any(|condition| {
            condition.type_ == "Reconciling"
                && condition.message.starts_with("failed to write Secret \"team-keys\":")
        })
    };
    until("the status names the Secret", PATIENCE, reported).await?;

    outage.end().await?;
    settled(&installed, &replica).await?;
    let objects = installed.objects().await?;
    assert!(objects.contains(&"Secret/team-keys".to_owned()), "{objects:?}");
    Ok(())
}

/// A hub with pods.
struct Hub {
    installed: Installation,
    node: &'static HollowNode,
    replica: Replica,
}

impl Hub {
    /// The first revision serves. Every later one gets 10% and stays there.
    async fn serving(installed: Installation, rollout: &Value) -> Result<Self> {
        let (_, node) = hollow_node().await?;
        let replica = installed.start("operator-0").await?;
        let hub = Self { installed, node, replica };
        hub.deploy(1, rollout).await?;
        let serves = async || hub.weights().await.is_some_and(|(_, stable, _)| stable == 100);
        until("the first revision serves", PATIENCE, serves)
            .await
            .with_context(|| hub.replica.tail())?;
        Ok(hub)
    }

    async fn deploy(&self, version: u32, rollout: &Value) -> Result<()> {
        let url = format!("http://docs.example/v{version}/mcp");
        let hub = json!({
            "apiVersion": "mcphub.dev/v1alpha1", "kind": "McpHub", "metadata": {"name": "team"},
            "spec": {
                "servers": [{"name": "docs", "remote": {"url": url}}],
                "rollout": rollout,
            },
        });
        self.installed.apply(&hub).await
    }

    /// Deploys a version and waits until it has 10%.
    async fn canary(&self, version: u32, rollout: &Value) -> Result<Revision> {
        self.deploy(version, rollout).await?;
        let ten = async || {
            let (canary, _, weight) = self.weights().await?;
            canary.filter(|_| weight == 10)
        };
        let canary = eventually("the canary has 10%", PATIENCE, ten).await;
        canary.with_context(|| self.replica.tail())
    }

    /// The canary, the weight of stable, and the weight of the canary.
    async fn weights(&self) -> Option<(Option<Revision>, u8, u8)> {
        let runtime =
            Api::<ConfigMap>::namespaced(self.installed.client.clone(), &self.installed.hubs);
        let runtime = runtime.get_opt("team-runtime").await.ok()??;
        let text = runtime.data?.remove("dataplane.json")?;
        let Dataplane { revisions, .. } = serde_json::from_str(&text).ok()?;
        let of = |role| revisions.iter().find(move |(_, state)| state.role == role);
        let weight = |role| of(role).map_or(0, |(_, state)| state.weight.percent());
        let canary = of(Role::Canary).map(|(revision, _)| revision.clone());
        Some((canary, weight(Role::Stable), weight(Role::Canary)))
    }

    /// Waits until stable has all traffic again.
    async fn is_cut(&self, why: &str, contract: Duration) -> Result<()> {
        let cut = async || {
            self.weights().await.is_some_and(|(_, stable, canary)| (stable, canary) == (100, 0))
        };
        let cut = until(&format!("cut after {why}"), limit(contract), cut).await;
        cut.map(drop).with_context(|| self.replica.tail())
    }

    async fn ask(&self, intent: &str) -> Result<()> {
        let hubs = Api::<McpHub>::namespaced(self.installed.client.clone(), &self.installed.hubs);
        let patch = json!({"metadata": {"annotations": {"mcphub.dev/intent": intent}}});
        hubs.patch("team", &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

// A rollback must need nothing but the one object that says who gets traffic.
#[tokio::test]
async fn an_abort_is_obeyed_while_no_secret_and_no_deployment_can_be_written() -> Result<()> {
    let installed = Installation::new(hollow_node().await?.0, "no-writes").await?;
    let rollout = json!({"steps": [{"traffic": 10, "pause": true}, {"traffic": 100}]});
    let hub = Hub::serving(installed, &rollout).await?;
    let canary = hub.canary(2, &rollout).await?;
    Outage::begin(&hub.installed, "", "secrets").await?;
    Outage::begin(&hub.installed, "apps", "deployments").await?;
    let probe = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}});
    let refused = async || hub.installed.apply(&probe).await.is_err();
    until("the outage has begun", PATIENCE, refused).await?;

    hub.ask(&format!("abort/{canary}/1")).await?;
    hub.is_cut("an abort", Duration::from_secs(5)).await
}

// What people and pods say must not wait for what Prometheus says.
#[tokio::test]
async fn a_prometheus_that_hangs_delays_no_abort_no_return_and_no_crash() -> Result<()> {
    // It accepts connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let prometheus = json!([{
        "name": "main", "url": format!("http://{}", listener.local_addr()?), "scrapeInterval": "1s",
    }]);
    let values = format!("prometheus={prometheus}");
    let (plane, _) = hollow_node().await?;
    let installed = Installation::with_values(plane, "hangs", &["--set-json", &values]).await?;
    let rollout = json!({
        "prometheus": "main", "interval": "1s", "warmup": "1s",
        "steps": [{"traffic": 10, "bake": "30m"}, {"traffic": 100}],
        "rules": [{
            "name": "errors", "metric": "HubErrorRate", "promoteWhen": {"atMost": "0.01"},
            "rollbackWhen": {"above": "0.1", "for": "10s"},
        }],
    });
    let hub = Hub::serving(installed, &rollout).await?;
    let soon = Duration::from_secs(3);

    let canary = hub.canary(2, &rollout).await?;
    hub.ask(&format!("abort/{canary}/1")).await?;
    hub.is_cut("an abort", soon).await?;

    hub.canary(3, &rollout).await?;
    hub.deploy(1, &rollout).await?;
    hub.is_cut("a return to the old spec", soon).await?;

    let canary = hub.canary(4, &rollout).await?;
    hub.node.crash(&hub.installed.hubs, canary.as_str()).await?;
    hub.is_cut("a crash loop", soon).await
}

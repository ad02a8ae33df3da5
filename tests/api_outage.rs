//! An API server of which a part does not work: an admission webhook that is down.

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mcphub_crds::McpHub;
use mcphub_tests::wait::{PATIENCE, until};
use serde_json::json;

use crate::api_operator::{apply_hub, settled};
use crate::api_replica::Installation;
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

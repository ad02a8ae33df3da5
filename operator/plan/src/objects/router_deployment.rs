//! The Deployment of the router. Its template is pinned in the runtime ConfigMap (`router.json`)
//! and rendered again only when its inputs in the spec change, because an operator upgrade must not
//! restart it.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use mcphub_hub_wire::paths::{KEYS_DIR, RUNTIME_DIR};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pod;
use super::revision_deployment::surge_first;
use crate::api::labels::{self, Component};
use crate::api::{canonical, names};
use crate::snapshot::Operator;

/// How long a terminating router waits for its connections.
const DRAIN_SECONDS: u64 = 30;

/// The router's Deployment as it was rendered last. It is applied from here and rendered again only
/// when its inputs change. Otherwise an operator upgrade would restart all routers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouterPin {
    /// Hash of the [`Inputs`] that it was rendered from.
    pub(crate) inputs: String,
    /// The Deployment without replicas.
    pub(crate) deployment: Deployment,
}

/// The inputs of the router's template that come from the spec.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inputs {
    pub(crate) resources: Option<ResourceRequirements>,
    pub(crate) pull_secrets: Vec<String>,
}

impl Inputs {
    /// A change of this hash causes a new template.
    pub(crate) fn hash(&self) -> String {
        let Self { resources, pull_secrets } = self;
        canonical::hash8(&json!({"resources": resources, "pullSecrets": pull_secrets}))
    }
}

/// The Deployment without replicas, which are set when it is planned.
pub(crate) fn build(hub: &str, inputs: &Inputs, operator: &Operator) -> Deployment {
    let selector = labels::selector(hub, Component::Router);
    let all_labels = labels::labels(hub, Component::Router, &operator.version);
    let ([(runtime, runtime_mount), (keys, keys_mount)], tmp) =
        (pod::runtime_and_keys(names::runtime(hub), names::keys(hub)), pod::empty("tmp"));
    let mounts = vec![runtime_mount, keys_mount, pod::writable("tmp", "/tmp")];
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels.clone()),
            annotations: Some(pod::scraped()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(true),
            containers: vec![container(hub, inputs, operator, mounts)],
            enable_service_links: Some(false),
            image_pull_secrets: pod::pull_secrets(&inputs.pull_secrets),
            security_context: Some(pod::pod_security()),
            service_account_name: Some(names::router(hub)),
            termination_grace_period_seconds: Some(pod::grace(DRAIN_SECONDS)),
            topology_spread_constraints: Some(pod::spread(&selector)),
            volumes: Some(vec![runtime, keys, tmp]),
            ..PodSpec::default()
        }),
    };
    Deployment {
        metadata: labels::meta(names::router(hub), all_labels),
        spec: Some(DeploymentSpec {
            revision_history_limit: Some(1),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            strategy: Some(surge_first()),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn container(
    hub: &str,
    inputs: &Inputs,
    operator: &Operator,
    mounts: Vec<k8s_openapi::api::core::v1::VolumeMount>,
) -> Container {
    let [startup, readiness, liveness] = pod::probes();
    let args = ["route", "--hub", hub, "--runtime", RUNTIME_DIR, "--keys", KEYS_DIR];
    Container {
        name: "router".into(),
        image: Some(operator.hub_image.clone()),
        image_pull_policy: Some(
            operator.image_pull_policy.clone().unwrap_or_else(|| "IfNotPresent".into()),
        ),
        command: Some(vec![pod::BINARY.into()]),
        args: Some(args.into_iter().map(ToOwned::to_owned).collect()),
        env: Some(pod::identity()),
        ports: Some(pod::ports()),
        startup_probe: Some(startup),
        readiness_probe: Some(readiness),
        liveness_probe: Some(liveness),
        lifecycle: Some(pod::drain(DRAIN_SECONDS)),
        resources: inputs.resources.clone(),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

//! The Deployment of one revision: the hub pods.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::paths::{CONFIG_DIR, CONFIG_FILE, KEYS_DIR, RUNTIME_DIR, SECRETS_DIR};

use super::pod;
use crate::api::labels::{self, Component};
use crate::api::names;
use crate::spec::compile;
use crate::spec::valid::ValidRevision;

/// Labels that select the pods of one revision.
pub(crate) fn selector(hub: &str, revision: &Revision) -> BTreeMap<String, String> {
    let mut selector = labels::selector(hub, Component::Hub);
    selector.insert(labels::REVISION.into(), revision.to_string());
    selector
}

/// Labels of all objects of a revision.
pub(crate) fn labels_of(hub: &str, revision: &Revision, version: &str) -> BTreeMap<String, String> {
    let mut all = labels::labels(hub, Component::Hub, version);
    all.insert(labels::REVISION.into(), revision.to_string());
    all
}

/// The Deployment without replicas, which are set when it is planned.
pub(crate) fn build(
    hub: &str,
    revision: &Revision,
    valid: &ValidRevision,
    version: &str,
) -> Deployment {
    let selector = selector(hub, revision);
    let template = template(hub, revision, valid, version, &selector);
    Deployment {
        metadata: labels::meta(names::revision(hub, revision), labels_of(hub, revision, version)),
        spec: Some(DeploymentSpec {
            // The template of a revision never changes, so a history of ReplicaSets is useless.
            revision_history_limit: Some(1),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            strategy: Some(surge_first()),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// A new pod becomes Ready before an old one is removed.
pub(crate) fn surge_first() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

fn template(
    hub: &str,
    revision: &Revision,
    valid: &ValidRevision,
    version: &str,
    selector: &BTreeMap<String, String>,
) -> PodTemplateSpec {
    let pods = valid.pods.clone();
    let mut all_labels = pods.labels;
    all_labels.extend(labels_of(hub, revision, version));
    let mut annotations = pods.annotations;
    annotations.extend(pod::scraped());
    let (volumes, mounts) = volumes(hub, revision, valid);
    let drain = valid.drain.as_secs();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: pods.affinity,
            automount_service_account_token: Some(true),
            containers: vec![container(hub, revision, valid, mounts)],
            enable_service_links: Some(false),
            image_pull_secrets: pod::pull_secrets(&valid.pull_secrets),
            node_selector: Some(pods.node_selector).filter(|selector| !selector.is_empty()),
            priority_class_name: pods.priority_class,
            security_context: Some(pod::pod_security()),
            service_account_name: Some(pods.service_account.unwrap_or_else(|| names::hub(hub))),
            termination_grace_period_seconds: Some(pod::grace(drain)),
            tolerations: Some(pods.tolerations).filter(|tolerations| !tolerations.is_empty()),
            topology_spread_constraints: Some(if pods.spread.is_empty() {
                pod::spread(selector)
            } else {
                pods.spread
            }),
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
    }
}

fn container(
    hub: &str,
    revision: &Revision,
    valid: &ValidRevision,
    mounts: Vec<k8s_openapi::api::core::v1::VolumeMount>,
) -> Container {
    let [startup, readiness, liveness] = pod::probes();
    let config = format!("{CONFIG_DIR}/{CONFIG_FILE}");
    let args = [
        "serve",
        "--config",
        &config,
        "--runtime",
        RUNTIME_DIR,
        "--keys",
        KEYS_DIR,
        "--hub",
        hub,
        "--revision",
    ];
    Container {
        name: "hub".into(),
        image: Some(valid.image.clone()),
        image_pull_policy: Some(valid.pull_policy.clone()),
        command: Some(vec![pod::BINARY.into()]),
        args: Some(args.into_iter().chain([revision.as_str()]).map(ToOwned::to_owned).collect()),
        env: Some(pod::identity()),
        ports: Some(pod::ports()),
        startup_probe: Some(startup),
        readiness_probe: Some(readiness),
        liveness_probe: Some(liveness),
        lifecycle: Some(pod::drain(valid.drain.as_secs())),
        resources: valid.resources.clone(),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn volumes(
    hub: &str,
    revision: &Revision,
    valid: &ValidRevision,
) -> (Vec<k8s_openapi::api::core::v1::Volume>, Vec<k8s_openapi::api::core::v1::VolumeMount>) {
    let mut all = vec![(
        pod::config_map("config", names::revision(hub, revision)),
        pod::read_only("config", CONFIG_DIR),
    )];
    all.extend(pod::runtime_and_keys(names::runtime(hub), names::keys(hub)));
    all.push((pod::empty("tmp"), pod::writable("tmp", "/tmp")));
    let secrets = compile::secrets(valid);
    if !secrets.is_empty() {
        let files = pod::secret_files(
            "secrets",
            secrets.iter().map(|(name, keys)| (name, keys.iter().collect())),
        );
        all.push((files, pod::read_only("secrets", SECRETS_DIR)));
    }
    all.into_iter().unzip()
}

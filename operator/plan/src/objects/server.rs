//! The objects of one container server. Revisions that render a server alike share them. A changed
//! server runs beside the old one until no live revision refers to the old one.

mod config_map;
mod deployment;
mod service;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use mcphub_crds::container::Strategy;
use mcphub_hub_wire::paths::BRIDGE_PORT;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::labels::{self, Component};
use crate::api::{canonical, names};
use crate::spec::valid::{Speaks, ValidContainer};

/// The inputs of a server's objects that are not its own fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Label: name of the McpHub.
    pub(crate) hub: &'a str,
    /// Release of the operator.
    pub(crate) version: &'a str,
    /// Image from which the bridge is copied.
    pub(crate) bridge_image: &'a str,
    /// Pull policy of the bridge image.
    pub(crate) bridge_pull_policy: &'a str,
    /// Pull policy of the server's image.
    pub(crate) pull_policy: &'a str,
    pub(crate) pull_secrets: &'a [String],
    /// ConfigMaps that servers refer to.
    pub(crate) config_maps: &'a BTreeMap<String, Option<ConfigMap>>,
}

/// The objects of one container server, as a revision records them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerObjects {
    /// Name of the server in the spec.
    pub(crate) server: String,
    /// The Deployment without replicas.
    pub(crate) deployment: Deployment,
    pub(crate) service: Service,
    /// Immutable copies of the ConfigMaps that the server refers to.
    #[serde(default)]
    pub(crate) config_maps: Vec<ConfigMap>,
}

impl ServerObjects {
    /// Name of the Deployment and the Service.
    pub(crate) fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    /// Two pods of the server cannot run at the same time.
    pub(crate) fn is_recreated(&self) -> bool {
        let strategy = self.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    }
}

/// Labels that select the pods of one rendering of a server.
pub(crate) fn selector(hub: &str, server: &str, hash: &str) -> BTreeMap<String, String> {
    let mut selector = labels::selector(hub, Component::Server);
    selector.insert(labels::SERVER.into(), server.into());
    selector.insert(labels::REVISION.into(), hash.into());
    selector
}

/// Labels of all objects of one rendering of a server.
pub(crate) fn labels_of(
    hub: &str,
    server: &str,
    hash: &str,
    version: &str,
) -> BTreeMap<String, String> {
    let mut all = labels::labels(hub, Component::Server, version);
    all.extend(selector(hub, server, hash));
    all
}

pub(crate) fn build(container: &ValidContainer, around: Surroundings<'_>) -> ServerObjects {
    let (container, config_maps) = config_map::own_copies(container, around);
    let template = deployment::template(&container, around);
    let hash = hash(&container, &json!(template));
    let labels = labels_of(around.hub, &container.name, &hash, around.version);
    let metadata = labels::meta(names::server(around.hub, &container.name, &hash), labels);
    let selector = selector(around.hub, &container.name, &hash);
    ServerObjects {
        server: container.name.clone(),
        deployment: deployment::build(
            metadata.clone(),
            selector.clone(),
            template,
            container.strategy,
        ),
        service: service::build(metadata, selector, &container.speaks),
        config_maps,
    }
}

/// A `Recreate` server has a volume that two pods cannot use at the same time. All its renderings
/// have the same name, so that a change replaces the pod in place.
fn hash(container: &ValidContainer, template: &serde_json::Value) -> String {
    match container.strategy {
        Strategy::RollingUpdate => {
            canonical::hash8(&json!({"template": template, "speaks": port(&container.speaks)}))
        }
        Strategy::Recreate => canonical::hash8(&json!({"recreate": container.name})),
    }
}

/// The port that the server listens on in its pod.
pub(crate) fn port(speaks: &Speaks) -> u16 {
    match speaks {
        Speaks::Stdio { .. } => BRIDGE_PORT,
        Speaks::Http { port, .. } => *port,
    }
}

/// The URL at which hub pods reach a server.
pub(crate) fn endpoint(name: &str, namespace: &str, speaks: &Speaks) -> String {
    let path = match speaks {
        Speaks::Stdio { .. } => "/mcp",
        Speaks::Http { path, .. } => path,
    };
    format!("http://{name}.{namespace}.svc:{BRIDGE_PORT}{path}")
}

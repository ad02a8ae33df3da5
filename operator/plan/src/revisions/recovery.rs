//! Copies a record back from the objects that were applied from it. It is needed when somebody
//! deleted the ControllerRevision.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::paths::CONFIG_FILE;
use serde_json::Value;

use super::revision_record::{RevisionRecord, SCHEMA};
use crate::api::labels;
use crate::objects::server::ServerObjects;
use crate::objects::{disruption_budget, revision_deployment, revision_service};
use crate::snapshot::HubObjects;

/// The record of a lost ControllerRevision, from the objects that were applied from it.
pub(super) fn copied_back(
    revision: &Revision,
    deployment: &Deployment,
    objects: &HubObjects,
) -> Option<RevisionRecord> {
    let name = deployment.metadata.name.as_ref()?;
    let hub = deployment.metadata.labels.as_ref()?.get(labels::HUB)?;
    let version = deployment.metadata.labels.as_ref()?.get("app.kubernetes.io/version")?.clone();
    let config = objects.config_maps.get(name)?;
    let compiled: HubConfig = serde_json::from_str(config.data.as_ref()?.get(CONFIG_FILE)?).ok()?;
    let servers = compiled.servers.iter().filter_map(|server| {
        let host = server.url.strip_prefix("http://")?.split('.').next()?;
        server_copied_back(&server.name, host, objects)
    });
    let labels = revision_deployment::labels_of(hub, revision, &version);
    let budget = disruption_budget::build(
        labels::meta(name.clone(), labels),
        revision_deployment::selector(hub, revision),
    );
    let containers = &deployment.spec.as_ref()?.template.spec.as_ref()?.containers;
    Some(RevisionRecord {
        schema: SCHEMA,
        fields: Value::Null,
        config_maps: BTreeMap::new(),
        render: 0,
        image: containers.iter().find(|container| container.name == "hub")?.image.clone()?,
        deployment: bare_deployment(deployment),
        service: revision_service::build(hub, revision, &version),
        disruption_budget: budget,
        config: bare_config_map(config),
        servers: servers.collect(),
        version,
    })
}

fn server_copied_back(server: &str, name: &str, objects: &HubObjects) -> Option<ServerObjects> {
    let deployment = objects.deployments.get(name)?;
    let spec = objects.services.get(name)?.spec.as_ref()?;
    let service = Service {
        metadata: bare_meta(&objects.services.get(name)?.metadata),
        spec: Some(k8s_openapi::api::core::v1::ServiceSpec {
            ports: spec.ports.clone(),
            selector: spec.selector.clone(),
            type_: spec.type_.clone(),
            ..Default::default()
        }),
        status: None,
    };
    let text = serde_json::to_string(&deployment.spec).unwrap_or_default();
    let referred =
        objects.config_maps.iter().filter(|(copy, _)| text.contains(&format!("\"{copy}\"")));
    let copies = referred
        .filter(|(_, map)| map.immutable == Some(true))
        .map(|(_, map)| bare_config_map(map));
    Some(ServerObjects {
        server: server.to_owned(),
        deployment: bare_deployment(deployment),
        service,
        config_maps: copies.collect(),
    })
}

/// Metadata without what the API server and other writers added.
pub(crate) fn bare_meta(meta: &ObjectMeta) -> ObjectMeta {
    let ours =
        |key: &String| key.starts_with(labels::DOMAIN) || key.starts_with("app.kubernetes.io/");
    let labels = meta.labels.iter().flatten().filter(|(key, _)| ours(key));
    labels::meta(
        meta.name.clone().unwrap_or_default(),
        labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
    )
}

pub(crate) fn bare_deployment(live: &Deployment) -> Deployment {
    let mut spec = live.spec.clone();
    if let Some(spec) = &mut spec {
        spec.replicas = None;
    }
    Deployment { metadata: bare_meta(&live.metadata), spec, status: None }
}

fn bare_config_map(live: &ConfigMap) -> ConfigMap {
    ConfigMap {
        metadata: bare_meta(&live.metadata),
        immutable: live.immutable,
        data: live.data.clone(),
        binary_data: live.binary_data.clone(),
    }
}

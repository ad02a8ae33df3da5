//! What a ControllerRevision records: everything that was resolved when the revision was created. A
//! live revision is always applied from its record and never rendered again. Otherwise an operator
//! upgrade that renders differently would restart every hub at once.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::paths::CONFIG_FILE;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{ObjectName, labels, names};
use crate::objects::server::{self, ServerObjects, Surroundings};
use crate::objects::{
    disruption_budget, revision_config_map, revision_deployment, revision_service,
};
use crate::snapshot::Operator;
use crate::spec::compile;
use crate::spec::valid::{Upstream, ValidContainer, ValidRevision, ValidServer};

/// Version of the layout of [`RevisionRecord`]. Older versions are read too; only this one is
/// written.
pub(crate) const SCHEMA: u32 = 1;

/// The data of a ControllerRevision, escaped by [`super::json_escape`]. The objects are complete
/// except for namespace, owner and replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevisionRecord {
    /// See [`SCHEMA`].
    pub(crate) schema: u32,
    /// Release of the operator that rendered it.
    pub(crate) version: String,
    /// The fields that the hash covers, as the user wrote them; `null` in a record that was copied
    /// back from its Deployment.
    #[serde(default)]
    pub(crate) fields: Value,
    /// Short hashes of the ConfigMaps that the fields refer to. Their content is recorded with the
    /// servers.
    #[serde(default)]
    pub(crate) config_maps: BTreeMap<String, String>,
    /// The render serial: how often an unchanged spec was rendered again before this.
    #[serde(default)]
    pub(crate) render: u32,
    /// The resolved image of the hub.
    pub(crate) image: String,
    pub(crate) deployment: Deployment,
    pub(crate) service: Service,
    pub(crate) disruption_budget: PodDisruptionBudget,
    pub(crate) config: ConfigMap,
    /// The container servers that the config refers to.
    #[serde(default)]
    pub(crate) servers: Vec<ServerObjects>,
}

impl RevisionRecord {
    /// The compiled config; `None` if it cannot be parsed.
    pub(crate) fn hub_config(&self) -> Option<HubConfig> {
        serde_json::from_str(self.config_text()).ok()
    }

    /// The compiled config as text.
    pub(crate) fn config_text(&self) -> &str {
        self.config
            .data
            .as_ref()
            .and_then(|data| data.get(CONFIG_FILE))
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// Names of the objects that are applied from the record, and of the ControllerRevision itself.
    pub(crate) fn object_names(&self, hub: &str, revision: &Revision) -> Vec<ObjectName> {
        let name = |kind, meta: &ObjectMeta| ObjectName {
            kind,
            name: meta.name.clone().unwrap_or_default(),
        };
        let mut names = vec![
            ObjectName { kind: "ControllerRevision", name: names::revision(hub, revision) },
            name("ConfigMap", &self.config.metadata),
            name("Service", &self.service.metadata),
            name("PodDisruptionBudget", &self.disruption_budget.metadata),
            name("Deployment", &self.deployment.metadata),
        ];
        for server in &self.servers {
            names.extend(server.config_maps.iter().map(|map| name("ConfigMap", &map.metadata)));
            names.push(name("Service", &server.service.metadata));
            names.push(name("Deployment", &server.deployment.metadata));
        }
        names
    }

    /// Feature flags as its spec had them, with defaults filled in.
    pub(crate) fn flags(&self) -> BTreeMap<String, bool> {
        self.hub_config().map(|config| config.flags).unwrap_or_default()
    }
}

pub(crate) fn render(
    hub: &str,
    namespace: &str,
    revision: &Revision,
    valid: &ValidRevision,
    operator: &Operator,
) -> RevisionRecord {
    let bridge_pull_policy = operator.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
    let pull_policy = valid.spec.image_pull_policy.map_or("IfNotPresent", |policy| policy.as_str());
    let around = Surroundings {
        hub,
        version: &operator.version,
        bridge_image: &operator.hub_image,
        bridge_pull_policy,
        pull_policy,
        pull_secrets: &valid.pull_secrets,
        config_maps: &valid.config_maps,
    };
    let containers = valid.servers.iter().filter_map(|server| match &server.upstream {
        Upstream::Container(container) => Some((server, server::build(container, around))),
        Upstream::Remote(_) => None,
    });
    let containers: Vec<(&ValidServer, ServerObjects)> = containers.collect();
    let endpoint = |container: &ValidContainer| {
        let objects = containers.iter().find(|(_, objects)| objects.server == container.name);
        let name = objects.map(|(_, objects)| objects.name()).unwrap_or_default();
        server::endpoint(name, namespace, &container.speaks)
    };
    let config = compile::compile(valid, (hub, namespace), endpoint);
    let enabled = containers.into_iter().filter(|(server, _)| server.server.disabled != Some(true));
    let version = &operator.version;
    let labels = revision_deployment::labels_of(hub, revision, version);
    let selector = revision_deployment::selector(hub, revision);
    RevisionRecord {
        schema: SCHEMA,
        version: version.clone(),
        fields: valid.content.fields.clone(),
        config_maps: valid.content.digests(),
        render: 0,
        image: valid.image.clone(),
        deployment: revision_deployment::build(hub, revision, valid, version),
        service: revision_service::build(hub, revision, version),
        disruption_budget: disruption_budget::build(
            labels::meta(names::revision(hub, revision), labels),
            selector,
        ),
        config: revision_config_map::build(hub, revision, &config, version),
        servers: enabled.map(|(_, objects)| objects).collect(),
    }
}

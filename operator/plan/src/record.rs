//! What a ControllerRevision holds: everything that was resolved when the revision was made. A live revision is
//! always applied from it, never rendered anew: an operator upgrade that renders differently would otherwise restart
//! every hub at once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::paths::CONFIG_FILE;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::accept::{Upstream, ValidContainer, ValidRevision};
use crate::children::server::{self, ServerObjects, Surroundings};
use crate::children::{config_map, disruption_budget, revision_deployment, revision_service};
use crate::compile;
use crate::inert;
use crate::labels;
use crate::names;
use crate::rollout::Record;
use crate::snapshot::{Children, ObjectName, Operator};

/// Version of [`RevisionRecord`]'s layout. Read: this and all before; written: this.
pub const SCHEMA: u32 = 1;
/// Annotation that holds a [`Record`]: attempt, result, reason, time.
pub const ATTEMPT: &str = "mcphub.dev/attempt";

/// The data of a ControllerRevision, spelled as `inert` does. Objects are whole, but for namespace, owner and replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Operator's release that rendered it.
    pub version: String,
    /// The fields that the hash is taken over, as the user wrote them; `null` in one that was copied back from its
    /// Deployment.
    #[serde(default)]
    pub fields: Value,
    /// Short hashes of what the ConfigMaps said that the fields refer to; their contents are with the servers.
    #[serde(default)]
    pub config_maps: BTreeMap<String, String>,
    /// How often an unchanged spec was rendered anew before this.
    #[serde(default)]
    pub render: u32,
    /// Image of the hub, resolved.
    pub image: String,
    /// The hub pods.
    pub deployment: Deployment,
    /// Their Service.
    pub service: Service,
    /// Their disruption budget.
    pub disruption_budget: PodDisruptionBudget,
    /// Their compiled config.
    pub config: ConfigMap,
    /// The container servers that the config refers to.
    #[serde(default)]
    pub servers: Vec<ServerObjects>,
}

impl RevisionRecord {
    /// The compiled config, where it can be read.
    pub fn hub_config(&self) -> Option<HubConfig> {
        serde_json::from_str(self.config_text()).ok()
    }

    /// The same as text.
    pub fn config_text(&self) -> &str {
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

    /// Feature flags as its spec had them, defaults filled in.
    pub fn flags(&self) -> BTreeMap<String, bool> {
        self.hub_config().map(|config| config.flags).unwrap_or_default()
    }
}

/// Renders a revision.
pub fn render(
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
    let endpoint = |container: &ValidContainer| {
        let objects = server::build(container, around);
        server::endpoint(objects.name(), namespace, &container.speaks)
    };
    let config = compile::compile(valid, endpoint);
    let enabled = valid.servers.iter().filter(|server| server.server.disabled != Some(true));
    let containers = enabled.filter_map(|server| match &server.upstream {
        Upstream::Container(container) => Some(container),
        Upstream::Remote(_) => None,
    });
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
        config: config_map::build(hub, revision, &config, version),
        servers: containers.map(|container| server::build(container, around)).collect(),
    }
}

/// A revision that has a ControllerRevision, or is about to get one.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRevision {
    /// Its data, exactly as it is (the API server refuses every change of it).
    pub data: Value,
    /// Its data, understood; `None` where a newer operator wrote it: nothing of such a revision is touched.
    pub record: Option<RevisionRecord>,
    /// Its place in the order of revisions.
    pub number: i64,
    /// Its last attempt.
    pub attempt: Option<Record>,
    /// When it was made; `None`: it is not yet.
    pub created: Option<Timestamp>,
}

impl StoredRevision {
    /// One that is not made yet.
    pub fn new(record: RevisionRecord, number: i64) -> Self {
        // Fails only for maps whose keys are not text; there are none.
        let data = inert::spelled(serde_json::to_value(&record).unwrap_or_default());
        Self { data, record: Some(record), number, attempt: None, created: None }
    }

    /// One that is there.
    pub fn read(object: &ControllerRevision) -> Self {
        let data = object.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
        let record = serde_json::from_value::<RevisionRecord>(inert::read(data.clone())).ok();
        let attempt = object.metadata.annotations.as_ref().and_then(|all| all.get(ATTEMPT));
        Self {
            data,
            record: record.filter(|record| record.schema <= SCHEMA),
            number: object.revision,
            attempt: attempt.and_then(|text| serde_json::from_str(text).ok()),
            created: Some(
                object
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            ),
        }
    }

    /// The ControllerRevision, with this attempt written on it.
    pub fn object(
        &self,
        hub: &str,
        revision: &Revision,
        attempt: Option<&Record>,
    ) -> ControllerRevision {
        let version = self.record.as_ref().map(|record| record.version.clone()).unwrap_or_default();
        let labels = revision_deployment::labels_of(hub, revision, &version);
        let mut metadata = labels::meta(names::revision(hub, revision), labels);
        // Fails only for maps whose keys are not text; there are none.
        let text = attempt.and_then(|attempt| serde_json::to_string(attempt).ok());
        metadata.annotations = text.map(|text| BTreeMap::from([(ATTEMPT.into(), text)]));
        ControllerRevision {
            metadata,
            data: Some(RawExtension(self.data.clone())),
            revision: self.number,
        }
    }
}

/// All revisions that are there: those with a ControllerRevision, and those whose ControllerRevision was deleted by
/// hand while their Deployment and config still are there.
pub fn stored_revisions(hub: &str, children: &Children) -> BTreeMap<Revision, StoredRevision> {
    let named =
        |object: &ControllerRevision| names::revision_of(hub, object.metadata.name.as_deref()?);
    let there = children.controller_revisions.values();
    let mut all: BTreeMap<_, _> =
        there.filter_map(|object| Some((named(object)?, StoredRevision::read(object)))).collect();
    let last = all.values().map(|stored| stored.number).max().unwrap_or_default();
    for (name, deployment) in &children.deployments {
        let Some(revision) =
            names::revision_of(hub, name).filter(|revision| !all.contains_key(revision))
        else {
            continue;
        };
        if let Some(record) = copied_back(&revision, deployment, children) {
            all.insert(revision, StoredRevision::new(record, last + 1));
        }
    }
    all
}

/// What a lost ControllerRevision said, from the objects that were applied from it.
fn copied_back(
    revision: &Revision,
    deployment: &Deployment,
    children: &Children,
) -> Option<RevisionRecord> {
    let name = deployment.metadata.name.as_ref()?;
    let hub = deployment.metadata.labels.as_ref()?.get(labels::HUB)?;
    let version = deployment.metadata.labels.as_ref()?.get("app.kubernetes.io/version")?.clone();
    let config = children.config_maps.get(name)?;
    let compiled: HubConfig = serde_json::from_str(config.data.as_ref()?.get(CONFIG_FILE)?).ok()?;
    let servers = compiled.servers.iter().filter_map(|server| {
        let host = server.url.strip_prefix("http://")?.split('.').next()?;
        server_copied_back(&server.name, host, children)
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

fn server_copied_back(server: &str, name: &str, children: &Children) -> Option<ServerObjects> {
    let deployment = children.deployments.get(name)?;
    let spec = children.services.get(name)?.spec.as_ref()?;
    let service = Service {
        metadata: bare_meta(&children.services.get(name)?.metadata),
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
        children.config_maps.iter().filter(|(copy, _)| text.contains(&format!("\"{copy}\"")));
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

/// Without what the API server and other writers put on it.
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

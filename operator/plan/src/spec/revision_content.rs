//! The hash of a revision. It covers the fields as the user wrote them. What the operator fills in
//! (defaults, images, templates) is recorded with the revision but not hashed, so that an operator
//! upgrade creates no new revisions.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_crds::McpHubSpec;
use mcphub_hub_wire::dataplane::Revision;
use serde_json::{Map, Value, json};

use crate::api::canonical;

/// Version of the serialization that is hashed. A change restarts every hub in the world.
const SCHEMA: u32 = 1;

/// Everything that a revision's hash covers except the render serial.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionContent {
    /// The fields of the spec that belong to a revision, as the user wrote them.
    pub fields: Value,
    /// Contents of the ConfigMaps that the fields refer to, by name; `null` for an optional one
    /// that does not exist.
    pub config_maps: Value,
}

impl RevisionContent {
    /// The content for a spec and the ConfigMaps that it refers to.
    pub fn new(spec: &McpHubSpec, config_maps: &BTreeMap<String, Option<ConfigMap>>) -> Self {
        let referenced = referenced_config_maps(spec);
        let contents = referenced.into_iter().map(|name| {
            let map = config_maps.get(&name).and_then(Option::as_ref);
            let value = map.map_or(Value::Null, contents);
            (name, value)
        });
        Self { fields: fields(spec), config_maps: Value::Object(contents.collect()) }
    }

    /// Short hash of each ConfigMap's content. The content itself is recorded once, in the copies
    /// that the servers read.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let maps = self.config_maps.as_object().into_iter().flatten();
        maps.map(|(name, contents)| (name.clone(), canonical::hash8(contents))).collect()
    }

    /// The name of the revision. `render` says how often an unchanged spec was rendered again
    /// (`upgradePolicy: Rollout`).
    #[allow(clippy::missing_panics_doc, clippy::expect_used)]
    pub fn revision(&self, render: u32) -> Revision {
        let Self { fields, config_maps } = self;
        let all =
            json!({"schema": SCHEMA, "spec": fields, "configMaps": config_maps, "render": render});
        canonical::hash8(&all).parse().expect("eight hex digits are a revision")
    }
}

/// The content of a ConfigMap without its metadata.
pub fn contents(map: &ConfigMap) -> Value {
    let binary: BTreeMap<_, _> =
        map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), json!(bytes))).collect();
    json!({"data": map.data.clone().unwrap_or_default(), "binaryData": binary})
}

/// The spec without the fields that are applied at once. All other fields belong to the revision.
/// So a field that somebody forgets here causes one rollout too many, not an unwatched change.
pub fn fields(spec: &McpHubSpec) -> Value {
    let mut spec = as_value(spec);
    if let Value::Object(spec) = &mut spec {
        for live in
            ["replicas", "autoscaling", "upgradePolicy", "router", "networkPolicy", "monitoring"]
        {
            spec.remove(live);
        }
        keep_only(spec, "expose", "externalUrl");
        keep_only(spec, "rollout", "drainTimeout");
        for server in spec.get_mut("servers").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = server.get_mut("container").and_then(Value::as_object_mut) {
                container.remove("replicas");
            }
        }
        drop_empty_sections(spec);
    }
    spec
}

/// An empty section such as `filtering: {}` means the same as no section. This holds only for
/// sections that are typed throughout: in a pod-shaped field an empty object can mean everything
/// (`namespaceSelector`) or something (`emptyDir`).
fn drop_empty_sections(spec: &mut Map<String, Value>) {
    let says_nothing = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    if let Some(filtering) = spec.get_mut("filtering").and_then(Value::as_object_mut) {
        filtering.retain(|_, part| !says_nothing(part));
    }
    for server in spec.get_mut("servers").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(server) = server.as_object_mut() {
            server.retain(|_, part| !says_nothing(part));
        }
    }
    spec.retain(|_, section| !says_nothing(section));
}

/// The other part of the spec: the fields that are applied at once.
pub fn live_fields(spec: &McpHubSpec) -> Value {
    let all = as_value(spec);
    let take = |key: &str| all.get(key).cloned().unwrap_or_default();
    json!({"router": take("router"), "expose": take("expose"), "rollout": take("rollout")})
}

fn as_value(spec: &McpHubSpec) -> Value {
    // This fails only for maps whose keys are not strings, and the spec has none.
    serde_json::to_value(spec).unwrap_or_default()
}

/// Keeps only `child` of `parent`, and nothing if there is no `child`.
fn keep_only(spec: &mut Map<String, Value>, parent: &str, object: &str) {
    let kept = spec.remove(parent).and_then(|mut value| value.get_mut(object).map(Value::take));
    if let Some(kept) = kept {
        spec.insert(parent.into(), json!({ object: kept }));
    }
}

/// Names of the ConfigMaps that container servers refer to. Their content is part of the revision.
pub fn referenced_config_maps(spec: &McpHubSpec) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut note = |value: Option<&Value>| {
        names.extend(
            value.and_then(Value::as_str).filter(|name| !name.is_empty()).map(ToOwned::to_owned),
        );
    };
    for container in spec.servers.iter().filter_map(|server| server.container.as_ref()) {
        for env in &container.env {
            note(env.as_value().pointer("/valueFrom/configMapKeyRef/name"));
        }
        for source in &container.env_from {
            note(source.as_value().pointer("/configMapRef/name"));
        }
        for volume in &container.volumes {
            note(volume.as_value().pointer("/configMap/name"));
            let sources = volume.as_value().pointer("/projected/sources").and_then(Value::as_array);
            for source in sources.into_iter().flatten() {
                note(source.pointer("/configMap/name"));
            }
        }
    }
    names
}

//! The runtime ConfigMap. It has what changes while pods run, and the state of the rollout engine.
//! It is the only place for role, weight and step. Every write carries the resourceVersion that was
//! read, so that two leaders cannot both write.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::keys::MasterKey;
use mcphub_hub_wire::paths::{DATAPLANE_FILE, ENGINE_FILE};
use serde::Serialize;
use serde_json::{Map, Value};

use super::router_deployment::RouterPin;
use crate::api::labels::{self, Component, Owner};
use crate::api::{ObjectName, canonical, names};
use crate::rollout::state::EngineState;
use crate::snapshot::Operator;

/// Key of the router's pinned template.
pub(crate) const ROUTER_FILE: &str = "router.json";
/// Key of the fields of the last accepted spec that are outside of its revision.
pub(crate) const ACCEPTED_FILE: &str = "accepted.json";

/// Key of the signatures of the files that decide about traffic, by file. Whoever may edit
/// ConfigMaps in the namespace can write all of these files, but cannot sign them.
const SIGNATURES_FILE: &str = "signatures.json";

/// The runtime ConfigMap of a hub.
pub(crate) fn object_name(hub: &str) -> ObjectName {
    ObjectName { kind: "ConfigMap", name: names::runtime(hub) }
}

/// Whether this operator wrote the file as it is.
pub(crate) fn is_signed(map: &ConfigMap, file: &str, owner: Owner<'_>, key: &MasterKey) -> bool {
    let Some(text) = map.data.as_ref().and_then(|data| data.get(file)) else { return false };
    signatures(map).get(file).is_some_and(|found| *found == signature(file, text, owner, key))
}

fn signatures(map: &ConfigMap) -> BTreeMap<String, String> {
    let text = map.data.as_ref().and_then(|data| data.get(SIGNATURES_FILE));
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn signature(file: &str, text: &str, owner: Owner<'_>, key: &MasterKey) -> String {
    // The uid is left out: a hub that is restored from a backup has another one.
    key.signature(&format!("{}/{}/{file}", owner.namespace, owner.hub), text)
}

/// The ConfigMap with this leader's term. Nothing else in it changes, except that an `engine.json`
/// that the operator did not write is dropped. What is left of it is no state, so the state is
/// rebuilt.
pub(crate) fn with_term(
    live: Option<&ConfigMap>,
    owner: Owner<'_>,
    operator: &Operator,
) -> ConfigMap {
    let key = &operator.master_key;
    let mut data = live.and_then(|map| map.data.clone()).unwrap_or_default();
    let signed = live.is_some_and(|map| is_signed(map, ENGINE_FILE, owner, key));
    let engine = data.get(ENGINE_FILE).filter(|_| signed);
    let engine = engine.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut engine = engine.filter(Value::is_object).unwrap_or_else(|| Value::Object(Map::new()));
    engine["term"] = operator.term.into();
    let engine = canonical::text(&engine);
    let mut signatures = live.map(signatures).unwrap_or_default();
    signatures.insert(ENGINE_FILE.into(), signature(ENGINE_FILE, &engine, owner, key));
    data.insert(ENGINE_FILE.into(), engine);
    data.insert(SIGNATURES_FILE.into(), text(&signatures));
    config_map(live, owner.hub, data, &operator.version)
}

/// The data of the ConfigMap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents<'a> {
    /// State of the rollout engine.
    pub(crate) engine: &'a EngineState,
    /// Role, weight and flags for pods.
    pub(crate) dataplane: &'a Dataplane,
    /// The router's template.
    pub(crate) router: &'a RouterPin,
    /// `router`, `expose` and `rollout` of the last accepted spec.
    pub(crate) accepted: Option<&'a Value>,
}

/// The ConfigMap. `live` is the one that was read; its resourceVersion is the precondition of the
/// write.
pub(crate) fn build(
    live: Option<&ConfigMap>,
    owner: Owner<'_>,
    contents: Contents<'_>,
    operator: &Operator,
) -> ConfigMap {
    let Contents { engine, dataplane, router, accepted } = contents;
    let mut data = BTreeMap::from([
        (DATAPLANE_FILE.to_owned(), text(dataplane)),
        (ENGINE_FILE.to_owned(), text(engine)),
        (ROUTER_FILE.to_owned(), text(router)),
    ]);
    let signed = [DATAPLANE_FILE, ENGINE_FILE].map(|file| {
        let text = data.get(file).map_or("", String::as_str);
        (file, signature(file, text, owner, &operator.master_key))
    });
    data.insert(SIGNATURES_FILE.into(), text(&BTreeMap::from(signed)));
    data.extend(accepted.map(|accepted| (ACCEPTED_FILE.to_owned(), canonical::text(accepted))));
    config_map(live, owner.hub, data, &operator.version)
}

fn config_map(
    live: Option<&ConfigMap>,
    hub: &str,
    data: BTreeMap<String, String>,
    version: &str,
) -> ConfigMap {
    let mut metadata =
        labels::meta(names::runtime(hub), labels::labels(hub, Component::Hub, version));
    let live = live.map(|map| &map.metadata);
    metadata.resource_version = live.and_then(|meta| meta.resource_version.clone());
    metadata.uid = live.and_then(|meta| meta.uid.clone());
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

fn to_value<T: Serialize>(value: &T) -> Value {
    // This fails only for maps whose keys are not strings, and there are none.
    serde_json::to_value(value).unwrap_or_default()
}

fn text<T: Serialize>(value: &T) -> String {
    canonical::text(&to_value(value))
}

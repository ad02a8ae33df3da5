//! The runtime ConfigMap. It has what changes while pods run, and the state of the rollout engine.
//! It is the only place for role, weight and step. Every write carries the resourceVersion that was
//! read, so that two leaders cannot both write.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::paths::{DATAPLANE_FILE, ENGINE_FILE};
use serde::Serialize;
use serde_json::Value;

use super::router_deployment::RouterPin;
use crate::api::labels::{self, Component};
use crate::api::{canonical, names};
use crate::rollout::state::EngineState;

/// Key of the router's pinned template.
pub(crate) const ROUTER_FILE: &str = "router.json";
/// Key of the fields of the last accepted spec that are outside of its revision.
pub(crate) const ACCEPTED_FILE: &str = "accepted.json";

/// The ConfigMap with this leader's term. Nothing else in it changes.
pub(crate) fn with_term(
    live: Option<&ConfigMap>,
    hub: &str,
    term: u64,
    version: &str,
) -> ConfigMap {
    let mut data = live.and_then(|map| map.data.clone()).unwrap_or_default();
    let engine = data.get(ENGINE_FILE).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut engine =
        engine.filter(Value::is_object).unwrap_or_else(|| to_value(&EngineState::default()));
    engine["term"] = term.into();
    data.insert(ENGINE_FILE.into(), canonical::text(&engine));
    config_map(live, hub, data, version)
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
    hub: &str,
    contents: Contents<'_>,
    version: &str,
) -> ConfigMap {
    let Contents { engine, dataplane, router, accepted } = contents;
    let mut data = BTreeMap::from([
        (DATAPLANE_FILE.to_owned(), text(dataplane)),
        (ENGINE_FILE.to_owned(), text(engine)),
        (ROUTER_FILE.to_owned(), text(router)),
    ]);
    data.extend(accepted.map(|accepted| (ACCEPTED_FILE.to_owned(), canonical::text(accepted))));
    config_map(live, hub, data, version)
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

//! The runtime ConfigMap: what changes while pods run, and the operator's own memory. The only place for role, weight
//! and step. Every write carries the resourceVersion that was read, so that two leaders cannot both write.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::paths::{DATAPLANE_FILE, ENGINE_FILE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;
use crate::labels::{self, Component};
use crate::names;
use crate::rollout::state::EngineState;
use crate::snapshot::Snapshot;

/// Key: the router's pinned template.
pub const ROUTER_FILE: &str = "router.json";
/// Key: what the last accepted spec said outside of its revision.
pub const ACCEPTED_FILE: &str = "accepted.json";

/// The router's Deployment as it was rendered last. Applied from here, and rendered anew only when its inputs change:
/// an operator upgrade would otherwise restart all routers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterPin {
    /// Hash of what the user decides about it.
    pub inputs: String,
    /// Without replicas.
    pub deployment: Deployment,
}

/// What the runtime ConfigMap says.
#[derive(Debug, Clone, Default)]
pub struct Runtime {
    /// For pods.
    pub dataplane: Option<Dataplane>,
    /// The engine's memory.
    pub engine: Option<EngineState>,
    /// Term of the leader that wrote last, even where the rest cannot be read.
    pub term: u64,
    /// The router's pinned template.
    pub router: Option<RouterPin>,
    /// `router`, `expose` and `rollout` of the last accepted spec.
    pub accepted: Option<Value>,
    /// As it was seen; `None`: there is none.
    pub live: Option<ConfigMap>,
}

impl Runtime {
    /// Reads the one in the snapshot.
    pub fn read(snapshot: &Snapshot) -> Self {
        let hub = snapshot.hub.metadata.name.as_deref().unwrap_or_default();
        let live = snapshot.children.config_maps.get(&names::runtime(hub));
        let data = live.and_then(|map| map.data.as_ref());
        let term =
            parse::<Value>(data, ENGINE_FILE).and_then(|engine| engine.get("term")?.as_u64());
        Self {
            dataplane: parse(data, DATAPLANE_FILE),
            engine: parse(data, ENGINE_FILE),
            term: term.unwrap_or_default(),
            router: parse(data, ROUTER_FILE),
            accepted: parse(data, ACCEPTED_FILE),
            live: live.cloned(),
        }
    }

    /// The ConfigMap with the operator's term and nothing else changed.
    pub fn with_term(&self, hub: &str, term: u64, version: &str) -> ConfigMap {
        let mut data = self.live.as_ref().and_then(|map| map.data.clone()).unwrap_or_default();
        let engine =
            data.get(ENGINE_FILE).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let mut engine =
            engine.filter(Value::is_object).unwrap_or_else(|| to_value(&EngineState::default()));
        engine["term"] = term.into();
        data.insert(ENGINE_FILE.into(), canonical::text(&engine));
        self.object(hub, data, version)
    }

    /// The ConfigMap with all of this.
    pub fn with(
        &self,
        hub: &str,
        engine: &EngineState,
        dataplane: &Dataplane,
        router: &RouterPin,
        accepted: Option<&Value>,
        version: &str,
    ) -> ConfigMap {
        let mut data = BTreeMap::from([
            (DATAPLANE_FILE.to_owned(), text(dataplane)),
            (ENGINE_FILE.to_owned(), text(engine)),
            (ROUTER_FILE.to_owned(), text(router)),
        ]);
        data.extend(accepted.map(|accepted| (ACCEPTED_FILE.to_owned(), canonical::text(accepted))));
        self.object(hub, data, version)
    }

    fn object(&self, hub: &str, data: BTreeMap<String, String>, version: &str) -> ConfigMap {
        let mut metadata =
            labels::meta(names::runtime(hub), labels::labels(hub, Component::Hub, version));
        let live = self.live.as_ref().map(|map| &map.metadata);
        metadata.resource_version = live.and_then(|meta| meta.resource_version.clone());
        metadata.uid = live.and_then(|meta| meta.uid.clone());
        ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
    }
}

fn parse<T: DeserializeOwned>(data: Option<&BTreeMap<String, String>>, key: &str) -> Option<T> {
    serde_json::from_str(data?.get(key)?).ok()
}

fn to_value<T: Serialize>(value: &T) -> Value {
    // Fails only for maps whose keys are not text; there are none.
    serde_json::to_value(value).unwrap_or_default()
}

fn text<T: Serialize>(value: &T) -> String {
    canonical::text(&to_value(value))
}

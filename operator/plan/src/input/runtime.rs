//! What the runtime ConfigMap says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::paths::{DATAPLANE_FILE, ENGINE_FILE};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::names;
use crate::objects::router_deployment::RouterPin;
use crate::objects::runtime_config_map::{ACCEPTED_FILE, ROUTER_FILE};
use crate::rollout::state::EngineState;
use crate::snapshot::Snapshot;

/// The runtime ConfigMap, parsed. A file that is missing or cannot be parsed is `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runtime {
    /// Role, weight and flags for pods.
    pub(crate) dataplane: Option<Dataplane>,
    /// State of the rollout engine.
    pub(crate) engine: Option<EngineState>,
    /// Term of the leader that wrote last. Read even from an `engine.json` that cannot be parsed
    /// otherwise, because a newer operator may have written it; 0 if there is none.
    pub(crate) term: u64,
    /// Serial of the hub's current key, read as leniently as `term`; 1 if there is none.
    pub(crate) key_serial: u32,
    /// The router's template.
    pub(crate) router: Option<RouterPin>,
    /// `router`, `expose` and `rollout` of the last accepted spec.
    pub(crate) accepted: Option<Value>,
    /// The ConfigMap itself; `None` if it does not exist.
    pub(crate) live: Option<ConfigMap>,
}

impl Runtime {
    pub(super) fn read(snapshot: &Snapshot) -> Self {
        let hub = snapshot.hub.metadata.name.as_deref().unwrap_or_default();
        let live = snapshot.objects.config_maps.get(&names::runtime(hub));
        let data = live.and_then(|map| map.data.as_ref());
        let engine = parse::<Value>(data, ENGINE_FILE);
        let number = |key: &str| engine.as_ref().and_then(|engine| engine.get(key)?.as_u64());
        Self {
            dataplane: parse(data, DATAPLANE_FILE),
            engine: parse(data, ENGINE_FILE),
            term: number("term").unwrap_or_default(),
            key_serial: number("keySerial").and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            router: parse(data, ROUTER_FILE),
            accepted: parse(data, ACCEPTED_FILE),
            live: live.cloned(),
        }
    }
}

fn parse<T: DeserializeOwned>(data: Option<&BTreeMap<String, String>>, key: &str) -> Option<T> {
    serde_json::from_str(data?.get(key)?).ok()
}

//! What the runtime ConfigMap says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_hub_wire::dataplane::{Dataplane, MAX_GENERATION};
use mcphub_hub_wire::paths::{DATAPLANE_FILE, ENGINE_FILE};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::labels::Owner;
use crate::api::names;
use crate::objects::router_deployment::RouterPin;
use crate::objects::runtime_config_map::{self, ACCEPTED_FILE, ROUTER_FILE};
use crate::rollout::state::EngineState;
use crate::snapshot::Snapshot;

/// The runtime ConfigMap, parsed. A file that is missing or cannot be parsed is `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runtime {
    /// Role, weight and flags for pods.
    pub(crate) dataplane: Option<Dataplane>,
    /// The operator wrote the dataplane as it is.
    pub(crate) dataplane_signed: bool,
    /// State of the rollout engine. Only what the operator wrote is a state: anybody who may edit
    /// ConfigMaps in the namespace can write this file.
    pub(crate) engine: Option<EngineState>,
    /// Why there is no state although the ConfigMap exists.
    pub(crate) lost: Option<&'static str>,
    /// Term of the leader that wrote last. Read even from an `engine.json` that cannot be parsed
    /// otherwise, because a newer operator may have written it; 0 if the operator did not write it.
    pub(crate) term: u64,
    /// Serial of the hub's current key, read like `term`; 1 if there is none.
    pub(crate) key_serial: u32,
    /// The router's template.
    pub(crate) router: Option<RouterPin>,
    /// `router`, `expose` and `rollout` of the last accepted spec.
    pub(crate) accepted: Option<Value>,
    /// The ConfigMap itself; `None` if it does not exist.
    pub(crate) live: Option<ConfigMap>,
}

impl Runtime {
    pub(super) fn read(snapshot: &Snapshot, owner: Owner<'_>) -> Self {
        let Some(live) = snapshot.objects.config_maps.get(&names::runtime(owner.hub)) else {
            return Self { key_serial: 1, ..Self::default() };
        };
        let data = live.data.as_ref();
        let key = &snapshot.operator.master_key;
        let is_signed = |file| runtime_config_map::is_signed(live, file, owner, key);
        let dataplane = parse::<Dataplane>(data, DATAPLANE_FILE)
            .filter(|dataplane| dataplane.generation <= MAX_GENERATION);
        let dataplane_signed = is_signed(DATAPLANE_FILE);
        let signed = is_signed(ENGINE_FILE);
        let text = parse::<Value>(data, ENGINE_FILE).filter(|_| signed);
        let number = |key: &str| text.as_ref().and_then(|engine| engine.get(key)?.as_u64());
        let engine = parse::<EngineState>(data, ENGINE_FILE).filter(|_| signed);
        // Both files are written at once, so a state that is behind the signed dataplane is an old
        // copy.
        let newest = dataplane.as_ref().filter(|_| dataplane_signed);
        let old = engine
            .as_ref()
            .zip(newest)
            .is_some_and(|(engine, newest)| engine.generation < newest.generation);
        let lost = match signed {
            false => {
                Some("is missing, was edited, or was written by an operator without signatures")
            }
            true if old => Some("is an old copy"),
            true => None,
        };
        Self {
            engine: engine.filter(|_| !old),
            term: number("term").unwrap_or_default(),
            key_serial: number("keySerial").and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            router: parse(data, ROUTER_FILE),
            accepted: parse(data, ACCEPTED_FILE),
            live: Some(live.clone()),
            dataplane,
            dataplane_signed,
            lost,
        }
    }
}

fn parse<T: DeserializeOwned>(data: Option<&BTreeMap<String, String>>, key: &str) -> Option<T> {
    serde_json::from_str(data?.get(key)?).ok()
}

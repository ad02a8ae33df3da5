//! What hub pods have learned together: a ConfigMap that they fill. The operator only makes it, so that it goes when
//! the hub goes and no pod needs the right to make ConfigMaps; its content is data of the hub, and never put back.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::api::labels::{self, Component};
use crate::api::names;

/// The ConfigMap, without content.
pub(crate) fn build(hub: &str, version: &str) -> ConfigMap {
    ConfigMap {
        metadata: labels::meta(names::learned(hub), labels::labels(hub, Component::Hub, version)),
        ..ConfigMap::default()
    }
}

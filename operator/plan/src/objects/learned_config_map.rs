//! The ConfigMap in which hub pods store what they learn. The operator only creates it, so that it
//! is deleted with the hub and no pod needs the right to create ConfigMaps. Its content belongs to
//! the pods and is never reconciled.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::api::labels::{self, Component};
use crate::api::names;

/// The ConfigMap without data.
pub(crate) fn build(hub: &str, version: &str) -> ConfigMap {
    ConfigMap {
        metadata: labels::meta(names::learned(hub), labels::labels(hub, Component::Hub, version)),
        ..ConfigMap::default()
    }
}

//! The Secret with the keys of a hub. The keys are derived from the operator's master key, so they
//! are always the same and can be applied without being read: the operator may not read Secrets of
//! other namespaces.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use mcphub_hub_wire::keys::MasterKey;
use mcphub_hub_wire::paths::KEYS_FILE;

use crate::api::labels::{self, Component};
use crate::api::names;

/// The type of a Secret is immutable. So the API server rejects an apply to somebody else's Secret
/// of this name, although the operator cannot see whose it is.
pub(crate) const TYPE: &str = "mcphub.dev/keys";

pub(crate) fn build(
    hub: &str,
    uid: &str,
    master: &MasterKey,
    serial: u32,
    version: &str,
) -> Secret {
    // This fails only for maps whose keys are not strings, and a ring is a list.
    let ring = serde_json::to_vec(&master.ring(uid, serial)).unwrap_or_default();
    Secret {
        metadata: labels::meta(names::keys(hub), labels::labels(hub, Component::Hub, version)),
        type_: Some(TYPE.into()),
        data: Some(BTreeMap::from([(KEYS_FILE.into(), ByteString(ring))])),
        ..Secret::default()
    }
}

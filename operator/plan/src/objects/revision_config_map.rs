//! The ConfigMap with the compiled config of one revision. Pods read it at start, and it never
//! changes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::paths::CONFIG_FILE;

use super::revision_deployment::labels_of;
use crate::api::{labels, names};

pub(crate) fn build(
    hub: &str,
    revision: &Revision,
    config: &HubConfig,
    version: &str,
) -> ConfigMap {
    // This fails only for maps whose keys are not strings, and the config has none.
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    ConfigMap {
        metadata: labels::meta(names::revision(hub, revision), labels_of(hub, revision, version)),
        immutable: Some(true),
        data: Some(BTreeMap::from([(CONFIG_FILE.into(), text)])),
        binary_data: None,
    }
}

//! The feature flags of a spec.

use std::collections::BTreeMap;

use mcphub_crds::McpHubSpec;
use mcphub_crds::flags::FeatureFlags;
use mcphub_hub_wire::flags::DEFAULTS;

/// Every known flag with its value, and those of `custom`.
pub fn flags(spec: &McpHubSpec) -> BTreeMap<String, bool> {
    let mut flags: BTreeMap<_, _> =
        DEFAULTS.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    flags.extend(spec.feature_flags.as_ref().map(FeatureFlags::set).unwrap_or_default());
    flags
}

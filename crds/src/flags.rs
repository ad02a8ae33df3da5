//! Feature flags: switches that change while pods run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Switches that change while pods run, and that a rollback sets back first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeatureFlags {
    /// Tools of a server, or of a category where tools are chosen by it, become one dispatching tool. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hierarchical_tools: Option<bool>,
    /// Arguments are validated before the server sees them. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enum_descriptions_validation: Option<bool>,
    /// Arguments that are wrong in one way only are corrected. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_correction: Option<bool>,
    /// Errors say what was expected, with an example. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced_error_messages: Option<bool>,
    /// Durations of calls are measured for each tool too, not only for each server. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance_monitoring: Option<bool>,
    /// Further flags by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub custom: BTreeMap<String, bool>,
}

impl FeatureFlags {
    /// Every flag that is set, by its name in the resource.
    pub fn set(&self) -> BTreeMap<String, bool> {
        let Self {
            hierarchical_tools,
            enum_descriptions_validation,
            auto_correction,
            enhanced_error_messages,
            performance_monitoring,
            custom,
        } = self;
        let named = [
            ("hierarchicalTools", hierarchical_tools),
            ("enumDescriptionsValidation", enum_descriptions_validation),
            ("autoCorrection", auto_correction),
            ("enhancedErrorMessages", enhanced_error_messages),
            ("performanceMonitoring", performance_monitoring),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)));
        named.chain(custom.clone()).collect()
    }
}

//! Feature flags: switches that take effect while pods run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Switches that take effect while pods run, and that a rollback restores.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeatureFlags {
    /// Whether the tools of a server are listed as one dispatcher. If tools are filtered by
    /// category, one dispatcher per category. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hierarchical_tools: Option<bool>,
    /// Whether the hub validates arguments before it calls the server. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enum_descriptions_validation: Option<bool>,
    /// Whether the hub corrects invalid arguments if there is only one way to correct them.
    /// Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_correction: Option<bool>,
    /// Whether errors say what was expected, with an example. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced_error_messages: Option<bool>,
    /// Whether call durations are measured per tool, not only per server. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance_monitoring: Option<bool>,
    /// Additional flags by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub custom: BTreeMap<String, bool>,
}

impl FeatureFlags {
    /// The flags that the spec sets, by their names in the resource.
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

//! The feature flags that every hub knows, with their defaults. The defaults are the same with the
//! operator and standalone.

/// Lists the tools of a server or category as one tool that dispatches.
pub const HIERARCHICAL_TOOLS: &str = "hierarchicalTools";
/// Validates arguments before a server sees them.
pub const ENUM_DESCRIPTIONS_VALIDATION: &str = "enumDescriptionsValidation";
/// Corrects arguments that are wrong in only one way.
pub const AUTO_CORRECTION: &str = "autoCorrection";
/// Adds what was expected and an example to errors.
pub const ENHANCED_ERROR_MESSAGES: &str = "enhancedErrorMessages";
/// Measures durations for each tool.
pub const PERFORMANCE_MONITORING: &str = "performanceMonitoring";

/// All flags with their defaults.
pub const DEFAULTS: [(&str, bool); 5] = [
    (HIERARCHICAL_TOOLS, false),
    (ENUM_DESCRIPTIONS_VALIDATION, false),
    (AUTO_CORRECTION, false),
    (ENHANCED_ERROR_MESSAGES, true),
    (PERFORMANCE_MONITORING, true),
];

//! Feature flags that every hub knows, and what they are where nobody sets them: in a hub of the operator's and in one
//! that runs standalone alike.

/// Lists tools of a server or category as one that dispatches.
pub const HIERARCHICAL_TOOLS: &str = "hierarchicalTools";
/// Validates arguments before a server sees them.
pub const ENUM_DESCRIPTIONS_VALIDATION: &str = "enumDescriptionsValidation";
/// Corrects arguments that are wrong in one way only.
pub const AUTO_CORRECTION: &str = "autoCorrection";
/// Errors say what was expected, with an example.
pub const ENHANCED_ERROR_MESSAGES: &str = "enhancedErrorMessages";
/// Measures durations for each tool.
pub const PERFORMANCE_MONITORING: &str = "performanceMonitoring";

/// Each with its default.
pub const DEFAULTS: [(&str, bool); 5] = [
    (HIERARCHICAL_TOOLS, false),
    (ENUM_DESCRIPTIONS_VALIDATION, false),
    (AUTO_CORRECTION, false),
    (ENHANCED_ERROR_MESSAGES, true),
    (PERFORMANCE_MONITORING, true),
];

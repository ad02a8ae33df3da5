//! Events about an McpHub.

/// A Kubernetes Event on the McpHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `Warning`, else `Normal`.
    pub warning: bool,
    /// `UpperCamelCase`, bounded set.
    pub reason: String,
    /// For a person: what happened, and what to do where something is to be done.
    pub message: String,
}

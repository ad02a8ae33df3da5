//! Events about an McpHub.

/// A Kubernetes Event on the McpHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether the type is `Warning` instead of `Normal`.
    pub warning: bool,
    /// `UpperCamelCase`, from a bounded set.
    pub reason: String,
    /// What happened and, if necessary, what to do.
    pub message: String,
}

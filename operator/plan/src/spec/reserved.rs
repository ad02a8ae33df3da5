//! What the operator reserves for itself in the pod of a container server.

/// Directory of the bridge in the pod of a Stdio server.
pub(crate) const BRIDGE_DIR: &str = "/mcphub";
/// Names of the operator's own volumes start with this.
pub(crate) const OWN_VOLUME_PREFIX: &str = "mcphub-";

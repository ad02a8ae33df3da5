//! The two admin endpoints of hub and router pods that the operator reads, on
//! [`crate::paths::ADMIN_PORT`]. Both require `Authorization: Bearer <HubKey::admin_token>` of any
//! key in the ring.

use serde::{Deserialize, Serialize};

/// `GET`: runs the self-check in a hub pod and returns a [`SelfCheck`] (status 200 even if it
/// failed).
pub const SELF_CHECK_PATH: &str = "/self-check";
/// `GET`: returns the [`Generation`] that this hub or router pod uses.
pub const GENERATION_PATH: &str = "/generation";

/// The result of a self-check. It sends real requests as an internal principal, which no metric
/// counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfCheck {
    /// Whether all `checks` passed.
    pub passed: bool,
    pub checks: Vec<Check>,
    /// Every configured server that is not disabled.
    pub servers: Vec<ServerState>,
    /// How many tools clients see after filtering; `None` from a hub that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_tools: Option<u32>,
    /// What in the config has no effect, such as a filter that fits no tool. Empty until every
    /// server has listed its tools. At most [`MAX_WARNINGS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Maximum number of [`SelfCheck::warnings`].
pub const MAX_WARNINGS: usize = 16;

/// One line of a self-check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `listening`, `generation`, `initialize`, `discover`, `tools/list`, `filtering`, `selection`.
    pub name: String,
    pub passed: bool,
    /// The result, for a person.
    pub message: String,
}

/// One upstream server as this pod sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerState {
    /// Name in the resource.
    pub name: String,
    /// Whether its list was read over a connection that is open or can be opened again.
    pub connected: bool,
    /// How many tools it lists, before filtering.
    pub tools: u32,
    /// Why it is not connected; if it is, which of its tools clients cannot use.
    #[serde(default)]
    pub message: String,
}

/// Which `dataplane.json` a pod uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// [`crate::dataplane::Dataplane::generation`] in force; 0 before the first was read.
    pub generation: u64,
}

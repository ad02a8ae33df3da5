//! The two admin endpoints of hub and router pods that the operator reads, on [`crate::paths::ADMIN_PORT`].
//! Both want `Authorization: Bearer <HubKey::admin_token>` of any key in the ring.

use serde::{Deserialize, Serialize};

/// `GET`: runs the self-check in a hub pod and answers a [`SelfCheck`] (status 200 whether it passed or not).
pub const SELF_CHECK_PATH: &str = "/self-check";
/// `GET`: answers the [`Generation`] that this hub or router pod obeys.
pub const GENERATION_PATH: &str = "/generation";

/// Result of one self-check, run as an internal principal through the real path. Its calls are counted nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfCheck {
    /// All of `checks` passed.
    pub passed: bool,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
    /// Every configured server that is not disabled.
    pub servers: Vec<ServerState>,
}

/// One line of a self-check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `listening`, `generation`, `initialize`, `discover`, `tools/list`, `filtering`, `selection`.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen, for a person.
    pub message: String,
}

/// One upstream server as this pod sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerState {
    /// Name in the resource.
    pub name: String,
    /// Its catalog was read over a connection that is open or can be opened again.
    pub connected: bool,
    /// Tools that it lists, before filtering.
    pub tools: u32,
    /// Why it is not connected; where it is, what of its tools clients cannot use.
    #[serde(default)]
    pub message: String,
}

/// Which `dataplane.json` a pod obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// [`crate::dataplane::Dataplane::generation`] in force; 0 before the first was read.
    pub generation: u64,
}

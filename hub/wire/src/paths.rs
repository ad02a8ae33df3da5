//! The ports and files of a hub or router pod.

/// The port of `/mcp` and the REST API.
pub const PORT: u16 = 7000;
/// The port of metrics, detailed health, self-check and generation. No Service for users exposes
/// it.
pub const ADMIN_PORT: u16 = 7001;
/// The port on which `bridge` serves a stdio MCP server.
pub const BRIDGE_PORT: u16 = 8080;

/// The directory of the revision's immutable config ConfigMap.
pub const CONFIG_DIR: &str = "/etc/mcp-hub/config";
/// Key in the config ConfigMap, and file in [`CONFIG_DIR`]: a [`crate::config::HubConfig`] as JSON.
pub const CONFIG_FILE: &str = "config.json";
/// The directory of the hub's runtime ConfigMap.
pub const RUNTIME_DIR: &str = "/etc/mcp-hub/runtime";
/// Key in the runtime ConfigMap: a [`crate::dataplane::Dataplane`] as JSON.
pub const DATAPLANE_FILE: &str = "dataplane.json";
/// Key in the runtime ConfigMap: the operator's own state. Pods never read it.
pub const ENGINE_FILE: &str = "engine.json";
/// The directory of the hub's key Secret.
pub const KEYS_DIR: &str = "/etc/mcp-hub/keys";
/// Key in the key Secret: a [`crate::keys::KeyRing`] as JSON.
pub const KEYS_FILE: &str = "keys.json";
/// Folder under which each Secret that a server's header refers to is mounted, as `<secret
/// name>/<key>`.
pub const SECRETS_DIR: &str = "/etc/mcp-hub/secrets";

/// Request header by which `rollout.preview` callers reach a canary at weight 0.
pub const REVISION_HEADER: &str = "mcp-hub-revision";

//! Where things lie inside a hub or router pod, and on which ports it listens.

/// Port of `/mcp` and the REST interface.
pub const PORT: u16 = 7000;
/// Port of metrics, detailed health, self-check and generation. Never behind a Service that users reach.
pub const ADMIN_PORT: u16 = 7001;
/// Port on which `bridge` serves a stdio MCP server.
pub const BRIDGE_PORT: u16 = 8080;

/// Folder of the revision's immutable config ConfigMap.
pub const CONFIG_DIR: &str = "/etc/mcp-hub/config";
/// Key in the config ConfigMap, and file in [`CONFIG_DIR`]: a [`crate::config::HubConfig`] as JSON.
pub const CONFIG_FILE: &str = "config.json";
/// Folder of the hub's runtime ConfigMap.
pub const RUNTIME_DIR: &str = "/etc/mcp-hub/runtime";
/// Key in the runtime ConfigMap: a [`crate::dataplane::Dataplane`] as JSON. The wire between operator and pods.
pub const DATAPLANE_FILE: &str = "dataplane.json";
/// Key in the runtime ConfigMap: the operator's own state. Pods never read it.
pub const ENGINE_FILE: &str = "engine.json";
/// Folder of the hub's key Secret.
pub const KEYS_DIR: &str = "/etc/mcp-hub/keys";
/// Key in the key Secret: a [`crate::keys::KeyRing`] as JSON.
pub const KEYS_FILE: &str = "keys.json";
/// Folder under which each Secret that a server's header refers to is mounted, as `<secret name>/<key>`.
pub const SECRETS_DIR: &str = "/etc/mcp-hub/secrets";

/// Request header by which `rollout.preview` callers reach a canary at weight 0.
pub const REVISION_HEADER: &str = "mcp-hub-revision";

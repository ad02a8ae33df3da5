//! The objects that a hub is made of: one file per kind of child. Builders take what [`crate::accept`] let through,
//! and cannot fail. Namespace and owner are put on when an object is planned, not here: what is recorded with a
//! revision must fit a restored McpHub, which has another uid.

pub mod access;
pub mod config_map;
pub mod disruption_budget;
pub mod hub_service;
pub mod key_secret;
pub mod learned;
pub mod pod;
pub mod revision_deployment;
pub mod revision_service;
pub mod router_deployment;
pub mod runtime;
pub mod server;
pub mod server_config_map;
pub mod server_deployment;
pub mod server_service;

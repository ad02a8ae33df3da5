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

use std::collections::BTreeSet;

use crate::names;
use crate::snapshot::ObjectName;

/// Names of the objects that every hub has once. The key Secret is left out, because it cannot be looked up.
pub(crate) fn shared_names(hub: &str) -> BTreeSet<ObjectName> {
    let accounts = [names::hub(hub), names::router(hub)].into_iter().flat_map(|name| {
        ["ServiceAccount", "Role", "RoleBinding"].map(|kind| (kind, name.clone()))
    });
    let objects = [
        ("ConfigMap", names::runtime(hub)),
        ("ConfigMap", names::learned(hub)),
        ("Deployment", names::router(hub)),
        ("PodDisruptionBudget", names::router(hub)),
        ("Service", names::hub(hub)),
    ];
    accounts.chain(objects).map(|(kind, name)| ObjectName { kind, name }).collect()
}

//! The objects of a hub, one file for each kind. Builders take a spec that [`crate::spec::accept`]
//! has accepted, and cannot fail. Namespace and owner are added when an object is planned, not
//! here, because a recorded object must also fit a restored McpHub, which has another uid.

pub(crate) mod disruption_budget;
pub(crate) mod hub_service;
pub(crate) mod key_secret;
pub(crate) mod learned_config_map;
mod pod;
pub(crate) mod rbac;
pub(crate) mod revision_config_map;
pub(crate) mod revision_deployment;
pub(crate) mod revision_service;
pub(crate) mod router_deployment;
pub(crate) mod runtime_config_map;
pub(crate) mod server;

use std::collections::BTreeSet;

use crate::api::{ObjectName, names};

/// Names of the objects that every hub has once. The key Secret is not among them, because the
/// operator may not look it up.
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

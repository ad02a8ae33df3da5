//! ServiceAccounts, Roles and `RoleBindings` of hub and router pods. All watch the runtime
//! ConfigMap. Hub pods also share what they learn in another ConfigMap, and routers find pods by
//! EndpointSlices.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use crate::api::labels::{self, Component};
use crate::api::names;

fn name(hub: &str, component: Component) -> String {
    match component {
        Component::Hub | Component::Server => names::hub(hub),
        Component::Router => names::router(hub),
    }
}

/// The ServiceAccount. Its token is mounted only in pods that ask for it.
pub(crate) fn service_account(hub: &str, component: Component, version: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: labels::meta(name(hub, component), labels::labels(hub, component, version)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The Role of the pods of this component.
pub(crate) fn role(hub: &str, component: Component, version: &str) -> Role {
    let rule =
        |group: &str, resource: &str, names: Option<Vec<String>>, verbs: &[&str]| PolicyRule {
            api_groups: Some(vec![group.into()]),
            resources: Some(vec![resource.into()]),
            resource_names: names,
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            ..PolicyRule::default()
        };
    let runtime = Some(vec![names::runtime(hub)]);
    let mut rules = vec![rule("", "configmaps", runtime, &["get", "list", "watch"])];
    match component {
        Component::Router => {
            rules.push(rule("discovery.k8s.io", "endpointslices", None, &["get", "list", "watch"]));
        }
        Component::Hub | Component::Server => {
            let learned = || Some(vec![names::learned(hub)]);
            rules.push(rule(
                "",
                "configmaps",
                learned(),
                &["get", "list", "watch", "patch", "update"],
            ));
            rules.push(rule(
                "coordination.k8s.io",
                "leases",
                learned(),
                &["get", "patch", "update"],
            ));
            // A name cannot be required here, because an object that is being created has none yet.
            rules.push(rule("coordination.k8s.io", "leases", None, &["create"]));
        }
    }
    Role {
        metadata: labels::meta(name(hub, component), labels::labels(hub, component, version)),
        rules: Some(rules),
    }
}

/// Binds the Role to these ServiceAccounts in the hub's namespace.
pub(crate) fn role_binding(
    hub: &str,
    namespace: &str,
    component: Component,
    accounts: &BTreeSet<String>,
    version: &str,
) -> RoleBinding {
    let subject = |account: &String| Subject {
        kind: "ServiceAccount".into(),
        name: account.clone(),
        namespace: Some(namespace.into()),
        ..Subject::default()
    };
    RoleBinding {
        metadata: labels::meta(name(hub, component), labels::labels(hub, component, version)),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: name(hub, component),
        },
        subjects: Some(accounts.iter().map(subject).collect()),
    }
}

/// Name of the operator's ServiceAccount for pods of this component.
pub(crate) fn account_name(hub: &str, component: Component) -> String {
    name(hub, component)
}

//! What was read from the cluster about one hub at one instant.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use mcphub_crds::McpHub;
use mcphub_hub_wire::keys::MasterKey;

use crate::api::{Object, ObjectName};

/// One hub and its surroundings.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When all of it was seen.
    pub now: Timestamp,
    /// The resource.
    pub hub: McpHub,
    /// What the operator brings along.
    pub operator: Operator,
    /// Objects controlled by this McpHub, from the caches.
    pub objects: HubObjects,
    /// The ConfigMaps in the hub's namespace that [`crate::revision_content::referenced_config_maps`] names; `None` where
    /// there is no such one.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
}

/// What the operator brings along: its release, its settings, its place in the succession of leaders.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Release, as in `app.kubernetes.io/version`.
    pub version: String,
    /// Image of hubs whose spec names none; also of routers and bridges.
    pub hub_image: String,
    /// Pull policy that goes with `hub_image`, where the administrator set one.
    pub image_pull_policy: Option<String>,
    /// Term of this leader; rises at each take-over.
    pub term: u64,
    /// Prometheus servers that the administrator named.
    pub prometheus: BTreeMap<String, PrometheusTiming>,
    /// Source of every hub's keys.
    pub master_key: MasterKey,
    /// Namespace that the operator runs in.
    pub namespace: String,
}

/// One Prometheus that the administrator named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusTiming {
    /// How often it scrapes hubs.
    pub scrape_interval: Duration,
    /// How old a sample is at most before it can be queried.
    pub ingest_delay: Duration,
}

/// Objects controlled by the McpHub, by name.
#[derive(Debug, Clone, Default)]
pub struct HubObjects {
    /// Revisions, servers and the router.
    pub deployments: BTreeMap<String, Deployment>,
    /// The hub's, and one per revision and container server.
    pub services: BTreeMap<String, Service>,
    /// One per revision, and `<hub>-runtime`.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// One per revision.
    pub controller_revisions: BTreeMap<String, ControllerRevision>,
    /// For hub and router pods.
    pub service_accounts: BTreeMap<String, ServiceAccount>,
    /// What those accounts may do.
    pub roles: BTreeMap<String, Role>,
    /// Who they are given to.
    pub role_bindings: BTreeMap<String, RoleBinding>,
    /// Of revisions and the router.
    pub disruption_budgets: BTreeMap<String, PodDisruptionBudget>,
    /// Pods with the label `mcphub.dev/hub`, by name.
    pub pods: BTreeMap<String, Pod>,
}

impl HubObjects {
    /// The object of the same kind and name, if it is there.
    pub fn get(&self, object: &Object) -> Option<Object> {
        let name = object.name();
        match object {
            Object::ServiceAccount(_) => {
                self.service_accounts.get(name).cloned().map(Object::ServiceAccount)
            }
            Object::Role(_) => self.roles.get(name).cloned().map(Object::Role),
            Object::RoleBinding(_) => {
                self.role_bindings.get(name).cloned().map(Object::RoleBinding)
            }
            Object::Secret(_) => None,
            Object::ControllerRevision(_) => {
                self.controller_revisions.get(name).cloned().map(Object::ControllerRevision)
            }
            Object::ConfigMap(_) => self.config_maps.get(name).cloned().map(Object::ConfigMap),
            Object::Service(_) => self.services.get(name).cloned().map(Object::Service),
            Object::Deployment(_) => self.deployments.get(name).cloned().map(Object::Deployment),
            Object::PodDisruptionBudget(_) => {
                self.disruption_budgets.get(name).cloned().map(Object::PodDisruptionBudget)
            }
        }
    }

    /// Whether there is an object of this kind and name.
    pub fn contains(&self, object: &ObjectName) -> bool {
        let name = &object.name;
        match object.kind {
            "ServiceAccount" => self.service_accounts.contains_key(name),
            "Role" => self.roles.contains_key(name),
            "RoleBinding" => self.role_bindings.contains_key(name),
            "ControllerRevision" => self.controller_revisions.contains_key(name),
            "ConfigMap" => self.config_maps.contains_key(name),
            "Service" => self.services.contains_key(name),
            "Deployment" => self.deployments.contains_key(name),
            "PodDisruptionBudget" => self.disruption_budgets.contains_key(name),
            _ => false,
        }
    }

    /// Every object, pods left out.
    pub fn all(&self) -> impl Iterator<Item = Object> {
        let deployments = self.deployments.values().cloned().map(Object::Deployment);
        let services = self.services.values().cloned().map(Object::Service);
        let budgets = self.disruption_budgets.values().cloned().map(Object::PodDisruptionBudget);
        let config_maps = self.config_maps.values().cloned().map(Object::ConfigMap);
        let revisions = self.controller_revisions.values().cloned().map(Object::ControllerRevision);
        let accounts = self.service_accounts.values().cloned().map(Object::ServiceAccount);
        let roles = self.roles.values().cloned().map(Object::Role);
        let bindings = self.role_bindings.values().cloned().map(Object::RoleBinding);
        let first = deployments.chain(services).chain(budgets).chain(config_maps);
        first.chain(revisions).chain(accounts).chain(roles).chain(bindings)
    }
}

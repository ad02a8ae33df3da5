//! What was read from the cluster about one hub at one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use mcphub_crds::McpHub;
use mcphub_hub_wire::keys::MasterKey;

use crate::api::{Object, ObjectName};

/// Everything that was read about one hub.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was read.
    pub now: Timestamp,
    pub hub: McpHub,
    pub operator: Operator,
    /// Objects that this McpHub controls, from the caches.
    pub objects: HubObjects,
    /// The ConfigMaps that [`crate::spec::revision_content::referenced_config_maps`] names; `None`
    /// for one that does not exist.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Names of Events of the outbox that this operator has sent.
    pub sent_events: BTreeSet<String>,
    /// Those of these ConfigMaps that have not been read. Until then nobody can say which revision
    /// the spec asks for.
    pub unread_config_maps: BTreeSet<String>,
}

/// Operator-wide inputs: the release, the settings and the term of the leader.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Release, as in the label `app.kubernetes.io/version`.
    pub version: String,
    /// Image of routers, of bridges, and of hubs whose spec names no image.
    pub hub_image: String,
    /// Pull policy for `hub_image`, if the administrator set one.
    pub image_pull_policy: Option<String>,
    /// Term of this leader. Every new leader has a higher one.
    pub term: u64,
    /// Prometheus servers in the operator's settings, by name.
    pub prometheus: BTreeMap<String, PrometheusTiming>,
    /// The key from which the keys of all hubs are derived.
    pub master_key: MasterKey,
    /// Namespace of the operator.
    pub namespace: String,
}

/// Timing of one Prometheus in the operator's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusTiming {
    /// Interval at which it scrapes hubs.
    pub scrape_interval: Duration,
    /// Longest time until a new sample can be queried.
    pub ingest_delay: Duration,
}

/// Objects that the McpHub controls, by name.
#[derive(Debug, Clone, Default)]
pub struct HubObjects {
    /// One for each revision and container server, and the router.
    pub deployments: BTreeMap<String, Deployment>,
    /// One for the hub, and one for each revision and container server.
    pub services: BTreeMap<String, Service>,
    /// One for each revision, `<hub>-runtime`, `<hub>-learned`, and the copies for container
    /// servers.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// One for each revision.
    pub controller_revisions: BTreeMap<String, ControllerRevision>,
    /// For hub pods and router pods.
    pub service_accounts: BTreeMap<String, ServiceAccount>,
    pub roles: BTreeMap<String, Role>,
    pub role_bindings: BTreeMap<String, RoleBinding>,
    /// One for each revision, and the router.
    pub disruption_budgets: BTreeMap<String, PodDisruptionBudget>,
    /// Pods with the label `mcphub.dev/hub`, by name.
    pub pods: BTreeMap<String, Pod>,
}

impl HubObjects {
    /// The object with the same kind and name. Secrets are not cached, so the answer for them is
    /// `None`.
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

    /// All objects except pods.
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

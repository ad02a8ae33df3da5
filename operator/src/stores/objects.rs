//! Access to the caches by objects of any kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use mcphub_crds::McpHub;
use mcphub_operator_plan::api::Object;
use mcphub_operator_plan::api::ObjectName;
use mcphub_operator_plan::snapshot::{HubObjects, Operator, Snapshot};
use mcphub_operator_plan::spec::revision_content;

use super::{HubName, Index, Stores};

impl Stores {
    /// Everything that the caches have about the hub at `now`.
    pub(crate) fn snapshot(
        &self,
        name: &HubName,
        hub: &McpHub,
        operator: &Operator,
        now: Timestamp,
    ) -> Snapshot {
        let uid = hub.metadata.uid.as_deref().unwrap_or_default();
        let references = revision_content::referenced_config_maps(&hub.spec);
        let (config_maps, unread_config_maps) = self.references.cached(name, &references);
        Snapshot {
            now,
            hub: hub.clone(),
            operator: operator.clone(),
            objects: self.objects_of_hub(name, uid),
            config_maps,
            unread_config_maps,
            sent_events: BTreeSet::new(),
        }
    }

    /// The objects that the hub with this uid controls, and its pods.
    fn objects_of_hub(&self, hub: &HubName, uid: &str) -> HubObjects {
        HubObjects {
            deployments: controlled(&self.deployments, hub, uid),
            services: controlled(&self.services, hub, uid),
            config_maps: controlled(&self.config_maps, hub, uid),
            controller_revisions: controlled(&self.controller_revisions, hub, uid),
            service_accounts: controlled(&self.service_accounts, hub, uid),
            roles: controlled(&self.roles, hub, uid),
            role_bindings: controlled(&self.role_bindings, hub, uid),
            disruption_budgets: controlled(&self.disruption_budgets, hub, uid),
            pods: self
                .pods
                .of_hub(hub)
                .into_iter()
                .map(|(name, pod)| (name, Arc::unwrap_or_clone(pod)))
                .collect(),
        }
    }

    /// The cached object with the kind and name of `object`. `None` for a Secret, since Secrets are
    /// not cached.
    pub(crate) fn cached(&self, namespace: &str, object: &Object) -> Option<Object> {
        let name = object.name();
        Some(match object {
            Object::ServiceAccount(_) => {
                Object::ServiceAccount(copy(&self.service_accounts, namespace, name)?)
            }
            Object::Role(_) => Object::Role(copy(&self.roles, namespace, name)?),
            Object::RoleBinding(_) => {
                Object::RoleBinding(copy(&self.role_bindings, namespace, name)?)
            }
            Object::Secret(_) => return None,
            Object::ControllerRevision(_) => {
                Object::ControllerRevision(copy(&self.controller_revisions, namespace, name)?)
            }
            Object::ConfigMap(_) => Object::ConfigMap(copy(&self.config_maps, namespace, name)?),
            Object::Service(_) => Object::Service(copy(&self.services, namespace, name)?),
            Object::Deployment(_) => Object::Deployment(copy(&self.deployments, namespace, name)?),
            Object::PodDisruptionBudget(_) => {
                Object::PodDisruptionBudget(copy(&self.disruption_budgets, namespace, name)?)
            }
        })
    }

    /// Stores the API server's response to one of our own writes.
    pub(crate) fn acknowledge(&self, object: &Object) {
        match object {
            Object::ServiceAccount(object) => self.service_accounts.acknowledge(object),
            Object::Role(object) => self.roles.acknowledge(object),
            Object::RoleBinding(object) => self.role_bindings.acknowledge(object),
            Object::Secret(_) => {}
            Object::ControllerRevision(object) => self.controller_revisions.acknowledge(object),
            Object::ConfigMap(object) => self.config_maps.acknowledge(object),
            Object::Service(object) => self.services.acknowledge(object),
            Object::Deployment(object) => self.deployments.acknowledge(object),
            Object::PodDisruptionBudget(object) => self.disruption_budgets.acknowledge(object),
        }
    }

    /// Removes an object that is gone from its cache.
    pub(crate) fn forget(&self, namespace: &str, object: &ObjectName) {
        let name = &object.name;
        match object.kind {
            "ServiceAccount" => self.service_accounts.forget(namespace, name),
            "Role" => self.roles.forget(namespace, name),
            "RoleBinding" => self.role_bindings.forget(namespace, name),
            "ControllerRevision" => self.controller_revisions.forget(namespace, name),
            "ConfigMap" => self.config_maps.forget(namespace, name),
            "Service" => self.services.forget(namespace, name),
            "Deployment" => self.deployments.forget(namespace, name),
            "PodDisruptionBudget" => self.disruption_budgets.forget(namespace, name),
            _ => {}
        }
    }
}

fn controlled<K: ResourceExt + Clone>(
    index: &Index<K>,
    hub: &HubName,
    uid: &str,
) -> BTreeMap<String, K> {
    let is_owner = |owner: &OwnerReference| owner.controller == Some(true) && owner.uid == uid;
    let objects = index
        .of_hub(hub)
        .into_iter()
        .filter(|(_, object)| object.owner_references().iter().any(is_owner));
    objects.map(|(name, object)| (name, Arc::unwrap_or_clone(object))).collect()
}

fn copy<K: ResourceExt + Clone>(index: &Index<K>, namespace: &str, name: &str) -> Option<K> {
    index.get(namespace, name).map(Arc::unwrap_or_clone)
}

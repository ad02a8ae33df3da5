//! An object of any kind that the operator writes.

use std::fmt;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

#[derive(Clone, PartialEq)]
#[allow(missing_docs, reason = "the kinds name themselves")]
#[allow(clippy::large_enum_variant, reason = "a hub has some twenty of them")]
pub enum Object {
    ServiceAccount(ServiceAccount),
    Role(Role),
    RoleBinding(RoleBinding),
    Secret(Secret),
    ControllerRevision(ControllerRevision),
    ConfigMap(ConfigMap),
    Service(Service),
    Deployment(Deployment),
    PodDisruptionBudget(PodDisruptionBudget),
}

impl Object {
    /// `kind`, as in the object.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ServiceAccount(_) => "ServiceAccount",
            Self::Role(_) => "Role",
            Self::RoleBinding(_) => "RoleBinding",
            Self::Secret(_) => "Secret",
            Self::ControllerRevision(_) => "ControllerRevision",
            Self::ConfigMap(_) => "ConfigMap",
            Self::Service(_) => "Service",
            Self::Deployment(_) => "Deployment",
            Self::PodDisruptionBudget(_) => "PodDisruptionBudget",
        }
    }

    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::ServiceAccount(o) => &o.metadata,
            Self::Role(o) => &o.metadata,
            Self::RoleBinding(o) => &o.metadata,
            Self::Secret(o) => &o.metadata,
            Self::ControllerRevision(o) => &o.metadata,
            Self::ConfigMap(o) => &o.metadata,
            Self::Service(o) => &o.metadata,
            Self::Deployment(o) => &o.metadata,
            Self::PodDisruptionBudget(o) => &o.metadata,
        }
    }

    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::ServiceAccount(o) => &mut o.metadata,
            Self::Role(o) => &mut o.metadata,
            Self::RoleBinding(o) => &mut o.metadata,
            Self::Secret(o) => &mut o.metadata,
            Self::ControllerRevision(o) => &mut o.metadata,
            Self::ConfigMap(o) => &mut o.metadata,
            Self::Service(o) => &mut o.metadata,
            Self::Deployment(o) => &mut o.metadata,
            Self::PodDisruptionBudget(o) => &mut o.metadata,
        }
    }

    /// `metadata.name`; every object has one.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    pub fn object_name(&self) -> ObjectName {
        ObjectName { kind: self.kind(), name: self.name().to_owned() }
    }

    /// The object as JSON, with `apiVersion` and `kind`.
    pub fn to_value(&self) -> Value {
        let value = match self {
            Self::ServiceAccount(o) => serde_json::to_value(o),
            Self::Role(o) => serde_json::to_value(o),
            Self::RoleBinding(o) => serde_json::to_value(o),
            Self::Secret(o) => serde_json::to_value(o),
            Self::ControllerRevision(o) => serde_json::to_value(o),
            Self::ConfigMap(o) => serde_json::to_value(o),
            Self::Service(o) => serde_json::to_value(o),
            Self::Deployment(o) => serde_json::to_value(o),
            Self::PodDisruptionBudget(o) => serde_json::to_value(o),
        };
        // This fails only for maps whose keys are not strings, and these types have none.
        value.unwrap_or_default()
    }
}

// Plans are logged, and a Secret in them must not be.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => write!(f, "Secret({}, …)", self.name()),
            Self::ServiceAccount(o) => fmt::Debug::fmt(o, f),
            Self::Role(o) => fmt::Debug::fmt(o, f),
            Self::RoleBinding(o) => fmt::Debug::fmt(o, f),
            Self::ControllerRevision(o) => fmt::Debug::fmt(o, f),
            Self::ConfigMap(o) => fmt::Debug::fmt(o, f),
            Self::Service(o) => fmt::Debug::fmt(o, f),
            Self::Deployment(o) => fmt::Debug::fmt(o, f),
            Self::PodDisruptionBudget(o) => fmt::Debug::fmt(o, f),
        }
    }
}

/// Kind and name of an object in the hub's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// `Deployment`, `Service`, …
    pub kind: &'static str,
    pub name: String,
}

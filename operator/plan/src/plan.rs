//! What is to be done about one hub. A plan leaves no choices to execution; planning again after applying it
//! changes nothing.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::snapshot::ObjectName;
use crate::status::StatusDraft;

/// All that is to be done about one hub, in order: objects, deletes, events, status.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To be applied one after the other; an error ends the reconcile there, so that nothing is done on the strength
    /// of a write that did not happen. Those that [`crate::drift::differs`] calls equal to what is there need no
    /// write.
    pub objects: Vec<Object<Prepared>>,
    /// To be deleted after that, with their preconditions.
    pub deletes: Vec<Delete>,
    /// To be sent after that.
    pub events: Vec<Event>,
    /// When to look again.
    pub next: Next,
    /// Term of a newer leader, if one has written its term. Nothing is done then, and this operator leads no more.
    pub superseded_by: Option<u64>,
    /// What it waits for, for a person; logged, not acted on.
    pub waits: Vec<String>,
    /// What status is made of once the objects are acknowledged; see [`crate::status`].
    pub status: StatusDraft,
}

/// What became of a plan's objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acknowledged {
    /// Those that the API server took, and those that needed no write (as they are in the caches).
    pub objects: Vec<Object<Applied>>,
    /// Those that it refused.
    pub rejections: Vec<Rejection>,
}

/// Any object that this operator makes.
#[derive(Clone, PartialEq)]
#[allow(missing_docs, reason = "the kinds name themselves")]
#[allow(clippy::large_enum_variant, reason = "a hub has some twenty of them")]
pub enum Child {
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

impl Child {
    /// Kind, as in the object.
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

    /// Metadata, whatever the kind.
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

    /// Metadata, whatever the kind.
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

    /// `metadata.name`; every child has one.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Kind and name.
    pub fn object_name(&self) -> ObjectName {
        ObjectName { kind: self.kind(), name: self.name().to_owned() }
    }

    /// As JSON, with `apiVersion` and `kind`.
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
        // Fails only for maps whose keys are not text; there are none in these types.
        value.unwrap_or_default()
    }
}

// Plans are logged; a Secret among them must not be.
impl fmt::Debug for Child {
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

/// Not sent yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {}
/// Acknowledged by the API server, as it answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Server-side apply, forced. `metadata.resourceVersion` and `uid`, where set, are preconditions.
    Apply,
    /// `POST`: it must not exist yet. An apply would overwrite what a newer leader has made since it was looked for.
    Create,
}

/// An object on its way to the API server, or back from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<State> {
    /// The object: as we want it, or as the server answered.
    pub child: Child,
    write: Write,
    state: PhantomData<State>,
}

impl Object<Prepared> {
    /// An object to be applied. Only fields that the operator owns are set; `metadata.resourceVersion` and `uid`,
    /// where set, are preconditions.
    pub fn prepare(child: Child) -> Self {
        Self { child, write: Write::Apply, state: PhantomData }
    }

    /// An object that must not exist yet.
    pub fn create(child: Child) -> Self {
        Self { child, write: Write::Create, state: PhantomData }
    }

    /// How it is to be written.
    pub fn write(&self) -> Write {
        self.write
    }

    /// What comes after it rests on it: if it is refused, nothing more of the plan may be written. A Deployment scaled
    /// down while routers still read the old weights loses sessions.
    pub fn is_essential(&self) -> bool {
        match &self.child {
            Child::ControllerRevision(_) => true,
            // Without content of ours it is what pods fill (`<hub>-learned`), and nothing rests on it.
            Child::ConfigMap(map) => map.immutable != Some(true) && map.data.is_some(),
            _ => false,
        }
    }

    /// The same object as the server answered it.
    pub fn applied(self, answer: Child) -> Object<Applied> {
        Object { child: answer, write: self.write, state: PhantomData }
    }
}

/// An object to be deleted if it still is the one that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Which.
    pub object: ObjectName,
    /// `metadata.uid` as seen.
    pub uid: String,
    /// `metadata.resourceVersion` as seen.
    pub resource_version: String,
}

/// A Kubernetes Event on the McpHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `Warning`, else `Normal`.
    pub warning: bool,
    /// `UpperCamelCase`, bounded set.
    pub reason: String,
    /// For a person: what happened, and what to do where something is to be done.
    pub message: String,
}

/// When to look again even if nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: the plan's writes changed what it was made from.
    Now,
    /// After so long.
    In(Duration),
    /// Not for anything that is known of: now and then, with jitter.
    Idle,
}

impl Next {
    /// The earlier of two.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::In(a), Self::In(b)) => Self::In(a.min(b)),
            (Self::In(a), Self::Idle) | (Self::Idle, Self::In(a)) => Self::In(a),
            (Self::Idle, Self::Idle) => Self::Idle,
        }
    }
}

/// A server's refusal of one object that trying again does not mend (400, 403, 422).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which.
    pub object: ObjectName,
    /// The API server's own words.
    pub message: String,
}

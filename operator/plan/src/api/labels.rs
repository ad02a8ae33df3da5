//! Labels and owner of a hub's objects. Role and weight are never labels. A promotion would
//! otherwise change objects, and a changed pod template restarts pods.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Prefix of this project's labels and annotations.
pub const DOMAIN: &str = "mcphub.dev/";
/// Label: name of the McpHub.
pub const HUB: &str = "mcphub.dev/hub";
/// Label: revision of the hub. On objects of a container server, the hash in their name.
pub const REVISION: &str = "mcphub.dev/revision";
/// Label: name of a container server.
pub const SERVER: &str = "mcphub.dev/server";
/// Label: release of the operator that made the object.
pub const VERSION: &str = "app.kubernetes.io/version";
/// Label: `hub`, `router` or `server`.
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// The part of a hub that an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Hub pods and the objects that they need.
    Hub,
    Router,
    Server,
}

impl Component {
    /// The value of the label [`COMPONENT`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Router => "router",
            Self::Server => "server",
        }
    }
}

/// Labels for selectors. They never change in the life of an object.
pub fn selector(hub: &str, component: Component) -> BTreeMap<String, String> {
    BTreeMap::from([(HUB.into(), hub.into()), (COMPONENT.into(), component.as_str().into())])
}

/// All labels of a new object. `version` is the release of the operator that makes it.
pub fn labels(hub: &str, component: Component, version: &str) -> BTreeMap<String, String> {
    let mut labels = selector(hub, component);
    for (key, value) in [
        ("name", "mcp-hub"),
        ("instance", hub),
        ("part-of", "mcphub"),
        ("managed-by", "mcphub-operator"),
    ] {
        labels.insert(format!("app.kubernetes.io/{key}"), value.into());
    }
    labels.insert(VERSION.into(), version.into());
    labels
}

/// The McpHub that objects belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    pub hub: &'a str,
    pub namespace: &'a str,
    pub uid: &'a str,
}

impl Owner<'_> {
    /// Puts an object into the hub's namespace and makes the hub its controller, so that it is
    /// deleted with the hub.
    pub fn adopt(&self, meta: &mut ObjectMeta) {
        meta.namespace = Some(self.namespace.into());
        meta.owner_references = Some(vec![OwnerReference {
            api_version: "mcphub.dev/v1alpha1".into(),
            kind: "McpHub".into(),
            name: self.hub.into(),
            uid: self.uid.into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]);
    }
}

/// Metadata of a new object, without namespace and owner.
pub fn meta(name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() }
}

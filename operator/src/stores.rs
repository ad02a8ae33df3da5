//! Caches of all that plans are made from, each fed by one watch.

mod children;
mod hubs;
pub mod index;
pub mod references;

use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt as _, future, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mcphub_crds::McpHub;
use serde::de::DeserializeOwned;
use tracing::warn;

pub use self::index::{HubName, Index};
pub use self::references::References;
use crate::metrics::Metrics;
use crate::words;

/// Label by which an object says whose it is.
const HUB_LABEL: &str = "mcphub.dev/hub";
/// Selects what this operator makes.
const CHILDREN: &str = "app.kubernetes.io/managed-by=mcphub-operator";

/// Which part of the cluster is looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace.
    Cluster,
    /// This one.
    Namespace(String),
}

/// All caches of one scope.
#[derive(Debug)]
pub struct Stores {
    /// The resources.
    pub hubs: Index<McpHub>,
    /// Revisions, servers and routers.
    pub deployments: Index<Deployment>,
    /// Hubs', revisions' and servers'.
    pub services: Index<Service>,
    /// Ours, not those that specs refer to.
    pub config_maps: Index<ConfigMap>,
    /// One per revision.
    pub controller_revisions: Index<ControllerRevision>,
    /// For hub and router pods.
    pub service_accounts: Index<ServiceAccount>,
    /// What those accounts may do.
    pub roles: Index<Role>,
    /// Who they are given to.
    pub role_bindings: Index<RoleBinding>,
    /// Of revisions and routers.
    pub disruption_budgets: Index<PodDisruptionBudget>,
    /// Pods of hubs, routers and servers.
    pub pods: Index<Pod>,
    /// ConfigMaps that specs refer to.
    pub references: References,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            hubs: Index::new(|hub| {
                Some(HubName { namespace: hub.namespace()?, name: hub.name_any() })
            }),
            deployments: Index::new(belongs),
            services: Index::new(belongs),
            config_maps: Index::new(belongs),
            controller_revisions: Index::new(belongs),
            service_accounts: Index::new(belongs),
            roles: Index::new(belongs),
            role_bindings: Index::new(belongs),
            disruption_budgets: Index::new(belongs),
            pods: Index::new(belongs),
            references: References::default(),
        }
    }
}

impl Stores {
    /// Every cache has its first listing.
    pub fn are_synced(&self) -> bool {
        self.hubs.is_synced()
            && self.deployments.is_synced()
            && self.services.is_synced()
            && self.config_maps.is_synced()
            && self.controller_revisions.is_synced()
            && self.service_accounts.is_synced()
            && self.roles.is_synced()
            && self.role_bindings.is_synced()
            && self.disruption_budgets.is_synced()
            && self.pods.is_synced()
    }

    /// Waits for it. A plan made from half a listing would create what exists and delete what it can't see the use of.
    pub async fn synced(&self) {
        self.hubs.synced().await;
        self.deployments.synced().await;
        self.services.synced().await;
        self.config_maps.synced().await;
        self.controller_revisions.synced().await;
        self.service_accounts.synced().await;
        self.roles.synced().await;
        self.role_bindings.synced().await;
        self.disruption_budgets.synced().await;
        self.pods.synced().await;
    }

    /// Feeds the caches for as long as it is polled, and tells which hub something happened to. `queue`: the list of
    /// hubs that the controller's queue looks names up in.
    pub fn watch(
        self: &Arc<Self>,
        client: &Client,
        scope: &Scope,
        metrics: &Arc<Metrics>,
        queue: Writer<McpHub>,
    ) -> impl Stream<Item = HubName> + Send + use<> {
        let watch = Watch {
            stores: self.clone(),
            client: client.clone(),
            scope: scope.clone(),
            metrics: metrics.clone(),
        };
        select_all([
            watch.hubs(queue),
            watch.children(CHILDREN, |stores| &stores.deployments),
            watch.children(CHILDREN, |stores| &stores.services),
            watch.trimmed(CHILDREN, |stores| &stores.config_maps, without_learned),
            watch.children(CHILDREN, |stores| &stores.controller_revisions),
            watch.children(CHILDREN, |stores| &stores.service_accounts),
            watch.children(CHILDREN, |stores| &stores.roles),
            watch.children(CHILDREN, |stores| &stores.role_bindings),
            watch.children(CHILDREN, |stores| &stores.disruption_budgets),
            watch.children(HUB_LABEL, |stores| &stores.pods),
            watch.references(),
        ])
    }
}

struct Watch {
    stores: Arc<Stores>,
    client: Client,
    scope: Scope,
    metrics: Arc<Metrics>,
}

impl Watch {
    fn children<K>(
        &self,
        labels: &str,
        index: fn(&Stores) -> &Index<K>,
    ) -> BoxStream<'static, HubName>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        self.trimmed(labels, index, |_| {})
    }

    fn trimmed<K>(
        &self,
        labels: &str,
        index: fn(&Stores) -> &Index<K>,
        trim: fn(&mut K),
    ) -> BoxStream<'static, HubName>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let stores = self.stores.clone();
        let events = watcher(self.api::<K>(), Config::default().labels(labels))
            .default_backoff()
            .modify(move |object| {
                object.managed_fields_mut().clear(); // half of an object's size, and no plan reads them
                trim(object);
            });
        self.told(K::kind(&()).into_owned(), events, move |event| index(&stores).learn(event))
    }

    fn hubs(&self, mut queue: Writer<McpHub>) -> BoxStream<'static, HubName> {
        let stores = self.stores.clone();
        let metrics = self.metrics.clone();
        let events =
            watcher(hubs::api(&self.client, &self.scope), Config::default()).default_backoff();
        self.told("McpHub".into(), events, move |event| {
            let Some(event) = hubs::read(event, &metrics) else { return Vec::new() };
            queue.apply_watcher_event(&event);
            stores.hubs.learn(event)
        })
    }

    fn references(&self) -> BoxStream<'static, HubName> {
        let stores = self.stores.clone();
        let events = watcher(self.api::<PartialObjectMeta<ConfigMap>>(), Config::default())
            .default_backoff();
        self.told("ConfigMap".into(), events, move |event| stores.references.learn(event))
    }

    fn told<K>(
        &self,
        kind: String,
        events: impl Stream<Item = Result<Event<K>, Error>> + Send + 'static,
        mut learn: impl FnMut(Event<K>) -> Vec<HubName> + Send + 'static,
    ) -> BoxStream<'static, HubName>
    where
        K: Send + 'static,
    {
        let metrics = self.metrics.clone();
        let touched = events.filter_map(move |event| {
            future::ready(match event {
                Ok(event) => Some(learn(event)),
                Err(error) => {
                    metrics.error("watch");
                    warn!(kind, error = words::of(&error), "a watch was cut and is opened again");
                    None
                }
            })
        });
        touched.flat_map(stream::iter).boxed()
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.scope {
            Scope::Cluster => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
        }
    }
}

/// What pods have learned is up to a megabyte for each hub, and no plan reads it.
fn without_learned(map: &mut ConfigMap) {
    let hub = map.labels().get(HUB_LABEL);
    if hub.is_some_and(|hub| map.name_any() == mcphub_operator_plan::names::learned(hub)) {
        (map.data, map.binary_data) = (None, None);
    }
}

/// By controller reference, which nobody changes by accident; else (pods, whose controller is a `ReplicaSet`) by label.
fn belongs<K: ResourceExt>(object: &K) -> Option<HubName> {
    let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    let owner = controller
        .filter(|owner| owner.kind == "McpHub" && owner.api_version.starts_with("mcphub.dev/"));
    let name = owner.map(|owner| &owner.name).or_else(|| object.labels().get(HUB_LABEL))?;
    Some(HubName { namespace: object.namespace()?, name: name.clone() })
}

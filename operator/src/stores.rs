//! The caches that plans are made from. One watch feeds each of them.

mod hubs;
mod index;
mod objects;
mod references;

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

pub(crate) use self::index::{HubName, Index};
pub(crate) use self::references::References;
use crate::error_chain;
use crate::metrics::Metrics;

/// The label with the name of the hub that an object belongs to.
const HUB_LABEL: &str = "mcphub.dev/hub";
/// Selects the objects that this operator creates.
const MANAGED: &str = "app.kubernetes.io/managed-by=mcphub-operator";

/// The namespaces that one set of caches covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Cluster,
    Namespace(String),
}

/// All caches of one scope.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) hubs: Index<McpHub>,
    pub(crate) deployments: Index<Deployment>,
    pub(crate) services: Index<Service>,
    /// Those that the operator creates.
    pub(crate) config_maps: Index<ConfigMap>,
    pub(crate) controller_revisions: Index<ControllerRevision>,
    pub(crate) service_accounts: Index<ServiceAccount>,
    pub(crate) roles: Index<Role>,
    pub(crate) role_bindings: Index<RoleBinding>,
    pub(crate) disruption_budgets: Index<PodDisruptionBudget>,
    pub(crate) pods: Index<Pod>,
    /// Those that specs refer to.
    pub(crate) references: References,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            // The managed fields of a hub say when its status was written.
            hubs: Index::new(
                |hub| Some(HubName { namespace: hub.namespace()?, name: hub.name_any() }),
                |_| {},
            ),
            deployments: Index::new(owning_hub, drop_managed_fields),
            services: Index::new(owning_hub, drop_managed_fields),
            config_maps: Index::new(owning_hub, trim_config_map),
            controller_revisions: Index::new(owning_hub, drop_managed_fields),
            service_accounts: Index::new(owning_hub, drop_managed_fields),
            roles: Index::new(owning_hub, drop_managed_fields),
            role_bindings: Index::new(owning_hub, drop_managed_fields),
            disruption_budgets: Index::new(owning_hub, drop_managed_fields),
            pods: Index::new(owning_hub, drop_managed_fields),
            references: References::default(),
        }
    }
}

impl Stores {
    pub(crate) fn are_synced(&self) -> bool {
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

    /// Waits until every cache has its first list. A plan made from part of a list would create
    /// objects that exist and delete objects that are in use.
    pub(crate) async fn synced(&self) {
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

    /// Feeds the caches while it is polled, and yields each hub whose objects have changed. `queue`
    /// is the store in which the controller looks up the hubs of its queue.
    pub(crate) fn watch(
        self: &Arc<Self>,
        client: &Client,
        scope: &Scope,
        metrics: &Arc<Metrics>,
        queue: Writer<McpHub>,
    ) -> impl Stream<Item = HubName> + Send + use<> {
        let watches = Watches {
            stores: self.clone(),
            client: client.clone(),
            scope: scope.clone(),
            metrics: metrics.clone(),
        };
        select_all([
            watches.hubs(queue),
            watches.objects(MANAGED, |stores| &stores.deployments),
            watches.objects(MANAGED, |stores| &stores.services),
            watches.objects(MANAGED, |stores| &stores.config_maps),
            watches.objects(MANAGED, |stores| &stores.controller_revisions),
            watches.objects(MANAGED, |stores| &stores.service_accounts),
            watches.objects(MANAGED, |stores| &stores.roles),
            watches.objects(MANAGED, |stores| &stores.role_bindings),
            watches.objects(MANAGED, |stores| &stores.disruption_budgets),
            watches.objects(HUB_LABEL, |stores| &stores.pods),
            watches.references(),
        ])
    }
}

/// Starts the watches of one scope.
struct Watches {
    stores: Arc<Stores>,
    client: Client,
    scope: Scope,
    metrics: Arc<Metrics>,
}

impl Watches {
    fn objects<K>(
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
        let stores = self.stores.clone();
        let events = watcher(self.api::<K>(), watch_config().labels(labels)).default_backoff();
        self.feed(K::kind(&()).into_owned(), events, move |event| index(&stores).apply_event(event))
    }

    fn hubs(&self, mut queue: Writer<McpHub>) -> BoxStream<'static, HubName> {
        let stores = self.stores.clone();
        let metrics = self.metrics.clone();
        let events =
            watcher(hubs::api(&self.client, &self.scope), watch_config()).default_backoff();
        self.feed("McpHub".into(), events, move |event| {
            let Some(event) = hubs::parse(event, &metrics) else { return Vec::new() };
            queue.apply_watcher_event(&event);
            stores.hubs.apply_event(event)
        })
    }

    fn references(&self) -> BoxStream<'static, HubName> {
        let stores = self.stores.clone();
        let events = watcher(self.api::<PartialObjectMeta<ConfigMap>>(), Config::default())
            .default_backoff();
        self.feed("ConfigMap".into(), events, move |event| stores.references.apply_event(event))
    }

    /// Passes each event of a watch to `apply_event` and yields the hubs that it returns.
    fn feed<K>(
        &self,
        kind: String,
        events: impl Stream<Item = Result<Event<K>, Error>> + Send + 'static,
        mut apply_event: impl FnMut(Event<K>) -> Vec<HubName> + Send + 'static,
    ) -> BoxStream<'static, HubName>
    where
        K: Send + 'static,
    {
        let metrics = self.metrics.clone();
        let changed = events.filter_map(move |event| {
            future::ready(match event {
                Ok(event) => Some(apply_event(event)),
                Err(error) => {
                    metrics.record_error("watch");
                    warn!(kind, error = error_chain::join(&error), "watch closed, reconnecting");
                    None
                }
            })
        });
        changed.flat_map(stream::iter).boxed()
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

/// A connection that dies in silence blinds a watch until this time and 5 s more have passed.
const WATCH_SECONDS: u32 = 60;

fn watch_config() -> Config {
    Config::default().timeout(WATCH_SECONDS)
}

/// They are half of an object's size, and no plan reads them.
fn drop_managed_fields<K: ResourceExt>(object: &mut K) {
    object.managed_fields_mut().clear();
}

/// What a hub's pods have learned is up to a megabyte, and no plan reads it.
fn trim_config_map(map: &mut ConfigMap) {
    drop_managed_fields(map);
    let hub = map.labels().get(HUB_LABEL);
    if hub.is_some_and(|hub| map.name_any() == mcphub_operator_plan::api::names::learned(hub)) {
        (map.data, map.binary_data) = (None, None);
    }
}

/// The hub that an object belongs to.
///
/// The controller reference comes first, because nobody changes it by accident. Pods are controlled
/// by a `ReplicaSet`, so their label decides.
fn owning_hub<K: ResourceExt>(object: &K) -> Option<HubName> {
    let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    let owner = controller
        .filter(|owner| owner.kind == "McpHub" && owner.api_version.starts_with("mcphub.dev/"));
    let name = owner.map(|owner| &owner.name).or_else(|| object.labels().get(HUB_LABEL))?;
    Some(HubName { namespace: object.namespace()?, name: name.clone() })
}

#[cfg(test)]
mod tests {
    use mcphub_operator_plan::api::Object;
    use serde_json::json;

    use super::*;

    fn learned(version: u32) -> ConfigMap {
        let map = json!({
            "metadata": {
                "namespace": "ai", "name": "team-learned", "resourceVersion": version.to_string(),
                "labels": {HUB_LABEL: "team"}, "managedFields": [{"manager": "mcphub-operator"}],
            },
            "data": {"memory": "a megabyte"},
        });
        serde_json::from_value(map).unwrap()
    }

    // The watch reports our own write with the version that is cached, so it would not trim it.
    #[test]
    fn what_pods_have_learned_is_not_cached_whoever_brings_it() {
        let stores = Stores::default();
        let cached = || stores.config_maps.get("ai", "team-learned").unwrap();
        let is_trimmed = || cached().data.is_none() && cached().managed_fields().is_empty();
        stores.config_maps.apply_event(Event::Apply(learned(1)));
        assert!(is_trimmed());
        stores.acknowledge(&Object::ConfigMap(learned(2)));
        assert_eq!(cached().resource_version().as_deref(), Some("2"));
        assert!(is_trimmed());
    }
}

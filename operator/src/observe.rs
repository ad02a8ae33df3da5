//! Reads everything that a plan is made from: the caches, pods, Prometheus, and the API server
//! where the caches are not enough. Nothing here changes the cluster.

mod body;
mod names;
mod pods;
mod prometheus;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures::future::try_join3;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use mcphub_crds::McpHub;
use mcphub_operator_plan::api::Object;
use mcphub_operator_plan::api::ObjectName;
use mcphub_operator_plan::probes::{ProbeResults, Probes, PrometheusQueries};
use mcphub_operator_plan::snapshot::{Operator, Snapshot};

pub(crate) use self::pods::Pods;
pub(crate) use self::prometheus::Prometheus;
use crate::object_api;
use crate::stores::{HubName, Stores};

/// Why a hub could not be observed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read the ConfigMaps that the spec refers to")]
    References(#[source] kube::Error),
    #[error("failed to read the runtime ConfigMap")]
    Runtime(#[source] kube::Error),
    #[error("failed to look up the owner of an object")]
    Names(#[source] kube::Error),
    #[error("failed to dry-run an object")]
    DryRun(#[source] kube::Error),
}

impl Error {
    /// The error of the API server.
    pub(crate) fn source(&self) -> &kube::Error {
        match self {
            Self::References(error)
            | Self::Runtime(error)
            | Self::Names(error)
            | Self::DryRun(error) => error,
        }
    }
}

/// Reads from the cluster, from pods and from Prometheus.
pub(crate) struct Observer {
    pub(crate) client: Client,
    pub(crate) pods: Pods,
    /// The Prometheus servers in the operator's settings.
    pub(crate) prometheus: Prometheus,
    /// Hubs whose runtime ConfigMap this leader has read from the API server. After that read the
    /// cache is good enough: it has our own writes immediately, and a write by anybody else makes
    /// our next write a conflict.
    pub(crate) runtime_reads: RuntimeReads,
}

/// See [`Observer::runtime_reads`]. The value is the term of the leader that read.
#[derive(Debug, Default)]
pub(crate) struct RuntimeReads(Mutex<HashMap<HubName, u64>>);

impl RuntimeReads {
    fn is_due(&self, hub: &HubName, term: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hub) != Some(&term)
    }

    fn done(&self, hub: &HubName, term: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hub.clone(), term);
    }

    /// Makes the next snapshot read it again.
    pub(crate) fn invalidate(&self, hub: &HubName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hub);
    }
}

impl Observer {
    /// Everything that the cluster has about the hub at `now`.
    pub(crate) async fn snapshot(
        &self,
        stores: &Stores,
        name: &HubName,
        hub: &McpHub,
        operator: &Operator,
        now: Timestamp,
    ) -> Result<Snapshot, Error> {
        self.refresh_runtime(stores, name, operator.term).await?;
        let uid = hub.metadata.uid.as_deref().unwrap_or_default();
        let references =
            mcphub_operator_plan::spec::revision_content::referenced_config_maps(&hub.spec);
        let config_maps = stores
            .references
            .config_maps(&self.client, name, &references)
            .await
            .map_err(Error::References)?;
        let config_maps = config_maps
            .into_iter()
            .map(|(name, map)| (name, map.map(|map| (*map).clone())))
            .collect();
        Ok(Snapshot {
            now,
            hub: hub.clone(),
            operator: operator.clone(),
            objects: stores.objects_of_hub(name, uid),
            config_maps,
        })
    }

    /// Reads the runtime ConfigMap from the API server if the cache may lack another leader's
    /// write.
    async fn refresh_runtime(
        &self,
        stores: &Stores,
        hub: &HubName,
        term: u64,
    ) -> Result<(), Error> {
        if !self.runtime_reads.is_due(hub, term) {
            return Ok(());
        }
        let config_maps = Api::<ConfigMap>::namespaced(self.client.clone(), &hub.namespace);
        let name = mcphub_operator_plan::api::names::runtime(&hub.name);
        match config_maps.get_opt(&name).await.map_err(Error::Runtime)? {
            Some(runtime) => stores.config_maps.acknowledge(&runtime),
            None => stores.config_maps.forget(&hub.namespace, &name),
        }
        self.runtime_reads.done(hub, term);
        Ok(())
    }

    /// Asks everything that the plan needs besides the snapshot. `token` is for the admin ports of
    /// the pods.
    pub(crate) async fn ask(
        &self,
        name: &HubName,
        hub: &McpHub,
        token: &str,
        probes: Probes,
    ) -> Result<ProbeResults, Error> {
        let Probes { names, dry_runs, self_checks, router_generations, prometheus } = probes;
        let queries = async {
            match &prometheus {
                Some(PrometheusQueries { server, queries }) => {
                    self.prometheus.run(server, queries).await
                }
                None => BTreeMap::new(),
            }
        };
        let pods = async {
            let pods = &self.pods;
            Ok(tokio::join!(
                pods.self_checks(&self_checks, token),
                pods.generations(&router_generations, token),
                queries
            ))
        };
        let uid = hub.metadata.uid.as_deref().unwrap_or_default();
        let ((self_checks, router_generations, queries), names_taken, refused) =
            try_join3(pods, self.taken(name, uid, names), self.refused(name, dry_runs)).await?;
        Ok(ProbeResults { taken: names_taken, refused, self_checks, router_generations, queries })
    }

    async fn taken(
        &self,
        hub: &HubName,
        uid: &str,
        names: BTreeSet<ObjectName>,
    ) -> Result<BTreeSet<ObjectName>, Error> {
        names::taken(&self.client, &hub.namespace, uid, names).await.map_err(Error::Names)
    }

    async fn refused(
        &self,
        hub: &HubName,
        objects: Vec<Object>,
    ) -> Result<BTreeMap<ObjectName, String>, Error> {
        let mut refused = BTreeMap::new();
        for object in objects {
            if let Some(message) = object_api::dry_run(&self.client, &hub.namespace, &object)
                .await
                .map_err(Error::DryRun)?
            {
                refused.insert(object.object_name(), message);
            }
        }
        Ok(refused)
    }
}

//! What is seen of one hub before it is planned. Reads only; what needs asking is said by `mcphub_operator_plan::questions`.

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

pub use self::pods::Pods;
pub use self::prometheus::Prometheus;
use crate::object_api;
use crate::stores::{HubName, Stores};

/// Why a hub could not be seen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A ConfigMap that the spec refers to.
    #[error("the ConfigMaps that the spec refers to cannot be read")]
    References(#[source] kube::Error),
    /// `<hub>-runtime`.
    #[error("the runtime ConfigMap cannot be read")]
    Runtime(#[source] kube::Error),
    /// Whose an object is.
    #[error("it cannot be found out whose an object is")]
    Names(#[source] kube::Error),
    /// What the API server thinks of an object.
    #[error("an object cannot be tried out")]
    DryRun(#[source] kube::Error),
}

impl Error {
    /// The API server's answer behind it.
    pub fn source(&self) -> &kube::Error {
        match self {
            Self::References(error)
            | Self::Runtime(error)
            | Self::Names(error)
            | Self::DryRun(error) => error,
        }
    }
}

/// What reading needs.
pub struct Observer {
    /// The API server.
    pub client: Client,
    /// Hub and router pods.
    pub pods: Pods,
    /// The administrator's servers.
    pub prometheus: Prometheus,
    /// Hubs whose runtime ConfigMap the leader of this term has read itself. From then on the cache will do: it has
    /// our own writes at once, and everybody else's make our next write a conflict.
    pub runtime_reads: RuntimeReads,
}

/// See [`Observer::runtime_reads`].
#[derive(Debug, Default)]
pub struct RuntimeReads(Mutex<HashMap<HubName, u64>>);

impl RuntimeReads {
    fn is_due(&self, hub: &HubName, term: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hub) != Some(&term)
    }

    fn done(&self, hub: &HubName, term: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hub.clone(), term);
    }

    /// Makes the next snapshot read it anew.
    pub fn invalidate(&self, hub: &HubName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hub);
    }
}

impl Observer {
    /// All that was seen of the hub at `now`.
    pub async fn snapshot(
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

    /// Reads the runtime ConfigMap itself where the cache may lack another leader's write.
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

    /// Asks everything that the plan must know besides the snapshot. `token` is for the admin ports of the hub's pods.
    pub async fn ask(
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
        let ((self_checks, router_generations, queries), taken, refused) =
            try_join3(pods, self.taken(name, uid, names), self.refused(name, dry_runs)).await?;
        Ok(ProbeResults { taken, refused, self_checks, router_generations, queries })
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

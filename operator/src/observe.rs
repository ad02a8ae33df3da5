//! Reads everything that a plan is made from: the caches, pods, Prometheus, and the API server
//! where the caches are not enough. Nothing here changes the cluster.

mod body;
mod names;
mod pending_queries;
mod pods;
mod prometheus;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use mcphub_crds::McpHub;
use mcphub_operator_plan::api::Object;
use mcphub_operator_plan::api::ObjectName;
use mcphub_operator_plan::probes::{ProbeResults, Probes, PrometheusAnswers};
use mcphub_operator_plan::snapshot::Snapshot;
use tokio::sync::mpsc;
use tracing::warn;

use self::names::Owners;
pub(crate) use self::pending_queries::PendingQueries;
pub(crate) use self::pods::Pods;
pub(crate) use self::prometheus::Prometheus;
use crate::metrics::Metrics;
use crate::stores::{HubName, Stores};
use crate::{error_chain, object_api};

/// The runtime ConfigMap could not be read. Nothing can be decided without it. Every other question
/// that fails is answered "unknown", because it must not stop what a hub needs now.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the runtime ConfigMap")]
pub(crate) struct Error(#[source] pub(crate) kube::Error);

/// Reads from the cluster, from pods and from Prometheus.
pub(crate) struct Observer {
    pub(crate) client: Client,
    pub(crate) pods: Pods,
    /// What hubs ask the Prometheus servers in the operator's settings.
    pub(crate) queries: Arc<PendingQueries>,
    /// Hubs whose runtime ConfigMap this leader has read from the API server. After that read the
    /// cache is good enough: it has our own writes immediately, and a write by anybody else makes
    /// our next write a conflict.
    pub(crate) runtime_reads: RuntimeReads,
    pub(crate) metrics: Arc<Metrics>,
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
    /// The snapshot with the ConfigMaps that are missing in it, as far as they can be read.
    pub(crate) async fn with_references(
        &self,
        stores: &Stores,
        name: &HubName,
        mut snapshot: Snapshot,
    ) -> Snapshot {
        for unread in std::mem::take(&mut snapshot.unread_config_maps) {
            match stores.references.read(&self.client, &name.namespace, &unread).await {
                Ok(map) => {
                    snapshot.config_maps.insert(unread, map);
                }
                Err(error) => {
                    self.unknown(&error, "failed to read a ConfigMap that the spec refers to");
                    snapshot.unread_config_maps.insert(unread);
                }
            }
        }
        snapshot
    }

    fn unknown(&self, error: &kube::Error, question: &'static str) {
        self.metrics.record_error("observe");
        warn!(error = error_chain::join(error), "{question}");
    }

    /// Reads the runtime ConfigMap from the API server if the cache may lack another leader's
    /// write.
    pub(crate) async fn refresh_runtime(
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
        match config_maps.get_opt(&name).await.map_err(Error)? {
            Some(runtime) => stores.config_maps.acknowledge(&runtime),
            None => stores.config_maps.forget(&hub.namespace, &name),
        }
        self.runtime_reads.done(hub, term);
        Ok(())
    }

    /// Asks everything that the plan needs besides the snapshot. `token` is for the admin ports of
    /// the pods. `answers` are those of Prometheus. If they are missing it is asked, but not waited
    /// for.
    pub(crate) async fn ask(
        &self,
        name: &HubName,
        hub: &McpHub,
        token: &str,
        probes: Probes,
        answers: Option<PrometheusAnswers>,
        answered: &mpsc::Sender<HubName>,
    ) -> ProbeResults {
        let Probes { names, dry_runs, self_checks, router_generations, prometheus } = probes;
        match prometheus {
            Some(queries) if answers.is_none() => self.queries.ask(name, queries, answered),
            Some(_) => {}
            None => self.queries.forget(name),
        }
        let uid = hub.metadata.uid.as_deref().unwrap_or_default();
        let (self_checks, router_generations, owners, (refused, untried)) = tokio::join!(
            self.pods.self_checks(&self_checks, token),
            self.pods.generations(&router_generations, token),
            names::owners(&self.client, &name.namespace, uid, names),
            self.dry_runs(name, dry_runs)
        );
        let Owners { taken, unknown: unknown_names, error } = owners;
        if let Some(error) = error {
            self.unknown(&error, "failed to look up the owner of an object");
        }
        ProbeResults {
            taken,
            unknown_names,
            refused,
            untried,
            self_checks,
            router_generations,
            prometheus: answers,
        }
    }

    /// The messages about the objects that the API server refuses, and those that it did not judge.
    async fn dry_runs(
        &self,
        hub: &HubName,
        objects: Vec<Object>,
    ) -> (BTreeMap<ObjectName, String>, BTreeSet<ObjectName>) {
        let (mut refused, mut untried) = (BTreeMap::new(), BTreeSet::new());
        for object in objects {
            let name = object.object_name();
            // The spec waits for all of them, so one that fails is enough.
            if !untried.is_empty() {
                untried.insert(name);
                continue;
            }
            match object_api::dry_run(&self.client, &hub.namespace, &object).await {
                Ok(message) => refused.extend(message.map(|message| (name, message))),
                Err(error) => {
                    self.unknown(&error, "failed to dry-run an object");
                    untried.insert(name);
                }
            }
        }
        (refused, untried)
    }
}

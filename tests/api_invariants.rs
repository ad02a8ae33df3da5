//! What must hold for every version of a runtime ConfigMap, seen by a watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use mcphub_hub_wire::dataplane::{Dataplane, Role};
use mcphub_hub_wire::paths::DATAPLANE_FILE;
use mcphub_operator_plan::api::labels;
use tokio::task::JoinHandle;

/// Ends with its value.
pub(crate) struct Watcher {
    seen: Arc<Seen>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Seen {
    /// By namespace, in the order of their generations.
    dataplanes: Mutex<BTreeMap<String, Vec<Dataplane>>>,
    violations: Mutex<Vec<String>>,
}

impl Watcher {
    /// Follows the hubs in all namespaces that begin with `name-`.
    pub(crate) fn start(client: Client, name: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let prefix = format!("{name}-");
        let maps = tokio::spawn(runtimes(client.clone(), prefix.clone(), seen.clone()));
        let deployments = tokio::spawn(deletions(client, prefix, seen.clone()));
        Self { seen, tasks: [maps, deployments] }
    }

    pub(crate) fn latest(&self, namespace: &str) -> Option<Dataplane> {
        lock(&self.seen.dataplanes).get(namespace)?.last().cloned()
    }

    /// The weights as they changed, the canary's first: `10 90`.
    pub(crate) fn weights(&self, namespace: &str) -> Vec<String> {
        let dataplanes = lock(&self.seen.dataplanes);
        let mut weights: Vec<_> =
            dataplanes.get(namespace).into_iter().flatten().map(weights).collect();
        weights.dedup();
        weights
    }

    pub(crate) fn nothing_was_violated(&self) -> Result<()> {
        let violations = lock(&self.seen.violations);
        ensure!(violations.is_empty(), "{}", violations.join("\n"));
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn weights(dataplane: &Dataplane) -> String {
    let order = |role: Role| match role {
        Role::Canary => 0,
        Role::Stable => 1,
        Role::Previous | Role::Failed | Role::Unknown => 2,
    };
    let mut states: Vec<_> = dataplane
        .revisions
        .values()
        .map(|state| (order(state.role), state.weight.percent().to_string()))
        .collect();
    states.sort();
    states.into_iter().map(|(_, weight)| weight).collect::<Vec<_>>().join(" ")
}

async fn runtimes(client: Client, prefix: String, seen: Arc<Seen>) {
    let config = watcher::Config::default().fields("metadata.name=team-runtime");
    let maps = watcher(Api::<ConfigMap>::all(client), config).default_backoff().applied_objects();
    let mut maps = std::pin::pin!(maps);
    loop {
        let map = match maps.try_next().await {
            Ok(Some(map)) => map,
            Ok(None) => return,
            Err(_) => continue,
        };
        let namespace = map.namespace().unwrap_or_default();
        let Some(dataplane) = dataplane(&map).filter(|_| namespace.starts_with(&prefix)) else {
            continue;
        };
        let mut dataplanes = lock(&seen.dataplanes);
        let before = dataplanes.entry(namespace.clone()).or_default();
        if let Some(violation) = violation(before.last(), &dataplane) {
            lock(&seen.violations).push(format!("{namespace}: {violation}"));
        }
        before.push(dataplane);
    }
}

fn violation(before: Option<&Dataplane>, now: &Dataplane) -> Option<String> {
    let sum = |dataplane: &Dataplane| {
        dataplane.revisions.values().map(|state| u32::from(state.weight.percent())).sum::<u32>()
    };
    let failed = now
        .revisions
        .iter()
        .find(|(_, state)| state.role == Role::Failed && state.weight.percent() > 0);
    match (before.map_or(0, sum), sum(now)) {
        (_, 100) | (0, 0) => {}
        (before, now) => return Some(format!("the weights were {before} and are {now}")),
    }
    if let Some((revision, _)) = failed {
        return Some(format!("{revision} has failed and has weight"));
    }
    let (before, now) = (before?, now);
    let changed = before.revisions != now.revisions;
    if changed != (now.generation > before.generation) || now.generation < before.generation {
        return Some(format!("generation {} after {}", now.generation, before.generation));
    }
    None
}

/// A Deployment may be deleted only when its revision has no weight.
async fn deletions(client: Client, prefix: String, seen: Arc<Seen>) {
    let config = watcher::Config::default().labels(labels::REVISION);
    let watched = watcher(Api::<Deployment>::all(client.clone()), config).default_backoff();
    let mut events = std::pin::pin!(watched);
    loop {
        let deployment = match events.try_next().await {
            Ok(Some(watcher::Event::Delete(deployment))) => deployment,
            Ok(Some(_)) | Err(_) => continue,
            Ok(None) => return,
        };
        let namespace = deployment.namespace().unwrap_or_default();
        let Some(revision) = deployment.labels().get(labels::REVISION) else { continue };
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
        let Ok(map) = maps.get("team-runtime").await else { continue };
        let states = dataplane(&map).map(|dataplane| dataplane.revisions).unwrap_or_default();
        let served = states
            .iter()
            .any(|(name, state)| name.as_str() == revision && state.weight.percent() > 0);
        if served && namespace.starts_with(&prefix) {
            let violation = format!("{namespace}: {revision} was deleted with weight");
            lock(&seen.violations).push(violation);
        }
    }
}

fn dataplane(map: &ConfigMap) -> Option<Dataplane> {
    serde_json::from_str(map.data.as_ref()?.get(DATAPLANE_FILE)?).ok()
}

//! A log of the runtime ConfigMap of a hub: each generation of `dataplane.json`, with the time at
//! which a watch saw it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use mcphub_hub_wire::paths;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait;

/// Every generation since the log was started. Ends when dropped.
#[derive(Debug)]
pub struct RuntimeLog {
    generations: watch::Receiver<BTreeMap<u64, (Timestamp, Dataplane)>>,
    task: JoinHandle<()>,
}

impl RuntimeLog {
    /// Follows the runtime ConfigMap of a hub that has one. Returns when the watch is open: no
    /// later generation is missed.
    pub async fn follow(client: Client, namespace: &str, hub: &str) -> Result<Self> {
        let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={hub}-runtime"));
        let (sender, generations) = watch::channel(BTreeMap::new());
        let task = tokio::spawn(async move {
            let mut changes =
                std::pin::pin!(watcher(maps, config).default_backoff().applied_objects());
            loop {
                // An error is not the end: the watcher reconnects, for example when the API server
                // was restarted.
                let map = match changes.try_next().await {
                    Ok(Some(map)) => map,
                    Ok(None) => return,
                    Err(_) => continue,
                };
                let Some(dataplane) = dataplane_of(&map) else { continue };
                sender.send_modify(|log| {
                    log.entry(dataplane.generation).or_insert((Timestamp::now(), dataplane));
                });
            }
        });
        let mut log = Self { generations, task };
        log.first("the watch of the runtime ConfigMap is open", wait::PATIENCE, |_| true).await?;
        Ok(log)
    }

    /// The first generation that is as wanted, and when it was seen. Waits for it.
    pub async fn first(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Dataplane) -> bool,
    ) -> Result<(Timestamp, Dataplane)> {
        let appears = self.generations.wait_for(|log| log.values().any(|(_, state)| wanted(state)));
        let log = wait::within(patience, what, appears).await?;
        let found = log.values().find(|(_, state)| wanted(state)).cloned();
        found.with_context(|| format!("{what} is not in the log"))
    }

    /// The latest generation.
    pub fn latest(&self) -> Option<Dataplane> {
        self.generations.borrow().last_key_value().map(|(_, (_, state))| state.clone())
    }

    /// Role and weight of a revision, each time that they changed.
    pub fn history(&self, revision: &Revision) -> Vec<(Role, u8)> {
        let log = self.generations.borrow();
        let states = log.values().filter_map(|(_, state)| state.revisions.get(revision));
        let mut history: Vec<_> =
            states.map(|state| (state.role, state.weight.percent())).collect();
        history.dedup();
        history
    }

    /// Generations whose weights do not sum to 100.
    pub fn incomplete(&self) -> Vec<u64> {
        let sum = |state: &Dataplane| {
            state.revisions.values().map(|state| u32::from(state.weight.percent())).sum::<u32>()
        };
        let log = self.generations.borrow();
        log.iter()
            .filter(|(_, (_, state))| sum(state) != 100)
            .map(|(generation, _)| *generation)
            .collect()
    }
}

impl Drop for RuntimeLog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The data plane state in a runtime ConfigMap.
pub(crate) fn dataplane_of(map: &ConfigMap) -> Option<Dataplane> {
    serde_json::from_str(map.data.as_ref()?.get(paths::DATAPLANE_FILE)?).ok()
}

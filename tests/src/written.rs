//! Everything that is written for a hub's pods, in order, with the instant at which a watch saw each generation.

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

/// Every generation that was written since the start; ends when dropped.
#[derive(Debug)]
pub struct Written {
    seen: watch::Receiver<BTreeMap<u64, (Timestamp, Dataplane)>>,
    task: JoinHandle<()>,
}

impl Written {
    /// Follows the runtime ConfigMap of a hub.
    pub fn follow(client: Client, namespace: &str, hub: &str) -> Self {
        let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={hub}-runtime"));
        let (sender, seen) = watch::channel(BTreeMap::new());
        let task = tokio::spawn(async move {
            let mut changes =
                std::pin::pin!(watcher(maps, config).default_backoff().applied_objects());
            while let Ok(Some(map)) = changes.try_next().await {
                let Some(state) = dataplane_of(&map) else { continue };
                sender.send_modify(|seen| {
                    seen.entry(state.generation).or_insert((Timestamp::now(), state));
                });
            }
        });
        Self { seen, task }
    }

    /// The first generation for which `wanted` holds, waiting for it; with the instant at which it was seen.
    pub async fn first(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Dataplane) -> bool,
    ) -> Result<(Timestamp, Dataplane)> {
        let all_seen = self.seen.wait_for(|seen| seen.values().any(|(_, state)| wanted(state)));
        let all_seen = tokio::time::timeout(patience, all_seen).await;
        let all_seen = all_seen.with_context(|| format!("not within {patience:?}: {what}"))??;
        let found = all_seen.values().find(|(_, state)| wanted(state)).cloned();
        found.context("wait_for has just seen it")
    }

    /// The latest generation.
    pub fn latest(&self) -> Option<Dataplane> {
        self.seen.borrow().last_key_value().map(|(_, (_, state))| state.clone())
    }

    /// Role and share of a revision, each time that they changed.
    pub fn walk(&self, revision: &Revision) -> Vec<(Role, u8)> {
        let seen = self.seen.borrow();
        let states = seen.values().filter_map(|(_, state)| state.revisions.get(revision));
        let mut walk: Vec<_> = states.map(|state| (state.role, state.weight.percent())).collect();
        walk.dedup();
        walk
    }

    /// Generations in which the shares do not add up to all requests.
    pub fn unserved(&self) -> Vec<u64> {
        let sum = |state: &Dataplane| {
            state.revisions.values().map(|state| u32::from(state.weight.percent())).sum::<u32>()
        };
        let seen = self.seen.borrow();
        seen.iter()
            .filter(|(_, (_, state))| sum(state) != 100)
            .map(|(generation, _)| *generation)
            .collect()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The data plane state in a runtime ConfigMap.
pub(crate) fn dataplane_of(map: &ConfigMap) -> Option<Dataplane> {
    serde_json::from_str(map.data.as_ref()?.get(paths::DATAPLANE_FILE)?).ok()
}

//! The data plane state as it is written, with the instant at which a watch saw each generation.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use mcphub_wire::dataplane::Dataplane;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pods::dataplane_of;

/// Every generation that was written since the start; ends when dropped.
pub(super) struct Written {
    seen: watch::Receiver<BTreeMap<u64, (Timestamp, Dataplane)>>,
    task: JoinHandle<()>,
}

impl Written {
    /// Follows the runtime ConfigMap of a hub.
    pub(super) fn follow(client: Client, namespace: &str, hub: &str) -> Self {
        let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={hub}-runtime"));
        let (sender, seen) = watch::channel(BTreeMap::new());
        let task = tokio::spawn(async move {
            let mut changes = std::pin::pin!(watcher(maps, config).default_backoff().applied_objects());
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
    pub(super) async fn first(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Dataplane) -> bool,
    ) -> Result<(Timestamp, Dataplane)> {
        let all_seen = self.seen.wait_for(|seen| seen.values().any(|(_, state)| wanted(state)));
        let all_seen = tokio::time::timeout(patience, all_seen).await;
        let all_seen = all_seen.with_context(|| format!("waited {} s for {what}", patience.as_secs()))??;
        let found = all_seen.values().find(|(_, state)| wanted(state)).cloned();
        found.context("wait_for has just seen it")
    }

    /// The latest generation.
    pub(super) fn latest(&self) -> Option<Dataplane> {
        self.seen.borrow().last_key_value().map(|(_, (_, state))| state.clone())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.task.abort();
    }
}

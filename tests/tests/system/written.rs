//! Everything that was written for a hub's pods, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use mcphub_wire::dataplane::{Dataplane, Revision, Role};
use mcphub_wire::paths;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::scene::within;

/// Every generation since the start; ends when dropped.
pub(crate) struct Written {
    seen: watch::Receiver<BTreeMap<u64, Dataplane>>,
    task: JoinHandle<()>,
}

impl Written {
    pub(crate) fn follow(client: Client, namespace: &str, hub: &str) -> Self {
        let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={hub}-runtime"));
        let (sender, seen) = watch::channel(BTreeMap::new());
        let task = tokio::spawn(async move {
            let mut changes = std::pin::pin!(watcher(maps, config).default_backoff().applied_objects());
            while let Ok(Some(map)) = changes.try_next().await {
                let text = map.data.as_ref().and_then(|data| data.get(paths::DATAPLANE_FILE));
                let Some(state) = text.and_then(|text| serde_json::from_str::<Dataplane>(text).ok()) else { continue };
                sender.send_modify(|seen| {
                    seen.insert(state.generation, state);
                });
            }
        });
        Self { seen, task }
    }

    /// Waits for the first generation for which it holds.
    pub(crate) async fn first(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Dataplane) -> bool,
    ) -> Result<Dataplane> {
        let seen = within(patience, what, self.seen.wait_for(|seen| seen.values().any(&wanted))).await?;
        seen.values().find(|state| wanted(state)).cloned().context("wait_for has just seen it")
    }

    /// Role and share of a revision, each time that they changed.
    pub(crate) fn walk(&self, revision: &Revision) -> Vec<(Role, u8)> {
        let seen = self.seen.borrow();
        let states = seen.values().filter_map(|state| state.revisions.get(revision));
        let mut walk: Vec<_> = states.map(|state| (state.role, state.weight.percent())).collect();
        walk.dedup();
        walk
    }

    /// Generations in which the shares do not add up to all requests.
    pub(crate) fn unserved(&self) -> Vec<u64> {
        let sum =
            |state: &Dataplane| state.revisions.values().map(|state| u32::from(state.weight.percent())).sum::<u32>();
        self.seen.borrow().values().filter(|state| sum(state) != 100).map(|state| state.generation).collect()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! When each pod applied each generation of the runtime ConfigMap, asked every 10 ms.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::hub::{AdminEndpoint, Hub};
use crate::wait::eventually;

type Log = BTreeMap<String, Vec<(u64, Timestamp)>>;

/// Asks some pods for their generation, over and over. Ends when dropped.
pub(super) struct Propagation {
    log: Arc<Mutex<Log>>,
    pods: Vec<String>,
    task: JoinHandle<()>,
}

impl Propagation {
    /// Starts to ask these pods.
    pub(super) fn watch(hub: Hub, endpoints: Vec<AdminEndpoint>, token: String) -> Self {
        let log = Arc::new(Mutex::new(Log::new()));
        let pods = endpoints.iter().map(|endpoint| endpoint.pod.clone()).collect();
        let shared = log.clone();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let asked = endpoints.iter().map(|endpoint| hub.generation(endpoint, &token));
                let generations = join_all(asked).await;
                let now = Timestamp::now();
                let mut log = shared.lock().unwrap_or_else(PoisonError::into_inner);
                for (endpoint, generation) in endpoints.iter().zip(generations) {
                    let Ok(generation) = generation else { continue };
                    let entries = log.entry(endpoint.pod.clone()).or_default();
                    if entries.last().is_none_or(|(last, _)| *last != generation) {
                        entries.push((generation, now));
                    }
                }
            }
        });
        Self { log, pods, task }
    }

    /// The last of the pods to apply this generation or a later one, and when. Waits until all have
    /// done so.
    pub(super) async fn slowest(&self, generation: u64) -> Result<(String, Timestamp)> {
        let what = format!("all pods have applied generation {generation}");
        eventually(&what, Duration::from_mins(1), async || self.last_of_all(generation)).await
    }

    fn last_of_all(&self, generation: u64) -> Option<(String, Timestamp)> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let firsts = self.pods.iter().map(|pod| {
            let first = log.get(pod)?.iter().find(|(applied, _)| *applied >= generation)?;
            Some((pod.clone(), first.1))
        });
        firsts.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(|(_, at)| *at)
    }
}

impl Drop for Propagation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

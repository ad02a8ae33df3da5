//! When each pod began to obey each generation, asked every 10 ms.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::pods::{Admin, Hub};

type Log = BTreeMap<String, Vec<(u64, Timestamp)>>;

/// Asks some pods over and over; ends when dropped.
pub(super) struct Obeyed {
    log: Arc<Mutex<Log>>,
    pods: Vec<String>,
    task: JoinHandle<()>,
}

impl Obeyed {
    /// Asks these pods.
    pub(super) fn ask(hub: Hub, admins: Vec<Admin>, token: String) -> Self {
        let log = Arc::new(Mutex::new(Log::new()));
        let pods = admins.iter().map(|admin| admin.pod.clone()).collect();
        let written = log.clone();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let answers =
                    join_all(admins.iter().map(|admin| hub.generation(admin, &token))).await;
                let now = Timestamp::now();
                let mut log = written.lock().unwrap_or_else(PoisonError::into_inner);
                for (admin, answer) in admins.iter().zip(answers) {
                    let Ok(generation) = answer else { continue };
                    let of_pod = log.entry(admin.pod.clone()).or_default();
                    if of_pod.last().is_none_or(|(last, _)| *last != generation) {
                        of_pod.push((generation, now));
                    }
                }
            }
        });
        Self { log, pods, task }
    }

    /// When the last of the pods reported this generation or a later one; `None` while one of them has not.
    pub(super) fn last_to_obey(&self, generation: u64) -> Option<(String, Timestamp)> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let firsts = self.pods.iter().map(|pod| {
            let first = log.get(pod)?.iter().find(|(obeyed, _)| *obeyed >= generation)?;
            Some((pod.clone(), first.1))
        });
        firsts.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(|(_, at)| *at)
    }
}

impl Drop for Obeyed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

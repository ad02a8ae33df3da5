//! The live data plane state, `dataplane.json` of the runtime ConfigMap: mounted, so that a pod starts without
//! the API server, and watched, so that it obeys in under a second. The higher generation wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use mcphub_hub_wire::dataplane::{Dataplane, SCHEMA};
use mcphub_hub_wire::paths;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::mounted_files;

/// A watch is opened anew this often (seconds), so that a connection that died in silence blinds a pod no longer.
pub const WATCH_SECONDS: u32 = 60;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The state in force. Dropping it ends the updates.
#[derive(Debug)]
pub struct Runtime {
    state: watch::Receiver<Arc<Dataplane>>,
    _sources: JoinSet<()>,
}

/// The runtime ConfigMap, seen through the API.
#[derive(Clone)]
pub struct Watched {
    /// Access to its namespace.
    pub client: Client,
    /// Namespace of the hub.
    pub namespace: String,
    /// Name of the hub.
    pub hub: String,
}

impl Runtime {
    /// Follows the file in `dir` and, where there is a cluster, the ConfigMap. What the file says is in force when
    /// this returns; generation 0 without revisions is in force until something is readable.
    pub fn start(dir: Option<&Path>, watched: Option<Watched>) -> Self {
        let nothing = Dataplane { schema: SCHEMA, generation: 0, revisions: BTreeMap::new() };
        let (sender, state) = watch::channel(Arc::new(nothing));
        let sender = Arc::new(sender);
        let mut sources = JoinSet::new();
        if let Some(dir) = dir {
            let file = dir.join(paths::DATAPLANE_FILE);
            let content = std::fs::read(&file).ok();
            if let Some(content) = &content {
                obey(&sender, content, "file");
            }
            sources.spawn(follow_file(file, content, Arc::clone(&sender)));
        }
        if let Some(watched) = watched {
            sources.spawn(follow_config_map(watched, sender));
        }
        Self { state, _sources: sources }
    }

    /// The state, and every later one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Dataplane>> {
        self.state.clone()
    }
}

/// Access to the cluster that this pod runs in; `None` outside of one, where the mounted files alone are obeyed.
pub fn in_cluster() -> Option<Client> {
    let mut config = kube::Config::incluster()
        .inspect_err(
            |reason| tracing::info!(%reason, "no API server: the mounted files alone are obeyed"),
        )
        .ok()?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config)
        .inspect_err(|error| tracing::error!(%error, "no client for the API server"))
        .ok()
}

async fn follow_file(
    file: PathBuf,
    known: Option<Vec<u8>>,
    sender: Arc<watch::Sender<Arc<Dataplane>>>,
) {
    mounted_files::follow(file, known, move |content| obey(&sender, content, "file")).await;
}

async fn follow_config_map(watched: Watched, sender: Arc<watch::Sender<Arc<Dataplane>>>) {
    let name = format!("{}-runtime", watched.hub);
    let api: Api<ConfigMap> = Api::namespaced(watched.client, &watched.namespace);
    let config =
        watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    let mut events = watcher(api, config).backoff(Retry::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(map) | Event::InitApply(map)) => {
                let content = map.data.as_ref().and_then(|data| data.get(paths::DATAPLANE_FILE));
                if let Some(content) = content {
                    obey(&sender, content.as_bytes(), "watch");
                } else {
                    tracing::error!(
                        "{name} has no {}; the last state stays",
                        paths::DATAPLANE_FILE
                    );
                }
            }
            // Deleted by hand: the operator makes it again, and until then nothing is known to be wrong.
            Ok(Event::Delete(_)) => tracing::warn!("{name} is gone; the last state stays"),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => {
                tracing::warn!(%error, "{name} cannot be watched; the mounted file is obeyed")
            }
        }
    }
}

fn obey(sender: &watch::Sender<Arc<Dataplane>>, content: &[u8], source: &str) {
    let new: Dataplane = match serde_json::from_slice(content) {
        Ok(new) => new,
        Err(error) => {
            return tracing::error!(%error, source, "dataplane.json is unreadable; the last state stays");
        }
    };
    // File and watch lag behind each other: an older generation must not bring a weight back.
    sender.send_if_modified(|state| {
        let newer = new.generation > state.generation;
        if newer {
            tracing::info!(generation = new.generation, source, "data plane state in force");
            *state = Arc::new(new);
        }
        newer
    });
}

/// Delays between tries of a watch: from 100 ms doubling to 5 s, with jitter. An API server that is back is noticed
/// soon, since meanwhile a rollback could not reach this pod.
#[derive(Debug)]
pub struct Retry {
    next: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

impl Retry {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(5);
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.next;
        self.next = (delay * 2).min(Self::LAST);
        Some(delay.mul_f64(rand::random_range(0.5..1.0)))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, content: &str) {
        std::fs::write(dir.join("new"), content).unwrap();
        std::fs::rename(dir.join("new"), dir.join(paths::DATAPLANE_FILE)).unwrap();
    }

    fn generation(number: u64) -> String {
        format!(r#"{{"schema":1,"generation":{number},"revisions":{{}}}}"#)
    }

    #[tokio::test]
    async fn the_mounted_state_is_in_force_at_once_and_bad_or_older_data_does_not_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &generation(4));
        let runtime = Runtime::start(Some(dir.path()), None);
        let mut state = runtime.subscribe();
        assert_eq!(state.borrow_and_update().generation, 4);
        write(dir.path(), "{");
        write(dir.path(), &generation(3));
        write(dir.path(), &generation(5));
        state.changed().await.unwrap();
        assert_eq!(state.borrow().generation, 5);
    }

    #[tokio::test]
    async fn without_any_state_generation_0_has_no_revisions() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::start(Some(dir.path()), None);
        let state = Arc::clone(&runtime.subscribe().borrow());
        assert_eq!((state.generation, state.revisions.len()), (0, 0));
    }

    #[test]
    fn retries_wait_longer_and_never_over_five_seconds() {
        let delays: Vec<_> = Retry::default().take(20).collect();
        assert!(delays[0] <= Duration::from_millis(100));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(5)));
        assert!(delays[19] >= Duration::from_millis(2500));
    }
}

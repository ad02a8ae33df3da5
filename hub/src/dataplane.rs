//! The data plane state in force: `dataplane.json` of the runtime ConfigMap. It is mounted, so that
//! a pod starts without the API server, and watched, so that a change takes effect within a second.
//! The higher generation wins.

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
use mcphub_hub_wire::dataplane::{Dataplane, MAX_GENERATION, SCHEMA};
use mcphub_hub_wire::paths;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::mounted_files;

/// After how many seconds a watch is reopened, because its connection may have died silently.
pub const WATCH_SECONDS: u32 = 60;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Follows the data plane state until it is dropped.
#[derive(Debug)]
pub struct DataplaneFollower {
    state: watch::Receiver<Arc<Dataplane>>,
    _sources: JoinSet<()>,
}

/// Where to watch the runtime ConfigMap of a hub.
#[derive(Clone)]
pub struct RuntimeConfigMap {
    pub client: Client,
    /// The namespace of the hub.
    pub namespace: String,
    /// The name of the hub.
    pub hub: String,
}

impl DataplaneFollower {
    /// Follows the file in `dir` and the ConfigMap. The state of the file is in force when this
    /// returns. Until a state can be read, generation 0 without revisions is in force.
    pub fn start(dir: Option<&Path>, config_map: Option<RuntimeConfigMap>) -> Self {
        let nothing = Dataplane { schema: SCHEMA, generation: 0, revisions: BTreeMap::new() };
        let (sender, state) = watch::channel(Arc::new(nothing));
        let sender = Arc::new(sender);
        let mut sources = JoinSet::new();
        if let Some(dir) = dir {
            let file = dir.join(paths::DATAPLANE_FILE);
            let content = std::fs::read(&file).ok();
            if let Some(content) = &content {
                apply(&sender, content, "file");
            }
            sources.spawn(follow_file(file, content, Arc::clone(&sender)));
        }
        if let Some(config_map) = config_map {
            sources.spawn(follow_config_map(config_map, sender));
        }
        Self { state, _sources: sources }
    }

    /// The state in force, and every later one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Dataplane>> {
        self.state.clone()
    }
}

/// A client for the cluster that this pod runs in. `None` outside of a cluster, where only the
/// mounted files are followed.
pub fn in_cluster_client() -> Option<Client> {
    let mut config = kube::Config::incluster()
        .inspect_err(
            |reason| tracing::info!(%reason, "not in a cluster, following the mounted files only"),
        )
        .ok()?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config)
        .inspect_err(|error| tracing::error!(%error, "failed to build a client for the API server"))
        .ok()
}

async fn follow_file(
    file: PathBuf,
    known: Option<Vec<u8>>,
    sender: Arc<watch::Sender<Arc<Dataplane>>>,
) {
    mounted_files::follow(file, known, move |content| apply(&sender, content, "file")).await;
}

async fn follow_config_map(
    config_map: RuntimeConfigMap,
    sender: Arc<watch::Sender<Arc<Dataplane>>>,
) {
    let name = format!("{}-runtime", config_map.hub);
    let api: Api<ConfigMap> = Api::namespaced(config_map.client, &config_map.namespace);
    let config =
        watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    let mut events = watcher(api, config).backoff(Retry::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(map) | Event::InitApply(map)) => {
                let content = map.data.as_ref().and_then(|data| data.get(paths::DATAPLANE_FILE));
                if let Some(content) = content {
                    apply(&sender, content.as_bytes(), "watch");
                } else {
                    tracing::error!(
                        "{name} has no {}, the last state stays",
                        paths::DATAPLANE_FILE
                    );
                }
            }
            // Deleted by hand. The operator creates it again, and until then the last state is the
            // best guess.
            Ok(Event::Delete(_)) => tracing::warn!("{name} was deleted, the last state stays"),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to watch {name}, following the mounted file");
            }
        }
    }
}

fn apply(sender: &watch::Sender<Arc<Dataplane>>, content: &[u8], source: &str) {
    let new: Dataplane = match serde_json::from_slice(content) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!(%error, source, "dataplane.json is invalid, the last state stays");
            return;
        }
    };
    if new.generation > MAX_GENERATION {
        tracing::error!(
            generation = new.generation,
            source,
            "the generation of dataplane.json is impossible, the last state stays"
        );
        return;
    }
    // File and watch lag behind each other. An older generation must not bring back an old weight.
    sender.send_if_modified(|state| {
        let newer = new.generation > state.generation;
        if newer {
            tracing::info!(generation = new.generation, source, "data plane state in force");
            *state = Arc::new(new);
        }
        newer
    });
}

/// Delays between attempts to watch: from 100 ms, doubling to 5 s, with jitter. They are short,
/// because a rollback cannot reach this pod while the watch is down.
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
    async fn the_mounted_state_is_in_force_at_once_and_invalid_or_older_data_does_not_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &generation(4));
        let follower = DataplaneFollower::start(Some(dir.path()), None);
        let mut state = follower.subscribe();
        assert_eq!(state.borrow_and_update().generation, 4);
        write(dir.path(), "{");
        write(dir.path(), &generation(3));
        write(dir.path(), &generation(5));
        state.changed().await.unwrap();
        assert_eq!(state.borrow().generation, 5);
    }

    #[tokio::test]
    async fn without_any_state_generation_0_without_revisions_is_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let follower = DataplaneFollower::start(Some(dir.path()), None);
        let state = Arc::clone(&follower.subscribe().borrow());
        assert_eq!((state.generation, state.revisions.len()), (0, 0));
    }

    #[test]
    fn delays_between_attempts_grow_to_five_seconds_at_most() {
        let delays: Vec<_> = Retry::default().take(20).collect();
        assert!(delays[0] <= Duration::from_millis(100));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(5)));
        assert!(delays[19] >= Duration::from_millis(2500));
    }
}

//! The models. They are in memory only while search is reachable.

use std::sync::Arc;
use std::time::Duration;

use mcphub_hub_select::embedded::Models;
use tokio::sync::watch;

use super::Error;

/// How long a caller waits for the models. They usually load in a fraction of a second.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
enum LoadState {
    /// Nobody can search.
    #[default]
    Off,
    Loading,
    Ready(Arc<Models>),
    /// They cannot be loaded, for this reason.
    Failed(String),
}

/// Loads the models when they are wanted, and drops them when they are not.
pub(super) struct Loader(Arc<watch::Sender<LoadState>>);

impl Loader {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(LoadState::Off)))
    }

    /// Starts to load the models, or drops them.
    pub(super) fn set_wanted(&self, wanted: bool) {
        let load = self.0.send_if_modified(|state| match (&state, wanted) {
            (LoadState::Off, true) => {
                *state = LoadState::Loading;
                true
            }
            (LoadState::Off, false) | (_, true) => false,
            (_, false) => {
                *state = LoadState::Off;
                true
            }
        });
        if load && wanted {
            let sender = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || {
                let loaded = Models::embedded(true);
                sender.send_if_modified(|state| {
                    // They are not wanted any more, or another load was faster.
                    let awaited = matches!(state, LoadState::Loading);
                    if awaited {
                        *state = match loaded {
                            Ok(models) => LoadState::Ready(Arc::new(models)),
                            Err(error) => {
                                tracing::error!(%error, "failed to load the selector's models");
                                LoadState::Failed(error.to_string())
                            }
                        };
                    }
                    awaited
                });
            });
        }
    }

    /// Whether the models are in memory or being loaded.
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(*self.0.borrow(), LoadState::Off)
    }

    /// The models, if they are loaded.
    pub(super) fn ready(&self) -> Option<Arc<Models>> {
        match &*self.0.borrow() {
            LoadState::Ready(models) => Some(Arc::clone(models)),
            _ => None,
        }
    }

    /// The models. Loads them if they are not in memory.
    pub(super) async fn get(&self) -> Result<Arc<Models>, Error> {
        self.set_wanted(true);
        let mut state = self.0.subscribe();
        let loaded = tokio::time::timeout(
            LOAD_TIMEOUT,
            state.wait_for(|state| !matches!(state, LoadState::Loading)),
        )
        .await;
        let state = match loaded {
            Ok(Ok(state)) => state.clone(),
            _ => return Err(Error::Loading),
        };
        match state {
            LoadState::Ready(models) => Ok(models),
            LoadState::Failed(why) => Err(Error::Models(why)),
            LoadState::Off | LoadState::Loading => Err(Error::Loading),
        }
    }
}

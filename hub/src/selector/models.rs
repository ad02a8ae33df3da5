//! The models: in memory only while somebody can search.

use std::sync::Arc;
use std::time::Duration;

use mcphub_hub_select::embedded::Models;
use tokio::sync::watch;

use super::Error;

/// They load in a fraction of a second; a caller does not wait longer than this for them.
const LOADING: Duration = Duration::from_secs(5);

/// How it stands with the models.
#[derive(Clone, Default)]
enum State {
    /// Nobody can search.
    #[default]
    Off,
    Loading,
    Ready(Arc<Models>),
    /// They cannot be loaded, and why.
    Failed(String),
}

/// The models, loaded and dropped as they are wanted.
pub(super) struct Loader(Arc<watch::Sender<State>>);

impl Loader {
    /// Not loaded.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::Off)))
    }

    /// Loads them if they are wanted, else drops them.
    pub(super) fn want(&self, wanted: bool) {
        let load = self.0.send_if_modified(|state| match (&state, wanted) {
            (State::Off, true) => {
                *state = State::Loading;
                true
            }
            (State::Off, false) | (_, true) => false,
            (_, false) => {
                *state = State::Off;
                true
            }
        });
        if load && wanted {
            let sender = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || {
                let loaded = Models::embedded(true);
                sender.send_if_modified(|state| {
                    // Nobody wants them any more, or another load was quicker.
                    let awaited = matches!(state, State::Loading);
                    if awaited {
                        *state = match loaded {
                            Ok(models) => State::Ready(Arc::new(models)),
                            Err(error) => {
                                tracing::error!(%error, "the selector cannot start");
                                State::Failed(error.to_string())
                            }
                        };
                    }
                    awaited
                });
            });
        }
    }

    /// Whether they are in memory, or about to be.
    pub(super) fn wanted(&self) -> bool {
        !matches!(*self.0.borrow(), State::Off)
    }

    /// The models, if they are there now.
    pub(super) fn ready(&self) -> Option<Arc<Models>> {
        match &*self.0.borrow() {
            State::Ready(models) => Some(Arc::clone(models)),
            _ => None,
        }
    }

    /// The models, loaded first where they are not.
    pub(super) async fn get(&self) -> Result<Arc<Models>, Error> {
        self.want(true);
        let mut state = self.0.subscribe();
        let loaded =
            tokio::time::timeout(LOADING, state.wait_for(|state| !matches!(state, State::Loading)))
                .await;
        let state = match loaded {
            Ok(Ok(state)) => state.clone(),
            _ => return Err(Error::Loading),
        };
        match state {
            State::Ready(models) => Ok(models),
            State::Failed(why) => Err(Error::Models(why)),
            State::Off | State::Loading => Err(Error::Loading),
        }
    }
}

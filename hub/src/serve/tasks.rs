//! The loops that keep the hub's state up to date in the background.

mod client_limits;
mod config_file;
mod dataplane;
mod golden_questions;
mod language_model;
mod list_cost;
mod llm_categories;
mod search;
mod sessions;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::config_file::follow as follow_config_files;
pub(super) use self::language_model::verify as verify_language_model;
use super::state::hub::Hub;

/// Starts all loops. They run until the process ends. `startup_timeout` is how long to wait for
/// every server to be reached before the hub is ready without it.
pub(super) fn spawn_all(hub: &Arc<Hub>, startup_timeout: Duration) {
    tokio::spawn(snapshot::run(Arc::clone(hub), startup_timeout));
    tokio::spawn(dataplane::run(Arc::clone(hub)));
    tokio::spawn(sessions::run(Arc::clone(hub)));
    tokio::spawn(list_cost::run(Arc::clone(hub)));
    tokio::spawn(client_limits::run(Arc::clone(hub)));
    tokio::spawn(search::run(Arc::clone(hub)));
    tokio::spawn(golden_questions::run(Arc::clone(hub)));
    tokio::spawn(llm_categories::run(Arc::clone(hub)));
}

//! Follows the config files of a standalone hub.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config_file::ConfigFiles;
use crate::mounted_files;
use crate::serve::state::hub::Hub;

/// Puts every valid new content of the files in force. `known` is the content that was read at
/// startup, and `warnings` is what was said about it.
pub(crate) async fn follow(
    files: ConfigFiles,
    known: Vec<Option<Vec<u8>>>,
    warnings: Vec<String>,
    hub: Arc<Hub>,
) {
    let warnings = Arc::new(Mutex::new(warnings));
    let follow_one = |(path, known): (PathBuf, Option<Vec<u8>>)| {
        let (files, hub, warnings) = (files.clone(), Arc::clone(&hub), Arc::clone(&warnings));
        mounted_files::follow(path, known, move |_| reload(&files, &warnings, &hub))
    };
    let each = files.paths.clone().into_iter().zip(known).map(follow_one);
    futures::future::join_all(each).await;
}

/// A change of one file may change what another one means, so all are read.
fn reload(files: &ConfigFiles, warnings: &Mutex<Vec<String>>, hub: &Hub) {
    match files.read() {
        Ok(loaded) => {
            let mut before = warnings.lock().unwrap_or_else(PoisonError::into_inner);
            for warning in loaded.warnings.iter().filter(|warning| !before.contains(warning)) {
                tracing::warn!("{warning}");
            }
            *before = loaded.warnings;
            tracing::info!(servers = loaded.config.servers.len(), "config reloaded");
            hub.reload(loaded.config);
        }
        Err(error) => {
            tracing::error!("new config is invalid, the last valid one stays:\n{error:#}");
        }
    }
}

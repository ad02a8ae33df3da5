//! Follows the config file of a standalone hub.

use std::path::PathBuf;
use std::sync::Arc;

use crate::serve::state::hub::Hub;
use crate::{config_file, mounted_files};

/// Puts every valid new content of the file in force. `known` is the content that was read at
/// startup.
pub(crate) async fn follow(file: PathBuf, known: Option<Vec<u8>>, hub: Arc<Hub>) {
    mounted_files::follow(file, known, move |content| {
        match config_file::parse(&String::from_utf8_lossy(content), true) {
            Ok(config) => {
                tracing::info!(servers = config.servers.len(), "config reloaded");
                hub.reload(config);
            }
            Err(errors) => {
                tracing::error!("new config is invalid, the last valid one stays:\n{errors}");
            }
        }
    })
    .await;
}

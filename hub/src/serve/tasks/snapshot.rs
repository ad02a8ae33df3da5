//! Replaces the snapshot whenever an input of it has changed, and ends the startup.

use std::sync::Arc;
use std::time::Duration;

use crate::serve::state::hub::Hub;

pub(super) async fn run(hub: Arc<Hub>, startup_timeout: Duration) {
    let mut timeout = std::pin::pin!(tokio::time::sleep(startup_timeout));
    loop {
        if !hub.snapshot().is_starting() {
            hub.finish_startup();
        }
        let starting = !hub.startup_is_over();
        tokio::select! {
            () = hub.refresh_requested() => hub.refresh_snapshot(),
            () = &mut timeout, if starting => {
                tracing::warn!("startupTimeout expired, serving without the missing servers");
                hub.finish_startup();
            }
        }
    }
}

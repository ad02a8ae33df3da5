//! Checks the tools of every new catalog against the limits of vendors, in a thread of its own.

use std::sync::Arc;

use crate::serve::state::hub::Hub;

pub(super) async fn run(hub: Arc<Hub>) {
    let mut snapshots = hub.subscribe();
    loop {
        let visibility = Arc::clone(&snapshots.borrow_and_update().visibility);
        let checker = Arc::clone(&hub);
        let result =
            tokio::task::spawn_blocking(move || checker.metrics.client_limits.check(&visibility));
        if let Err(error) = result.await {
            tracing::error!(%error, "schema check failed");
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

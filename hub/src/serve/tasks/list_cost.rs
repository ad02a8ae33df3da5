//! Counts the tokens of every new catalog, in a thread of its own: a list must not wait for it.

use std::sync::Arc;

use crate::serve::state::hub::Hub;

pub(super) async fn run(hub: Arc<Hub>) {
    let mut snapshots = hub.subscribe();
    loop {
        let lists = snapshots.borrow_and_update().lists.without_view(&hub.principal);
        let counter = Arc::clone(&hub);
        let result =
            tokio::task::spawn_blocking(move || counter.metrics.list_cost.count_tokens(&lists));
        if let Err(error) = result.await {
            tracing::error!(%error, "failed to count the tokens of lists");
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

//! Lets the selector follow every new snapshot.

use std::sync::Arc;
use std::time::Duration;

use mcphub_hub_catalog::visibility::VisibleTools;

use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::HubSnapshot;

/// When a hub starts, servers list one after the other. Wait for the others before building
/// indexes.
const SETTLE: Duration = Duration::from_millis(200);

pub(super) async fn run(hub: Arc<Hub>) {
    tokio::spawn(Arc::clone(&hub.selector).encode_missing_vectors());
    let mut snapshots = hub.subscribe();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        follow(&hub, &snapshot).await;
        if snapshots.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

async fn follow(hub: &Hub, snapshot: &HubSnapshot) {
    let golden = &snapshot.config.filtering.golden_questions;
    if snapshot.lists.search_is_reachable() || !golden.is_empty() {
        hub.selector.index_all(&shared_views(hub, snapshot)).await;
    } else {
        hub.selector.unload();
    }
}

/// The visible tools that all callers have as long as there is no authentication: without a view,
/// and in each view.
fn shared_views(hub: &Hub, snapshot: &HubSnapshot) -> Vec<Arc<VisibleTools>> {
    let views = snapshot.config.filtering.views.iter().map(|view| Some(view.name.as_str()));
    std::iter::once(None)
        .chain(views)
        .filter_map(|view| snapshot.lists.caller(view, &hub.principal))
        .map(|lists| Arc::clone(&lists.visible))
        .collect()
}

//! Tests the key of the language model of a standalone hub. In a cluster, the self-check does.

use std::sync::Arc;

use crate::serve::state::hub::Hub;

/// Tests the key at start and after each change of the config. Without it, a refused key would
/// only show as worse results.
pub(crate) async fn verify(hub: Arc<Hub>) {
    let mut snapshots = hub.subscribe();
    let mut verified = None;
    loop {
        let llm = snapshots.borrow_and_update().config.filtering.llm.clone();
        if llm.is_some()
            && llm != verified
            && let Err(error) = hub.selector.verify().await
        {
            tracing::error!("{error}; until then, the embedded models select the tools");
        }
        verified = llm;
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

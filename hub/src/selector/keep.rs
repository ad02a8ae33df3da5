//! What the selector does in the background: models and indexes follow what is in force, and vectors are made bit by
//! bit, so that a hub of thousands of tools answers meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::visibility::VisibleTools;

use super::{Selector, index};
use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::Live;

/// Tools encoded at a time.
const BATCH: usize = 16;
/// Indexes take in vectors after so many of them, and at the end.
const IMPROVE_AFTER: usize = 256;
/// Servers list one after the other when a hub starts; the indexes wait for the rest.
const SETTLE: Duration = Duration::from_millis(200);

/// Follows what is in force for as long as the hub runs.
pub async fn keep(hub: Arc<Hub>) {
    tokio::spawn(encode(Arc::clone(&hub)));
    tokio::spawn(super::golden::keep(Arc::clone(&hub)));
    let mut live = hub.subscribe();
    loop {
        let now = Arc::clone(&live.borrow_and_update());
        obey(&hub.selector, &now).await;
        if live.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Makes models and indexes what this state wants.
async fn obey(selector: &Selector, live: &Live) {
    let filtering = &live.config.filtering;
    let wanted = live.lists.search_is_reachable() || !filtering.golden_questions.is_empty();
    selector.models.want(wanted);
    if !wanted {
        selector.indexes.keep(&[], &selector.vectors);
        selector.metrics.tools(0, 0);
        selector.golden.due();
        return;
    }
    let models = match selector.models.get().await {
        Ok(models) => models,
        Err(error) => return tracing::error!(%error, "search is not there"),
    };
    let visible_tools = visible_tools(live);
    for visible in &visible_tools {
        if let Err(error) = selector.indexed(visible, &models).await {
            tracing::error!(%error, "tools are not indexed");
        }
    }
    let keys: Vec<u64> = visible_tools.iter().map(|visible| index::key_of(visible)).collect();
    selector.indexes.keep(&keys, &selector.vectors);
    count(selector);
    selector.golden.due();
}

/// The visible_tools that everybody has: the whole, and each view.
fn visible_tools(live: &Live) -> Vec<Arc<VisibleTools>> {
    let views = live.config.filtering.views.iter().map(|view| Some(view.name.as_str()));
    std::iter::once(None)
        .chain(views)
        .filter_map(|view| live.lists.caller(view, &Principal::anonymous()))
        .map(|lists| Arc::clone(&lists.visible))
        .collect()
}

/// Makes the vectors that are missing whenever there may be some.
async fn encode(hub: Arc<Hub>) {
    let selector = &hub.selector;
    loop {
        selector.wake.notified().await;
        let mut fresh = 0;
        while let Some(made) = batch(selector).await {
            fresh += made;
            if fresh >= IMPROVE_AFTER {
                fresh = 0;
                improve(selector).await;
            }
        }
        improve(selector).await;
        selector.golden.due();
    }
}

/// Makes some vectors; how many, or `None` where none is missing. Rests as long as that took: requests come first.
async fn batch(selector: &Arc<Selector>) -> Option<usize> {
    let models = selector.models.ready()?;
    let missing = |indexed: &Arc<index::Indexed>| {
        let positions = indexed.missing(&selector.vectors, BATCH);
        (!positions.is_empty()).then(|| (Arc::clone(indexed), positions))
    };
    let (indexed, positions) = selector.indexes.all().iter().find_map(missing)?;
    let (began, vectors, made) = (Instant::now(), Arc::clone(&selector.vectors), positions.len());
    let encoded =
        tokio::task::spawn_blocking(move || indexed.encode(&positions, &models, &vectors)).await;
    if let Err(error) = encoded {
        tracing::error!(%error, "tools could not be encoded; they are found by their words only");
        return None;
    }
    tokio::time::sleep(began.elapsed()).await;
    Some(made)
}

/// All indexes take in what there is.
async fn improve(selector: &Arc<Selector>) {
    for indexed in selector.indexes.all() {
        let vectors = Arc::clone(&selector.vectors);
        tokio::task::spawn_blocking(move || indexed.improve(&vectors)).await.ok();
    }
    count(selector);
}

fn count(selector: &Selector) {
    let progress = selector.indexes.all().iter().map(|indexed| indexed.progress()).max();
    let (indexed, encoded) = progress.unwrap_or_default();
    selector.metrics.tools(indexed, encoded);
}

//! What the selector does in the background: it loads models, builds indexes and computes vectors
//! bit by bit, so that a hub with thousands of tools can answer meanwhile.

use std::sync::Arc;
use std::time::Instant;

use mcphub_hub_catalog::visibility::VisibleTools;

use super::{Selector, index};

/// How many tools are encoded at a time.
const BATCH: usize = 16;
/// Indexes take in new vectors after this many of them, and at the end.
const IMPROVE_AFTER: usize = 256;

impl Selector {
    /// Drops models and indexes, because nobody can reach search.
    pub fn unload(&self) {
        self.models.set_wanted(false);
        self.indexes.retain(&[], &self.vectors);
        self.metrics.set_tools(0, 0);
        self.rankings_changed.notify_one();
    }

    /// Loads the models and indexes each of these sets of tools. Other indexes are dropped.
    pub async fn index_all(&self, views: &[Arc<VisibleTools>]) {
        self.models.set_wanted(true);
        let models = match self.models.get().await {
            Ok(models) => models,
            Err(error) => return tracing::error!(%error, "failed to start search"),
        };
        for visible in views {
            if let Err(error) = self.index(visible, &models).await {
                tracing::error!(%error, "failed to index tools");
            }
        }
        let keys: Vec<u64> = views.iter().map(|visible| index::key(visible)).collect();
        self.indexes.retain(&keys, &self.vectors);
        self.export_progress();
        self.rankings_changed.notify_one();
    }

    /// Computes missing vectors whenever there may be some. Never completes.
    pub async fn encode_missing_vectors(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            let mut fresh = 0;
            while let Some(encoded) = self.encode_batch().await {
                fresh += encoded;
                if fresh >= IMPROVE_AFTER {
                    fresh = 0;
                    self.improve_indexes().await;
                }
            }
            self.improve_indexes().await;
            self.rankings_changed.notify_one();
        }
    }

    /// Computes some vectors and returns how many; `None` if none is missing. Rests as long as that
    /// took, because requests come first.
    async fn encode_batch(&self) -> Option<usize> {
        let models = self.models.ready()?;
        let missing = |index: &Arc<index::ToolIndex>| {
            let positions = index.missing(&self.vectors, BATCH);
            (!positions.is_empty()).then(|| (Arc::clone(index), positions))
        };
        let (index, positions) = self.indexes.all().iter().find_map(missing)?;
        let (start, vectors, count) = (Instant::now(), Arc::clone(&self.vectors), positions.len());
        let encoded =
            tokio::task::spawn_blocking(move || index.encode(&positions, &models, &vectors)).await;
        if let Err(error) = encoded {
            tracing::error!(%error, "failed to encode tools, they are found by their words only");
            return None;
        }
        tokio::time::sleep(start.elapsed()).await;
        Some(count)
    }

    async fn improve_indexes(&self) {
        for index in self.indexes.all() {
            let vectors = Arc::clone(&self.vectors);
            tokio::task::spawn_blocking(move || index.improve(&vectors)).await.ok();
        }
        self.export_progress();
    }

    fn export_progress(&self) {
        let progress = self.indexes.all().iter().map(|index| index.progress()).max();
        let (indexed, encoded) = progress.unwrap_or_default();
        self.metrics.set_tools(indexed, encoded);
    }
}

//! One index for each set of visible tools that somebody searches.
//!
//! A single index of all tools would be smaller, but then tools that a caller may not know of would
//! influence the scores of the tools that it may know of.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_select::embedded::{Digest, Doc, Index, Models, Vector};

/// How many indexes are kept. The least recently used one is dropped first.
const MAX_INDEXES: usize = 8;

/// Vectors of tools, by a digest of the text that they were computed from.
pub(super) type Vectors = DashMap<Digest, Arc<Vector>>;

/// The index of one set of visible tools. Positions are positions in that set.
pub(super) struct ToolIndex {
    /// See [`key`].
    pub(super) key: u64,
    tools: Vec<Arc<Tool>>,
    digests: Vec<Digest>,
    index: ArcSwap<Index>,
}

/// The texts of a tool that are searched.
fn doc(tool: &Tool) -> Doc<'_> {
    Doc {
        server: &tool.server_name,
        name: &tool.bare,
        description: &tool.description,
        schema: tool.input_schema(),
    }
}

/// Changes with every text of the tool that is searched.
pub(super) fn digest(tool: &Tool) -> Digest {
    doc(tool).digest()
}

/// Equal for sets of the same tools in the same order, which have the same index.
pub(super) fn key(visible: &VisibleTools) -> u64 {
    let mut hasher = DefaultHasher::new();
    for tool in &visible.tools {
        (tool.digest, &tool.server_name).hash(&mut hasher);
    }
    hasher.finish()
}

impl ToolIndex {
    /// Indexes words, and the vectors that exist already.
    pub(super) fn build(
        key: u64,
        visible: &VisibleTools,
        models: &Models,
        vectors: &Vectors,
    ) -> Self {
        let docs: Vec<Doc<'_>> = visible.tools.iter().map(|tool| doc(tool)).collect();
        let index = Index::build(&docs, models);
        let digests = index.digests().to_vec();
        let built = Self {
            key,
            tools: visible.tools.clone(),
            digests,
            index: ArcSwap::from_pointee(index),
        };
        if built.digests.iter().any(|digest| vectors.contains_key(digest)) {
            built.improve(vectors);
        }
        built
    }

    /// Takes in new vectors.
    pub(super) fn improve(&self, vectors: &Vectors) {
        let better = self
            .index
            .load()
            .with_vectors(|digest| vectors.get(digest).map(|vector| Arc::clone(vector.value())));
        self.index.store(Arc::new(better));
    }

    pub(super) fn current(&self) -> Arc<Index> {
        self.index.load_full()
    }

    /// The positions of at most `max` tools without a vector.
    pub(super) fn missing(&self, vectors: &Vectors, max: usize) -> Vec<usize> {
        let missing =
            self.digests.iter().enumerate().filter(|(_, digest)| !vectors.contains_key(*digest));
        missing.map(|(position, _)| position).take(max).collect()
    }

    /// Computes the vectors of these tools.
    pub(super) fn encode(&self, positions: &[usize], models: &Models, vectors: &Vectors) {
        let at = |position: &usize| {
            Some((doc(self.tools.get(*position)?), *self.digests.get(*position)?))
        };
        let (docs, digests): (Vec<Doc<'_>>, Vec<Digest>) = positions.iter().filter_map(at).unzip();
        for (digest, vector) in digests.into_iter().zip(models.encode_docs(&docs)) {
            vectors.insert(digest, Arc::new(vector));
        }
    }

    /// How many tools there are, and how many of them have a vector.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.digests.len(), self.index.load().vectors())
    }
}

/// All indexes, the most recently used one last.
#[derive(Default)]
pub(super) struct Indexes(Mutex<Vec<Arc<ToolIndex>>>);

impl Indexes {
    /// The index with this key, which counts as used.
    pub(super) fn get(&self, key: u64) -> Option<Arc<ToolIndex>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = all.iter().position(|index| index.key == key)?;
        let found = all.remove(position);
        all.push(Arc::clone(&found));
        Some(found)
    }

    /// Adds an index. The least recently used one is dropped for it.
    pub(super) fn insert(&self, index: Arc<ToolIndex>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.key != index.key);
        all.push(index);
        let excess = all.len().saturating_sub(MAX_INDEXES);
        all.drain(..excess);
    }

    /// All indexes, the most recently used one first.
    pub(super) fn all(&self) -> Vec<Arc<ToolIndex>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Drops the indexes that do not have these keys, and the vectors of tools that are in no
    /// index.
    pub(super) fn retain(&self, keys: &[u64], vectors: &Vectors) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|index| keys.contains(&index.key));
        let used: HashSet<Digest> =
            all.iter().flat_map(|index| index.digests.iter().copied()).collect();
        vectors.retain(|digest, _| used.contains(digest));
    }
}

//! What is searched: an index for each visible that somebody asks in.
//!
//! One for all visible_tools would be smaller, but the tools that a caller may not know of would then weigh on the scores of
//! those that it may.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_select::embedded::{Digest, Doc, Index, Models, Vector};

/// Most visible_tools that are indexed at a time; the one asked in longest ago goes first.
const MOST: usize = 8;

/// Vectors of tools by what they were made of.
pub(super) type Vectors = DashMap<Digest, Arc<Vector>>;

/// The tools of one visible, indexed. Positions are those of the visible.
pub(super) struct Indexed {
    /// Of the visible; see [`key_of`].
    pub(super) key: u64,
    tools: Vec<Arc<Tool>>,
    digests: Vec<Digest>,
    index: ArcSwap<Index>,
}

/// What is searched of a tool.
fn doc(tool: &Tool) -> Doc<'_> {
    Doc {
        server: &tool.server_name,
        name: &tool.bare,
        description: &tool.description,
        schema: tool.input_schema(),
    }
}

/// Tells tools apart by all that is searched of them.
pub(super) fn digest_of(tool: &Tool) -> Digest {
    doc(tool).digest()
}

/// The same for visible_tools whose tools are the same in the same order, and so have the same index.
pub(super) fn key_of(visible: &VisibleTools) -> u64 {
    let mut hasher = DefaultHasher::new();
    for tool in &visible.tools {
        (tool.digest, &tool.server_name).hash(&mut hasher);
    }
    hasher.finish()
}

impl Indexed {
    /// By words at once, and by the vectors that are there already.
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

    /// Takes in the vectors that have come.
    pub(super) fn improve(&self, vectors: &Vectors) {
        let better = self
            .index
            .load()
            .with_vectors(|digest| vectors.get(digest).map(|vector| Arc::clone(vector.value())));
        self.index.store(Arc::new(better));
    }

    /// The index as good as it is now.
    pub(super) fn index(&self) -> Arc<Index> {
        self.index.load_full()
    }

    /// Positions of tools without vector, at most so many.
    pub(super) fn missing(&self, vectors: &Vectors, most: usize) -> Vec<usize> {
        let missing =
            self.digests.iter().enumerate().filter(|(_, digest)| !vectors.contains_key(*digest));
        missing.map(|(position, _)| position).take(most).collect()
    }

    /// Makes the vectors of these tools.
    pub(super) fn encode(&self, positions: &[usize], models: &Models, vectors: &Vectors) {
        let at = |position: &usize| {
            Some((doc(self.tools.get(*position)?), *self.digests.get(*position)?))
        };
        let (docs, digests): (Vec<Doc<'_>>, Vec<Digest>) = positions.iter().filter_map(at).unzip();
        for (digest, vector) in digests.into_iter().zip(models.encode_docs(&docs)) {
            vectors.insert(digest, Arc::new(vector));
        }
    }

    /// Tools, and how many of them are searched by meaning too.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.digests.len(), self.index.load().vectors())
    }
}

/// The indexes in use.
#[derive(Default)]
pub(super) struct Indexes(Mutex<Vec<Arc<Indexed>>>);

impl Indexes {
    /// The index of this visible, which is used now.
    pub(super) fn get(&self, key: u64) -> Option<Arc<Indexed>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = all.iter().position(|indexed| indexed.key == key)?;
        let found = all.remove(position);
        all.push(Arc::clone(&found));
        Some(found)
    }

    /// Adds one; the one used longest ago goes for it.
    pub(super) fn put(&self, indexed: Arc<Indexed>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.key != indexed.key);
        all.push(indexed);
        let excess = all.len().saturating_sub(MOST);
        all.drain(..excess);
    }

    /// All of them, the one used last first.
    pub(super) fn all(&self) -> Vec<Arc<Indexed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Forgets those that are not of these visible_tools, as after a change of the catalog, and the vectors of tools that
    /// are in none.
    pub(super) fn keep(&self, keys: &[u64], vectors: &Vectors) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|indexed| keys.contains(&indexed.key));
        let used: HashSet<Digest> =
            all.iter().flat_map(|indexed| indexed.digests.iter().copied()).collect();
        vectors.retain(|digest, _| used.contains(digest));
    }
}

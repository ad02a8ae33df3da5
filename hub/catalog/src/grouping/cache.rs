//! Groups that were built before. Rendering those of 10,000 tools takes half a second, and most
//! callers see the same tools of a server.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::VisibleTool;
use super::group::ToolGroup;
use crate::catalog::Tool;

/// The least capacity, in bytes of definitions: budgets and sessions ask for many parts of even a
/// small catalog.
const MIN_BYTES: u64 = 4 << 20;
/// Initial capacity; the cache may grow past it.
const INITIAL_GROUPS: usize = 64;

/// What a group is built from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub name: &'a str,
    /// `None` for the tools of a server.
    pub category: Option<&'a str>,
    pub tools: &'a [VisibleTool<'a>],
}

/// The groups of one catalog, shared by all callers. It is bounded, because access rules, budgets
/// and sessions ask for many parts of a server's tools.
#[derive(Debug)]
pub struct GroupCache(Mutex<Cache<u64, Arc<ToolGroup>, DefinitionBytes>>);

/// A group weighs what the definitions of its tools weigh.
#[derive(Debug, Clone)]
struct DefinitionBytes;

impl Weighter<u64, Arc<ToolGroup>> for DefinitionBytes {
    fn weight(&self, _: &u64, group: &Arc<ToolGroup>) -> u64 {
        definition_bytes(&group.tools)
    }
}

impl Default for GroupCache {
    fn default() -> Self {
        Self::new(&[], None)
    }
}

impl GroupCache {
    /// A cache for a catalog of these tools, with the groups of `before` that still consist of
    /// them. Its capacity is every list of all tools, twice.
    pub fn new(tools: &[Arc<Tool>], before: Option<&Self>) -> Self {
        let capacity = definition_bytes(tools).saturating_mul(2).max(MIN_BYTES);
        let mut groups = Cache::with_weighter(INITIAL_GROUPS, capacity, DefinitionBytes);
        let existing: HashSet<*const Tool> = tools.iter().map(Arc::as_ptr).collect();
        for (digest, group) in before.map(Self::groups).unwrap_or_default() {
            if group.tools.iter().all(|tool| existing.contains(&Arc::as_ptr(tool))) {
                groups.insert(digest, group);
            }
        }
        Self(Mutex::new(groups))
    }

    /// The group of this key, the same for every caller.
    pub(super) fn get(&self, key: Key<'_>) -> Arc<ToolGroup> {
        let digest = key.digest();
        let mut groups = self.lock();
        if let Some(group) = groups.get(&digest).filter(|group| key.is_of(group)) {
            return Arc::clone(group);
        }
        let group = Arc::new(key.build());
        groups.insert(digest, Arc::clone(&group));
        group
    }

    fn groups(&self) -> Vec<(u64, Arc<ToolGroup>)> {
        self.lock().iter().map(|(digest, group)| (*digest, Arc::clone(group))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Cache<u64, Arc<ToolGroup>, DefinitionBytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key<'_> {
    /// Two tools are the same if they are the same object. A group keeps its tools alive, so a
    /// pointer is not reused.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.name, self.category).hash(&mut hasher);
        for (_, tool) in self.tools {
            Arc::as_ptr(tool).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn is_of(&self, group: &ToolGroup) -> bool {
        let Self { name, category, tools } = self;
        let same = |((_, tool), other): (&VisibleTool<'_>, &Arc<Tool>)| Arc::ptr_eq(tool, other);
        group.name == *name
            && group.category.as_deref() == *category
            && group.tools.len() == tools.len()
            && tools.iter().zip(&group.tools).all(same)
    }

    fn build(&self) -> ToolGroup {
        let tools = self.tools.iter().map(|(_, tool)| Arc::clone(tool)).collect();
        ToolGroup::new(self.name.to_owned(), self.category.map(str::to_owned), tools)
    }
}

fn definition_bytes(tools: &[Arc<Tool>]) -> u64 {
    tools.iter().map(|tool| tool.definition.len() as u64).sum()
}

//! Entries that were made before. Writing those of ten thousand tools takes half a second, and most callers see the same
//! tools of a server.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::Placed;
use super::entry::Entry;
use crate::catalog::Tool;

/// Bytes of definitions there is room for in a small catalog: budgets and sessions ask for many parts of it.
const LEAST_BYTES: u64 = 4 << 20;
/// Entries that are thought of at first; more of them are no harm.
const ENTRIES: usize = 64;

/// What an entry follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub name: &'a str,
    /// `None` for the tools of a server.
    pub category: Option<&'a str>,
    pub tools: &'a [Placed<'a>],
}

/// Entries of one catalog, shared by all visible_tools of it. Bounded: access rules, budgets and sessions give many parts of a
/// server's tools.
#[derive(Debug)]
pub(crate) struct Kept(Mutex<Cache<u64, Arc<Entry>, Bytes>>);

/// An entry weighs what its tools' definitions do.
#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<u64, Arc<Entry>> for Bytes {
    fn weight(&self, _: &u64, entry: &Arc<Entry>) -> u64 {
        definitions(&entry.tools)
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self::of(&[], None)
    }
}

impl Kept {
    /// For a catalog of these tools, with what is of use of those that were kept `before`. There is room for every list
    /// of all of them, twice.
    pub(crate) fn of(tools: &[Arc<Tool>], before: Option<&Self>) -> Self {
        let room = definitions(tools).saturating_mul(2).max(LEAST_BYTES);
        let mut entries = Cache::with_weighter(ENTRIES, room, Bytes);
        let same: HashSet<*const Tool> = tools.iter().map(Arc::as_ptr).collect();
        for (digest, entry) in
            before.iter().flat_map(|before| before.lock().iter().map(owned).collect::<Vec<_>>())
        {
            if entry.tools.iter().all(|tool| same.contains(&Arc::as_ptr(tool))) {
                entries.insert(digest, entry);
            }
        }
        Self(Mutex::new(entries))
    }

    /// The entry of this key, the same for all who ask.
    pub(super) fn entry(&self, key: Key<'_>) -> Arc<Entry> {
        let digest = key.digest();
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&digest).filter(|entry| key.is_of(entry)) {
            return Arc::clone(entry);
        }
        let entry = Arc::new(key.entry());
        entries.insert(digest, Arc::clone(&entry));
        entry
    }

    fn lock(&self) -> MutexGuard<'_, Cache<u64, Arc<Entry>, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owned((digest, entry): (&u64, &Arc<Entry>)) -> (u64, Arc<Entry>) {
    (*digest, Arc::clone(entry))
}

impl Key<'_> {
    /// Tools are the same where they are the same object, which an entry keeps alive.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.name, self.category).hash(&mut hasher);
        for (_, tool) in self.tools {
            Arc::as_ptr(tool).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn is_of(&self, entry: &Entry) -> bool {
        let Self { name, category, tools } = self;
        let same = |((_, tool), of): (&Placed<'_>, &Arc<Tool>)| Arc::ptr_eq(tool, of);
        entry.name == *name
            && entry.category.as_deref() == *category
            && entry.tools.len() == tools.len()
            && tools.iter().zip(&entry.tools).all(same)
    }

    fn entry(&self) -> Entry {
        let tools = self.tools.iter().map(|(_, tool)| Arc::clone(tool)).collect();
        Entry::of(self.name.to_owned(), self.category.map(str::to_owned), tools)
    }
}

fn definitions(tools: &[Arc<Tool>]) -> u64 {
    tools.iter().map(|tool| tool.definition.len() as u64).sum()
}

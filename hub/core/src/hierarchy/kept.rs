//! Entries that were made before. Writing those of ten thousand tools takes half a second, and most callers see the same
//! tools of a server.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Placed;
use super::entry::Entry;
use crate::catalogue::Tool;

/// A small catalogue's room for each generation: budgets and sessions ask for many parts of it.
const LEAST_BYTES: usize = 2 << 20;

/// What an entry follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub name: &'a str,
    /// `None` for the tools of a server.
    pub category: Option<&'a str>,
    pub tools: &'a [Placed<'a>],
}

/// Entries of one catalogue, shared by all sights of it. Bounded: access rules, budgets and sessions give many parts of a
/// server's tools.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Bytes of definitions of all tools: there is room for every list of all of them.
    whole: usize,
    generations: Mutex<Generations>,
}

/// What nobody asked for while the young ones filled their room goes with the old.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Arc<Entry>>,
    /// Of definitions of the tools of the young.
    bytes: usize,
    old: HashMap<u64, Arc<Entry>>,
}

impl Kept {
    /// For a catalogue of these tools, with what is of use of those that were kept `before`.
    pub(crate) fn of(tools: &[Arc<Tool>], before: Option<&Self>) -> Self {
        let same: HashSet<*const Tool> = tools.iter().map(Arc::as_ptr).collect();
        let is_of_use = |entry: &Arc<Entry>| entry.tools.iter().all(|tool| same.contains(&Arc::as_ptr(tool)));
        let of_use = |kept: &HashMap<u64, Arc<Entry>>| -> HashMap<u64, Arc<Entry>> {
            let kept = kept.iter().filter(|(_, entry)| is_of_use(entry));
            kept.map(|(digest, entry)| (*digest, Arc::clone(entry))).collect()
        };
        let generations = before.map(|before| {
            let Generations { young, old, .. } = &*before.lock();
            let young = of_use(young);
            let bytes = young.values().map(|entry| definitions(&entry.tools)).sum();
            Generations { young, bytes, old: of_use(old) }
        });
        Self { whole: definitions(tools), generations: Mutex::new(generations.unwrap_or_default()) }
    }

    /// The entry of this key, the same for all who ask.
    pub(super) fn entry(&self, key: Key<'_>) -> Arc<Entry> {
        let digest = key.digest();
        let mut generations = self.lock();
        let Generations { young, bytes, old } = &mut *generations;
        if let Some(entry) = young.get(&digest).filter(|entry| key.is_of(entry)) {
            return Arc::clone(entry);
        }
        let kept = old.remove(&digest).filter(|entry| key.is_of(entry));
        let entry = kept.unwrap_or_else(|| Arc::new(key.entry()));
        let added = definitions(&entry.tools);
        if *bytes + added > self.whole.max(LEAST_BYTES) {
            (*old, *bytes) = (mem::take(young), 0);
        }
        *bytes += added;
        young.insert(digest, Arc::clone(&entry));
        entry
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

fn definitions(tools: &[Arc<Tool>]) -> usize {
    tools.iter().map(|tool| tool.definition.len()).sum()
}

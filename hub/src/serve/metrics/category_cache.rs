//! How often the category of a tool was known already when a new catalog needed it.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub struct CategoryCache {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CategoryCache {
    /// Records a new catalog: how many of its tools had a category before, and how many have one
    /// now.
    pub fn record(&self, before: usize, now: usize) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        if now > 0 {
            self.hits.fetch_add(count(before), Ordering::Relaxed);
            self.misses.fetch_add(count(now.saturating_sub(before)), Ordering::Relaxed);
        }
    }

    /// How many categories were known, and how many were needed.
    pub fn hits_of_lookups(&self) -> (u64, u64) {
        let hits = self.hits.load(Ordering::Relaxed);
        (hits, hits + self.misses.load(Ordering::Relaxed))
    }
}

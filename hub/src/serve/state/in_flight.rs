//! How many requests are under way, against a bound that may change while they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the requests that are under way.
#[derive(Debug, Default)]
pub struct Places(Arc<AtomicU32>);

/// The place of a request, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicU32>);

impl Places {
    /// A place, unless so many are taken. A bound that was lowered below what is under way ends nothing; it is kept as
    /// soon as enough has ended.
    pub fn take(&self, most: u32) -> Option<Place> {
        let more = |taken: u32| (taken < most).then(|| taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_changes_counts_at_once_and_what_is_under_way_stays() {
        let places = Places::default();
        let (first, second) = (places.take(2).unwrap(), places.take(2).unwrap());
        assert!(places.take(2).is_none());
        let third = places.take(3).unwrap();
        drop(first);
        assert!(places.take(1).is_none(), "two are under way");
        drop((second, third));
        assert!(places.take(1).is_some());
    }
}

//! How many requests are in flight, against a limit that may change while they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the requests in flight.
#[derive(Debug, Default)]
pub struct InFlight(Arc<AtomicU32>);

/// Counts as one request in flight until it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicU32>);

impl InFlight {
    /// A permit, unless `limit` requests are in flight. A lowered limit ends no request; it holds
    /// as soon as enough have ended.
    pub fn try_acquire(&self, limit: u32) -> Option<Permit> {
        let more = |count: u32| (count < limit).then(|| count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Permit(Arc::clone(&self.0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_limit_applies_at_once_and_ends_no_request() {
        let in_flight = InFlight::default();
        let first = in_flight.try_acquire(2).unwrap();
        let second = in_flight.try_acquire(2).unwrap();
        assert!(in_flight.try_acquire(2).is_none());
        let third = in_flight.try_acquire(3).unwrap();
        drop(first);
        assert!(in_flight.try_acquire(1).is_none(), "two are in flight");
        drop((second, third));
        assert!(in_flight.try_acquire(1).is_some());
    }
}

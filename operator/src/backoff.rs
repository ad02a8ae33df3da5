//! How long to wait before trying again, per hub.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::stores::HubName;

const FIRST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_mins(1);

/// Failures in a row, by hub.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<HubName, u32>>);

impl Backoff {
    /// Counts a failure, and answers how long to wait; up to a half of it is chance, so that hubs that failed together
    /// do not come back together.
    pub fn failed(&self, hub: &HubName) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(hub.clone()).or_default();
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(MOST);
        *count = count.saturating_add(1);
        wait.mul_f64(0.5 + 0.5 * rand::random::<f64>())
    }

    /// Counts a conflict; the first `at_once` failures in a row need no wait.
    pub fn conflicted(&self, hub: &HubName, at_once: u32) -> Duration {
        let wait = self.failed(hub);
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.get(hub).is_some_and(|count| *count <= at_once) { Duration::ZERO } else { wait }
    }

    /// A success: the next failure is a first one.
    pub fn succeeded(&self, hub: &HubName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hub);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(name: &str) -> HubName {
        HubName { namespace: "ai".into(), name: name.into() }
    }

    // A cache that is late must not cost a second; two writers must not burn the API server.
    #[test]
    fn conflicts_are_tried_again_at_once_but_not_for_ever() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..3).map(|_| backoff.conflicted(&hub("a"), 2)).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 2);
        assert!(!waits.last().unwrap().is_zero());
    }

    #[test]
    fn waits_double_up_to_a_minute_and_one_hubs_trouble_is_not_anothers() {
        let backoff = Backoff::default();
        for _ in 0..40 {
            assert!(backoff.failed(&hub("bad")) <= MOST);
        }
        assert!(backoff.failed(&hub("bad")) >= MOST / 2);
        assert!(backoff.failed(&hub("good")) <= FIRST);
        backoff.succeeded(&hub("bad"));
        assert!(backoff.failed(&hub("bad")) <= FIRST);
    }
}

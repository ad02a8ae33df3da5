//! How long each hub waits before its next attempt.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::stores::HubName;

const INITIAL_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_mins(1);

/// Consecutive failures per hub.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<HubName, u32>>);

impl Backoff {
    /// Counts a failure and returns the delay before the next attempt.
    ///
    /// Up to half of the delay is random, so that hubs that failed together do not retry together.
    pub(crate) fn record_failure(&self, hub: &HubName) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(hub.clone()).or_default();
        let delay = INITIAL_DELAY.saturating_mul(2_u32.saturating_pow(*count)).min(MAX_DELAY);
        *count = count.saturating_add(1);
        delay.mul_f64(0.5 + 0.5 * rand::random::<f64>())
    }

    /// Counts a conflict. The first `immediate_retries` consecutive failures have no delay.
    pub(crate) fn record_conflict(&self, hub: &HubName, immediate_retries: u32) -> Duration {
        let delay = self.record_failure(hub);
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.get(hub).is_some_and(|count| *count <= immediate_retries) {
            Duration::ZERO
        } else {
            delay
        }
    }

    /// Number of consecutive failures.
    pub(crate) fn failures(&self, hub: &HubName) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hub).copied().unwrap_or_default()
    }

    /// Forgets the hub's failures, because it was reconciled or is gone.
    pub(crate) fn reset(&self, hub: &HubName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hub);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(name: &str) -> HubName {
        HubName { namespace: "ai".into(), name: name.into() }
    }

    // A stale cache must not cost a second, but two competing writers must not flood the API
    // server.
    #[test]
    fn conflicts_are_retried_immediately_but_only_a_few_times() {
        let backoff = Backoff::default();
        let delays: Vec<_> = (0..3).map(|_| backoff.record_conflict(&hub("a"), 2)).collect();
        assert_eq!(delays.iter().filter(|delay| delay.is_zero()).count(), 2);
        assert!(!delays.last().unwrap().is_zero());
    }

    #[test]
    fn delays_double_up_to_a_minute_and_a_failing_hub_does_not_delay_another() {
        let backoff = Backoff::default();
        for _ in 0..40 {
            assert!(backoff.record_failure(&hub("bad")) <= MAX_DELAY);
        }
        assert!(backoff.record_failure(&hub("bad")) >= MAX_DELAY / 2);
        assert!(backoff.record_failure(&hub("good")) <= INITIAL_DELAY);
        backoff.reset(&hub("bad"));
        assert!(backoff.record_failure(&hub("bad")) <= INITIAL_DELAY);
    }
}

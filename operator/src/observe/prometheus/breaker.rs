//! Stops asking a Prometheus that does not answer, so that hubs do not wait for it and it is not
//! flooded when it comes back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// Consecutive failures after which it is not asked for a while.
const FAILURES: u32 = 3;
/// How long it is not asked, at first and at most. The pause ends with one query.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// The circuit breaker of one Prometheus.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug)]
struct State {
    failures: u32,
    /// It is not asked before this instant.
    closed_from: Option<Instant>,
    pauses: ExponentialBackoff,
}

impl Default for State {
    fn default() -> Self {
        let (first, most) = PAUSE;
        let pauses = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(most)
            .without_max_times();
        Self { failures: 0, closed_from: None, pauses: pauses.build() }
    }
}

impl Breaker {
    /// Whether a query may be sent now. After a pause that is one query until it has ended.
    pub(super) fn admits(&self) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        match state.closed_from {
            None => true,
            Some(from) if now < from => false,
            Some(_) => {
                state.pause(now);
                true
            }
        }
    }

    /// Records whether an answer came, also one that is an error. Returns whether this began or
    /// ended the time in which it is not asked.
    pub(super) fn record(&self, answered: bool) -> bool {
        let mut state = self.lock();
        let was_open = state.closed_from.is_some();
        if answered {
            *state = State::default();
            return was_open;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return false;
        }
        if !was_open {
            state.pause(Instant::now());
        }
        !was_open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&mut self, now: Instant) {
        let pause = self.pauses.next().unwrap_or(PAUSE.1);
        self.closed_from = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_three_failures_it_is_asked_once_in_growing_pauses() {
        let breaker = Breaker::default();
        let began: Vec<_> = (0..3).map(|_| breaker.record(false)).collect();
        assert_eq!(began, [false, false, true]);
        let mut admitted = Vec::new();
        for second in 0..20 {
            if breaker.admits() {
                admitted.push(second);
                assert!(!breaker.record(false));
            }
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(admitted, [1, 3, 7, 15]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_ends_the_pauses() {
        let breaker = Breaker::default();
        for _ in 0..5 {
            breaker.record(false);
        }
        assert!(!breaker.admits());
        advance(Duration::from_secs(2)).await;
        assert_eq!((breaker.admits(), breaker.admits()), (true, false));
        assert!(breaker.record(true));
        assert_eq!((breaker.admits(), breaker.admits()), (true, true));
    }
}

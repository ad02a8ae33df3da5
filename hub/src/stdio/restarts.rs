//! Delays the starts of a server that keeps ending.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// A server that ran this long is healthy, and its next start is not delayed.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Restarts(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None` after a healthy run.
    delays: Option<ExponentialBackoff>,
    not_before: Option<Instant>,
}

impl Restarts {
    /// Notes that a server has ended by itself after this time.
    pub(super) fn record_end(&self, ran: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ran >= HEALTHY_AFTER {
            *state = State::default();
            return;
        }
        // The first restart is at once: most servers end once and not again.
        let delay = if let Some(delays) = &mut state.delays {
            delays.next()
        } else {
            state.delays = Some(delays());
            None
        };
        state.not_before = delay.map(|delay| Instant::now() + delay);
    }

    /// How long the next start has to wait. `None` if it may be now.
    pub(super) fn wait(&self) -> Option<Duration> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.not_before?.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }
}

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LAST_DELAY)
        .with_factor(2.0)
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_are_delayed_until_a_healthy_run() {
        let restarts = Restarts::default();
        let soon = Duration::from_secs(1);
        restarts.record_end(soon);
        assert_eq!(restarts.wait(), None);
        restarts.record_end(soon);
        let second = restarts.wait().unwrap();
        restarts.record_end(soon);
        assert!(restarts.wait().unwrap() > second);
        restarts.record_end(HEALTHY_AFTER);
        assert_eq!(restarts.wait(), None);
    }
}

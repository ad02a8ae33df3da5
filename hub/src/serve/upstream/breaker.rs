//! The circuit breaker of a server: after calls that failed in a row, the hub sends it none for a
//! while, so that callers need not wait for a server that hangs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::time::Instant;

use super::error::Error;
use crate::circuit_breaker::{BreakerPermit, CircuitBreaker};

/// Consecutive failures after which no call is sent.
const THRESHOLD: u32 = 5;
/// How long no call is sent. Then one is, as a probe.
const RESET: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct ServerBreaker {
    server: String,
    state: Mutex<State>,
    gauge: IntGauge,
    /// The moment from which the breaker counts time.
    epoch: Instant,
}

#[derive(Debug)]
struct State {
    breaker: CircuitBreaker,
    /// What the last failure was.
    cause: String,
}

/// A call in flight. If it is dropped before its end, its caller has gone, which says nothing about
/// the server.
#[derive(Debug)]
pub(super) struct BreakerGuard {
    breaker: Arc<ServerBreaker>,
    permit: Option<BreakerPermit>,
}

impl ServerBreaker {
    pub(super) fn new(server: &str, gauge: IntGauge) -> Arc<Self> {
        let breaker = CircuitBreaker::new(THRESHOLD, RESET);
        let state = Mutex::new(State { breaker, cause: String::new() });
        gauge.set(0);
        Arc::new(Self { server: server.to_owned(), state, gauge, epoch: Instant::now() })
    }

    /// Lets a call pass, or says why not.
    pub(super) fn acquire(self: &Arc<Self>) -> Result<BreakerGuard, Error> {
        let permit = self.with(|state, now| {
            state.breaker.acquire(now).map_err(|wait| Error::CircuitOpen {
                failures: state.breaker.failures(),
                cause: state.cause.clone(),
                wait,
            })
        })?;
        Ok(BreakerGuard { breaker: Arc::clone(self), permit: Some(permit) })
    }

    /// A server that was gone is back.
    pub(super) fn allow_probe(&self) {
        self.with(|state, now| state.breaker.allow_probe(now));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.breaker.state();
        let result = act(&mut state, self.epoch.elapsed());
        let after = state.breaker.state();
        if before.label() != after.label() {
            self.gauge.set(after.value());
            let (before, after, cause) = (before.label(), after.label(), &state.cause);
            tracing::warn!(server = self.server, before, after, cause, "circuit breaker changed");
        }
        result
    }
}

impl BreakerGuard {
    pub(super) fn succeed(mut self) {
        if let Some(permit) = self.permit.take() {
            self.breaker.with(|state, _| state.breaker.record_success(&permit));
        }
    }

    pub(super) fn fail(mut self, error: &Error) {
        let Some(permit) = self.permit.take() else { return };
        self.breaker.with(|state, now| {
            if error.trips_breaker() {
                state.cause = error.to_string();
                state.breaker.record_failure(&permit, now);
            } else if error.says_nothing() {
                state.breaker.record_abandoned(&permit, now);
            } else {
                state.breaker.record_success(&permit);
            }
        });
    }
}

impl Drop for BreakerGuard {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.breaker.with(|state, now| state.breaker.record_abandoned(&permit, now));
        }
    }
}

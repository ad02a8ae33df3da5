//! A circuit breaker, for MCP servers and language models. Times are arguments: the duration since
//! any fixed moment.

use std::time::Duration;

use prometheus::{IntGauge, Opts};

/// Closed: every request is sent. Open: none is. Half-open: one request is sent as a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CircuitBreaker {
    threshold: u32,
    reset: Duration,
    state: BreakerState,
    /// Consecutive failures.
    failures: u32,
    trips: u64,
    /// Counts the changes of state. The result of a request from before a change is ignored.
    transitions: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerState {
    Closed,
    Open {
        /// When the next request may be sent as a probe.
        until: Duration,
    },
    /// The probe is in flight.
    HalfOpen,
}

/// Permission to send one request. The result must be recorded with it.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct BreakerPermit(u64);

impl BreakerState {
    /// The name in `/api/filtering/stats` and in logs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half-open",
        }
    }

    /// The value of `mcp_hub_circuit_breaker_state`.
    pub(crate) fn value(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// The gauge of a breaker. Its label is a constant one, so that breakers come and go one by one.
pub(crate) fn gauge(server: &str) -> prometheus::Result<IntGauge> {
    let opts = Opts::new("mcp_hub_circuit_breaker_state", "0 closed, 1 half open, 2 open");
    IntGauge::with_opts(opts.const_label("server", server))
}

impl CircuitBreaker {
    /// A closed breaker. It opens after `threshold` consecutive failures, for the duration `reset`.
    pub(crate) fn new(threshold: u32, reset: Duration) -> Self {
        Self {
            threshold: threshold.max(1),
            reset,
            state: BreakerState::Closed,
            failures: 0,
            trips: 0,
            transitions: 0,
        }
    }

    /// Permission to send a request now, or how long the breaker stays open.
    pub(crate) fn acquire(&mut self, now: Duration) -> Result<BreakerPermit, Duration> {
        match self.state {
            BreakerState::Closed => Ok(BreakerPermit(self.transitions)),
            BreakerState::Open { until } if until > now => Err(until.saturating_sub(now)),
            BreakerState::Open { .. } => {
                self.transition(BreakerState::HalfOpen);
                Ok(BreakerPermit(self.transitions))
            }
            BreakerState::HalfOpen => Err(Duration::ZERO),
        }
    }

    pub(crate) fn record_success(&mut self, permit: &BreakerPermit) {
        if permit.0 == self.transitions {
            self.failures = 0;
            if self.state != BreakerState::Closed {
                self.transition(BreakerState::Closed);
            }
        }
    }

    pub(crate) fn record_failure(&mut self, permit: &BreakerPermit, now: Duration) {
        if permit.0 != self.transitions {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.state == BreakerState::HalfOpen || self.failures >= self.threshold {
            self.trips += 1;
            self.transition(BreakerState::Open { until: now.saturating_add(self.reset) });
        }
    }

    /// The caller went away before the result was known. Without this call, such a probe would
    /// leave the breaker half-open forever.
    pub(crate) fn record_abandoned(&mut self, permit: &BreakerPermit, now: Duration) {
        if permit.0 == self.transitions && self.state == BreakerState::HalfOpen {
            self.transition(BreakerState::Open { until: now });
        }
    }

    /// There is a sign that requests may succeed again: if the breaker is open, the next one is a
    /// probe.
    pub(crate) fn allow_probe(&mut self, now: Duration) {
        if let BreakerState::Open { until } = &mut self.state {
            *until = now.min(*until);
        }
    }

    /// The current state. An open breaker stays [`BreakerState::Open`] until a probe is sent.
    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }

    /// Consecutive failures.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How often the breaker has opened.
    pub(crate) fn trips(&self) -> u64 {
        self.trips
    }

    fn transition(&mut self, state: BreakerState) {
        self.state = state;
        self.transitions += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RESET: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn open_at(now: Duration) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(2, RESET);
        let (a, b) = (breaker.acquire(now).unwrap(), breaker.acquire(now).unwrap());
        breaker.record_failure(&a, now);
        breaker.record_failure(&b, now);
        breaker
    }

    #[test]
    fn consecutive_failures_open_the_breaker_and_failures_around_a_success_do_not() {
        let mut breaker = CircuitBreaker::new(2, RESET);
        for failed in [true, false, true] {
            let permit = breaker.acquire(at(0)).unwrap();
            if failed {
                breaker.record_failure(&permit, at(0));
            } else {
                breaker.record_success(&permit);
            }
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        let permit = breaker.acquire(at(1)).unwrap();
        breaker.record_failure(&permit, at(1));
        assert_eq!((breaker.state(), breaker.trips()), (BreakerState::Open { until: at(31) }, 1));
        assert_eq!(breaker.acquire(at(11)), Err(at(20)));
    }

    #[test]
    fn after_the_reset_timeout_one_probe_closes_or_opens_the_breaker() {
        let mut breaker = open_at(at(0));
        let permit = breaker.acquire(at(30)).unwrap();
        assert_eq!(breaker.acquire(at(30)), Err(at(0)), "a second one must wait");
        breaker.record_success(&permit);
        assert_eq!((breaker.state(), breaker.failures()), (BreakerState::Closed, 0));
        let mut breaker = open_at(at(0));
        let permit = breaker.acquire(at(30)).unwrap();
        breaker.record_failure(&permit, at(32));
        assert_eq!((breaker.state(), breaker.trips()), (BreakerState::Open { until: at(62) }, 2));
    }

    #[test]
    fn after_an_abandoned_probe_the_next_request_is_a_probe() {
        let mut breaker = open_at(at(0));
        let permit = breaker.acquire(at(30)).unwrap();
        breaker.record_abandoned(&permit, at(31));
        assert!(breaker.acquire(at(31)).is_ok());
    }

    #[test]
    fn after_a_sign_of_life_the_next_request_is_a_probe() {
        let mut breaker = open_at(at(0));
        breaker.allow_probe(at(1));
        let permit = breaker.acquire(at(1)).unwrap();
        assert!(breaker.acquire(at(1)).is_err(), "only one");
        breaker.record_failure(&permit, at(2));
        assert_eq!(breaker.state(), BreakerState::Open { until: at(32) });
    }

    // A slow success could otherwise close the breaker of a provider that is down.
    #[test]
    fn a_success_of_a_request_from_before_the_breaker_opened_does_not_close_it() {
        let mut breaker = CircuitBreaker::new(1, RESET);
        let (slow, fast) = (breaker.acquire(at(0)).unwrap(), breaker.acquire(at(0)).unwrap());
        breaker.record_failure(&fast, at(0));
        breaker.record_success(&slow);
        assert_eq!(breaker.state(), BreakerState::Open { until: RESET });
    }

    proptest! {
        #[test]
        fn an_open_breaker_lets_one_probe_through_after_its_timeout(
            steps in prop::collection::vec((0_u64..20, 0_u8..4), 1..200),
            threshold in 1_u32..5,
        ) {
            let mut breaker = CircuitBreaker::new(threshold, RESET);
            let mut now = Duration::ZERO;
            let mut under_way: Vec<BreakerPermit> = Vec::new();
            let mut row = 0;
            for (wait, step) in steps {
                now += at(wait);
                let before = breaker.state();
                let ask = step == 0 || under_way.is_empty();
                let permit = if ask { breaker.acquire(now).ok() } else { None };
                match (permit, before) {
                    (Some(permit), BreakerState::Open { until }) => {
                        prop_assert!(until <= now);
                        prop_assert_eq!(breaker.state(), BreakerState::HalfOpen);
                        under_way.push(permit);
                    }
                    (Some(permit), state) => {
                        prop_assert_eq!(state, BreakerState::Closed);
                        under_way.push(permit);
                    }
                    (None, _) => {
                        let Some(permit) = under_way.pop() else { continue };
                        let current = permit.0 == breaker.transitions;
                        match step {
                            1 => { breaker.record_success(&permit); if current { row = 0; } }
                            2 => { breaker.record_failure(&permit, now); if current { row += 1; } }
                            _ => breaker.record_abandoned(&permit, now),
                        }
                        if !current {
                            prop_assert_eq!(breaker.state(), before, "the past changes nothing");
                        } else if before == BreakerState::Closed {
                            let closed = breaker.state() == BreakerState::Closed;
                            prop_assert_eq!(closed, row < threshold);
                        }
                        if breaker.state() == BreakerState::Closed {
                            prop_assert!(breaker.failures() < threshold);
                        }
                    }
                }
            }
        }
    }
}

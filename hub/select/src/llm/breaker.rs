//! When a model is not asked any more. Time comes in: what has passed since any fixed moment.

use std::time::Duration;

/// Closed: all is asked. Open: nothing is. Half open: one question finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    threshold: u32,
    reset: Duration,
    state: State,
    /// In a row.
    failures: u32,
    trips: u64,
    /// Counts the changes of state: what was asked before one says nothing about what is now.
    version: u64,
}

/// State of a [`Breaker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All is asked.
    Closed,
    /// Nothing is asked before this moment.
    Open {
        /// When one question may find out.
        until: Duration,
    },
    /// One question is under way.
    HalfOpen,
}

/// Leave to ask. What came of it is told with it.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Leave(u64);

impl State {
    /// For answers and labels.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Breaker {
    /// Closed. Opens after so many failures in a row, for so long.
    pub fn new(threshold: u32, reset: Duration) -> Self {
        Self {
            threshold: threshold.max(1),
            reset,
            state: State::Closed,
            failures: 0,
            trips: 0,
            version: 0,
        }
    }

    /// Leave to ask now, or how long there is none.
    pub fn ask(&mut self, now: Duration) -> Result<Leave, Duration> {
        match self.state {
            State::Closed => Ok(Leave(self.version)),
            State::Open { until } if until > now => Err(until.saturating_sub(now)),
            State::Open { .. } => {
                self.becomes(State::HalfOpen);
                Ok(Leave(self.version))
            }
            State::HalfOpen => Err(Duration::ZERO),
        }
    }

    /// The model answered.
    pub fn succeeded(&mut self, leave: &Leave) {
        if leave.0 == self.version {
            self.failures = 0;
            if self.state != State::Closed {
                self.becomes(State::Closed);
            }
        }
    }

    /// It did not.
    pub fn failed(&mut self, leave: &Leave, now: Duration) {
        if leave.0 != self.version {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.state == State::HalfOpen || self.failures >= self.threshold {
            self.trips += 1;
            self.becomes(State::Open { until: now.saturating_add(self.reset) });
        }
    }

    /// Nobody waited for what would come of it. Without this a caller that goes away would leave it half open forever.
    pub fn abandoned(&mut self, leave: &Leave, now: Duration) {
        if leave.0 == self.version && self.state == State::HalfOpen {
            self.becomes(State::Open { until: now });
        }
    }

    /// State now: open also when the next question may find out.
    pub fn state(&self) -> State {
        self.state
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How often it opened.
    pub fn trips(&self) -> u64 {
        self.trips
    }

    fn becomes(&mut self, state: State) {
        self.state = state;
        self.version += 1;
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

    fn open_at(now: Duration) -> Breaker {
        let mut breaker = Breaker::new(2, RESET);
        let (a, b) = (breaker.ask(now).unwrap(), breaker.ask(now).unwrap());
        breaker.failed(&a, now);
        breaker.failed(&b, now);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::new(2, RESET);
        for failed in [true, false, true] {
            let leave = breaker.ask(at(0)).unwrap();
            if failed { breaker.failed(&leave, at(0)) } else { breaker.succeeded(&leave) }
        }
        assert_eq!(breaker.state(), State::Closed);
        let leave = breaker.ask(at(1)).unwrap();
        breaker.failed(&leave, at(1));
        assert_eq!((breaker.state(), breaker.trips()), (State::Open { until: at(31) }, 1));
        assert_eq!(breaker.ask(at(11)), Err(at(20)));
    }

    #[test]
    fn after_its_time_one_question_finds_out() {
        let mut breaker = open_at(at(0));
        let leave = breaker.ask(at(30)).unwrap();
        assert_eq!(breaker.ask(at(30)), Err(at(0)), "a second one must wait");
        breaker.succeeded(&leave);
        assert_eq!((breaker.state(), breaker.failures()), (State::Closed, 0));
        let mut breaker = open_at(at(0));
        let leave = breaker.ask(at(30)).unwrap();
        breaker.failed(&leave, at(32));
        assert_eq!((breaker.state(), breaker.trips()), (State::Open { until: at(62) }, 2));
    }

    #[test]
    fn a_caller_that_goes_away_lets_the_next_one_find_out() {
        let mut breaker = open_at(at(0));
        let leave = breaker.ask(at(30)).unwrap();
        breaker.abandoned(&leave, at(31));
        assert!(breaker.ask(at(31)).is_ok());
    }

    // A slow answer to a question from before would close it on a provider that is down.
    #[test]
    fn what_was_asked_before_it_opened_does_not_close_it() {
        let mut breaker = Breaker::new(1, RESET);
        let (slow, fast) = (breaker.ask(at(0)).unwrap(), breaker.ask(at(0)).unwrap());
        breaker.failed(&fast, at(0));
        breaker.succeeded(&slow);
        assert_eq!(breaker.state(), State::Open { until: RESET });
    }

    proptest! {
        #[test]
        fn an_open_one_is_asked_once_in_its_time(steps in prop::collection::vec((0_u64..20, 0_u8..4), 1..200), threshold in 1_u32..5) {
            let mut breaker = Breaker::new(threshold, RESET);
            let mut now = Duration::ZERO;
            let mut under_way: Vec<Leave> = Vec::new();
            let mut row = 0;
            for (wait, step) in steps {
                now += at(wait);
                let before = breaker.state();
                let leave = if step == 0 || under_way.is_empty() { breaker.ask(now).ok() } else { None };
                match (leave, before) {
                    (Some(leave), State::Open { until }) => {
                        prop_assert!(until <= now);
                        prop_assert_eq!(breaker.state(), State::HalfOpen);
                        under_way.push(leave);
                    }
                    (Some(leave), state) => {
                        prop_assert_eq!(state, State::Closed);
                        under_way.push(leave);
                    }
                    (None, _) => {
                        let Some(leave) = under_way.pop() else { continue };
                        let current = leave.0 == breaker.version;
                        match step {
                            1 => { breaker.succeeded(&leave); if current { row = 0; } }
                            2 => { breaker.failed(&leave, now); if current { row += 1; } }
                            _ => breaker.abandoned(&leave, now),
                        }
                        if !current {
                            prop_assert_eq!(breaker.state(), before, "the past changes nothing");
                        } else if before == State::Closed {
                            prop_assert_eq!(breaker.state() == State::Closed, row < threshold);
                        }
                        if breaker.state() == State::Closed { prop_assert!(breaker.failures() < threshold); }
                    }
                }
            }
        }
    }
}

//! The way of one question: its turn, the breaker, the provider as often as it takes, and how it counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_select::llm::answer::{Failure, Said};
use mcphub_hub_select::llm::breaker::{Breaker, Leave};
use mcphub_hub_select::llm::question::Question;
use mcphub_hub_wire::config;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::error::Error;
use super::metrics::Metrics;

/// So many questions wait for each that is under way; a longer queue would only time out.
const WAITING_PER_TURN: usize = 8;

/// What nobody waits for may take so many timeouts: categories of forty tools are a long answer.
const BACKGROUND: u32 = 6;

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// A caller: the timeout is over the whole.
    Caller,
    /// Nobody: one try may take [`BACKGROUND`] timeouts.
    Background,
}

pub(super) struct Asking {
    pub(super) endpoint: Endpoint,
    pub(super) metrics: Metrics,
    breaker: Mutex<Breaker>,
    turns: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    timeout: Duration,
    retry: config::Retry,
    born: Instant,
}

/// A question under way. Whoever asked may stop to wait: what is counted by then is in `drop`.
struct UnderWay<'a> {
    asking: &'a Asking,
    leave: Option<Leave>,
    patience: Patience,
    begun: Instant,
}

impl Asking {
    pub(super) fn of(llm: &config::Llm, endpoint: Endpoint, metrics: Metrics) -> Self {
        let turns = llm.max_concurrent.clamp(1, 1_000) as usize;
        let breaker = &llm.circuit_breaker;
        Self {
            endpoint,
            metrics,
            breaker: Mutex::new(Breaker::new(
                breaker.failure_threshold,
                Duration::from_millis(breaker.reset_timeout_ms),
            )),
            turns: Semaphore::new(turns),
            waiting: AtomicUsize::new(0),
            most_waiting: turns * WAITING_PER_TURN,
            timeout: Duration::from_millis(llm.timeout_ms.max(1)),
            retry: llm.retry.clone(),
            born: Instant::now(),
        }
    }

    /// Asks, and reads the answer with `read`.
    pub(super) async fn ask<T>(
        &self,
        question: &Question,
        patience: Patience,
        read: impl Fn(&Said) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.timeout;
        // What waits in the background may wait as long as it takes.
        let turn = match patience {
            Patience::Caller => tokio::time::timeout_at(deadline, self.turn()).await,
            Patience::Background => Ok(self.turn().await),
        };
        let turn = turn.unwrap_or(Err(Error::TimedOut(self.timeout)));
        let leave = turn.map(|turn| (turn, self.breaker(Breaker::ask)));
        let (_turn, leave) = match leave {
            Ok((turn, Ok(leave))) => (turn, leave),
            Ok((_, Err(wait))) => return Err(self.not_asked(Error::BreakerOpen(wait))),
            Err(error) => return Err(self.not_asked(error)),
        };
        let under_way =
            UnderWay { asking: self, leave: Some(leave), patience, begun: Instant::now() };
        let answer = async {
            let said = self.tries(question, patience, deadline).await?;
            read(&said).map_err(Error::Answer)
        };
        let answer = match patience {
            Patience::Caller => tokio::time::timeout_at(deadline, answer).await,
            Patience::Background => Ok(answer.await),
        };
        let answer = answer.unwrap_or(Err(Error::TimedOut(self.timeout)));
        under_way.ended(answer.as_ref().err());
        answer
    }

    /// Asks once more as long as that may help.
    pub(super) async fn tries(
        &self,
        question: &Question,
        patience: Patience,
        deadline: Instant,
    ) -> Result<Said, Error> {
        let most = Duration::from_millis(self.retry.max_delay_ms);
        #[allow(clippy::cast_precision_loss)] // at most 10
        let factor = self.retry.backoff_multiplier.clamp(1, 100) as f32;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(self.retry.initial_delay_ms))
            .with_max_delay(most)
            .with_factor(factor)
            .with_max_times(self.retry.max_retries as usize)
            .with_jitter();
        let spent = |usage| self.metrics.spent(usage);
        let one = || async {
            match patience {
                Patience::Caller => self.endpoint.ask(question, &spent).await,
                Patience::Background => {
                    let most = self.timeout.saturating_mul(BACKGROUND);
                    let asked =
                        tokio::time::timeout(most, self.endpoint.ask(question, &spent)).await;
                    asked.unwrap_or(Err(Error::TimedOut(most)))
                }
            }
        };
        one.retry(backoff)
            .when(Error::is_transient)
            .adjust(|error: &Error, delay| {
                let delay = delay?.max(error.wait().unwrap_or_default());
                let too_late = patience == Patience::Caller && Instant::now() + delay >= deadline;
                // Waiting in vain would only make the fallback late.
                (!too_late && error.wait().unwrap_or_default() <= most).then_some(delay)
            })
            .notify(|error: &Error, delay: Duration| {
                self.metrics.retries.inc();
                tracing::debug!(%error, ?delay, "language model is asked again");
            })
            .await
    }

    /// How long one try of a caller may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Looks at the breaker, or changes it.
    pub(super) fn breaker<T>(&self, act: impl FnOnce(&mut Breaker, Duration) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.state();
        let done = act(&mut breaker, self.born.elapsed());
        let now = breaker.state();
        if now != before {
            self.metrics.breaker(now);
            tracing::info!(
                before = before.word(),
                now = now.word(),
                "circuit breaker of the language model"
            );
        }
        done
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let _place = Place::take(self)?;
        self.turns.acquire().await.map_err(|_| Error::QueueFull(0)) // never closed
    }

    fn not_asked(&self, error: Error) -> Error {
        self.metrics.ended(Err(&error), None);
        error
    }
}

/// A place in the queue.
struct Place<'a>(&'a Asking);

impl<'a> Place<'a> {
    fn take(asking: &'a Asking) -> Result<Self, Error> {
        let most = asking.most_waiting;
        let taken = asking.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < most).then_some(waiting + 1)
        });
        taken.map_err(|_| Error::QueueFull(most))?;
        asking.metrics.queue.inc();
        Ok(Self(asking))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.queue.dec();
    }
}

impl UnderWay<'_> {
    fn ended(mut self, error: Option<&Error>) {
        let Some(leave) = self.leave.take() else { return };
        self.asking.breaker(|breaker, now| match error {
            // All that it was asked about is one server's text, which must not cut callers off.
            Some(Error::Answer(_)) if self.patience == Patience::Background => {
                breaker.succeeded(&leave)
            }
            Some(error) if error.trips() => breaker.failed(&leave, now),
            _ => breaker.succeeded(&leave),
        });
        // What nobody waits for must not look like callers who do: a rollout is judged by how long they wait.
        let waited = (self.patience == Patience::Caller).then(|| self.begun.elapsed());
        self.asking.metrics.ended(error.map_or(Ok(()), Err), waited);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.asking.breaker(|breaker, now| breaker.abandoned(&leave, now));
            self.asking.metrics.outcome(Outcome::CallerError);
        }
    }
}

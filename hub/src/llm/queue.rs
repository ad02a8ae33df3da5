//! Sends questions to the provider: bounded concurrency, circuit breaker, retries, metrics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_select::llm::answer::{AnswerError, ModelOutput};
use mcphub_hub_select::llm::question::Question;
use mcphub_hub_wire::config;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::error::Error;
use super::metrics::Metrics;
use crate::circuit_breaker::{BreakerPermit, CircuitBreaker};

/// How many questions may wait for each one that may be in flight. Those in a longer queue would
/// only time out.
const WAITING_PER_PERMIT: usize = 8;

/// The timeout of one attempt in the background, as a multiple of the configured timeout. The
/// categories of forty tools are a long answer.
const BACKGROUND_TIMEOUTS: u32 = 6;

/// Whether a caller waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A caller waits. The timeout covers the queue and all attempts.
    Interactive,
    /// Nobody waits. Each attempt may take [`BACKGROUND_TIMEOUTS`] timeouts.
    Background,
}

pub(super) struct RequestQueue {
    pub(super) endpoint: Endpoint,
    pub(super) metrics: Metrics,
    breaker: Mutex<CircuitBreaker>,
    permits: Semaphore,
    waiting: AtomicUsize,
    max_waiting: usize,
    timeout: Duration,
    retry: config::Retry,
    /// The moment from which the breaker counts time.
    epoch: Instant,
}

/// A question in flight. The caller may stop waiting at any time. `drop` counts that.
struct QuestionInFlight<'a> {
    queue: &'a RequestQueue,
    permit: Option<BreakerPermit>,
    urgency: Urgency,
    started: Instant,
}

impl RequestQueue {
    pub(super) fn new(llm: &config::Llm, endpoint: Endpoint, metrics: Metrics) -> Self {
        let permits = llm.max_concurrent.clamp(1, 1_000) as usize;
        let breaker = &llm.circuit_breaker;
        Self {
            endpoint,
            metrics,
            breaker: Mutex::new(CircuitBreaker::new(
                breaker.failure_threshold,
                Duration::from_millis(breaker.reset_timeout_ms),
            )),
            permits: Semaphore::new(permits),
            waiting: AtomicUsize::new(0),
            max_waiting: permits * WAITING_PER_PERMIT,
            timeout: Duration::from_millis(llm.timeout_ms.max(1)),
            retry: llm.retry.clone(),
            epoch: Instant::now(),
        }
    }

    /// Asks the question, and parses the output with `parse`.
    pub(super) async fn ask<T>(
        &self,
        question: &Question,
        urgency: Urgency,
        parse: impl Fn(&ModelOutput) -> Result<T, AnswerError>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.timeout;
        // A question in the background may wait in the queue for as long as it takes.
        let permit = match urgency {
            Urgency::Interactive => tokio::time::timeout_at(deadline, self.permit()).await,
            Urgency::Background => Ok(self.permit().await),
        };
        let permit = permit.unwrap_or(Err(Error::TimedOut(self.timeout)));
        let permits = permit.map(|permit| (permit, self.with_breaker(CircuitBreaker::acquire)));
        let (_permit, breaker_permit) = match permits {
            Ok((permit, Ok(breaker_permit))) => (permit, breaker_permit),
            Ok((_, Err(wait))) => return Err(self.count_unsent(Error::BreakerOpen(wait))),
            Err(error) => return Err(self.count_unsent(error)),
        };
        let in_flight = QuestionInFlight {
            queue: self,
            permit: Some(breaker_permit),
            urgency,
            started: Instant::now(),
        };
        let answer = async {
            let output = self.send(question, urgency, deadline).await?;
            parse(&output).map_err(Error::Answer)
        };
        let answer = match urgency {
            Urgency::Interactive => tokio::time::timeout_at(deadline, answer).await,
            Urgency::Background => Ok(answer.await),
        };
        let answer = answer.unwrap_or(Err(Error::TimedOut(self.timeout)));
        in_flight.finish(answer.as_ref().err());
        answer
    }

    /// Sends the question, and retries as long as that may help.
    pub(super) async fn send(
        &self,
        question: &Question,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<ModelOutput, Error> {
        let max_delay = Duration::from_millis(self.retry.max_delay_ms);
        #[allow(clippy::cast_precision_loss)] // at most 100
        let factor = self.retry.backoff_multiplier.clamp(1, 100) as f32;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(self.retry.initial_delay_ms))
            .with_max_delay(max_delay)
            .with_factor(factor)
            .with_max_times(self.retry.max_retries as usize)
            .with_jitter();
        let count_usage = |usage| self.metrics.count_usage(usage);
        let attempt = || async {
            match urgency {
                Urgency::Interactive => self.endpoint.ask(question, &count_usage).await,
                Urgency::Background => {
                    let timeout = self.timeout.saturating_mul(BACKGROUND_TIMEOUTS);
                    let output = self.endpoint.ask(question, &count_usage);
                    let output = tokio::time::timeout(timeout, output).await;
                    output.unwrap_or(Err(Error::TimedOut(timeout)))
                }
            }
        };
        attempt
            .retry(backoff)
            .when(Error::is_transient)
            .adjust(|error: &Error, delay| {
                let retry_after = error.retry_after().unwrap_or_default();
                let delay = delay?.max(retry_after);
                let too_late =
                    urgency == Urgency::Interactive && Instant::now() + delay >= deadline;
                // A wait that ends after the deadline would only delay the fallback.
                (!too_late && retry_after <= max_delay).then_some(delay)
            })
            .notify(|error: &Error, delay: Duration| {
                self.metrics.retries.inc();
                tracing::debug!(%error, ?delay, "retrying a question to the language model");
            })
            .await
    }

    /// The configured timeout.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Calls `act` with the breaker and the current time, and reports a change of its state.
    pub(super) fn with_breaker<T>(
        &self,
        act: impl FnOnce(&mut CircuitBreaker, Duration) -> T,
    ) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.state();
        let result = act(&mut breaker, self.epoch.elapsed());
        let now = breaker.state();
        if now != before {
            self.metrics.set_breaker(now);
            tracing::info!(
                before = before.label(),
                now = now.label(),
                "circuit breaker of the language model changed"
            );
        }
        result
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(self)?;
        self.permits.acquire().await.map_err(|_| Error::QueueFull(0)) // never closed
    }

    fn count_unsent(&self, error: Error) -> Error {
        self.metrics.record(Err(&error), None);
        error
    }
}

/// A question that waits for a permit.
struct Waiting<'a>(&'a RequestQueue);

impl<'a> Waiting<'a> {
    fn new(queue: &'a RequestQueue) -> Result<Self, Error> {
        let max = queue.max_waiting;
        let added = queue.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < max).then_some(waiting + 1)
        });
        added.map_err(|_| Error::QueueFull(max))?;
        queue.metrics.queue.inc();
        Ok(Self(queue))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.queue.dec();
    }
}

impl QuestionInFlight<'_> {
    fn finish(mut self, error: Option<&Error>) {
        let Some(permit) = self.permit.take() else { return };
        self.queue.with_breaker(|breaker, now| match error {
            // The question has the text of one server's tools. That text must not open the breaker
            // for all callers.
            Some(Error::Answer(_)) if self.urgency == Urgency::Background => {
                breaker.record_success(&permit);
            }
            Some(error) if error.trips_breaker() => breaker.record_failure(&permit, now),
            _ => breaker.record_success(&permit),
        });
        // Rollout rules judge how long callers wait, so background questions have no duration.
        let waited = (self.urgency == Urgency::Interactive).then(|| self.started.elapsed());
        self.queue.metrics.record(error.map_or(Ok(()), Err), waited);
    }
}

impl Drop for QuestionInFlight<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.queue.with_breaker(|breaker, now| breaker.record_abandoned(&permit, now));
            self.queue.metrics.count_outcome(Outcome::CallerError);
        }
    }
}

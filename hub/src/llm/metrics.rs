//! What is measured of a language model, and what `GET /api/filtering/stats` says of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_select::llm::breaker::State;
use mcphub_hub_select::llm::providers::Usage;
use mcphub_hub_wire::config::Provider;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use serde::Serialize;

use super::error::Error;

const BUCKETS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Percentiles are those of so many questions.
const WINDOW: usize = 1_024;

pub(super) struct Metrics {
    outcomes: [IntCounter; 5],
    failures: IntCounterVec,
    provider: &'static str,
    duration: Histogram,
    tokens: [IntCounter; 3],
    pub(super) retries: IntCounter,
    pub(super) fallbacks: IntCounter,
    pub(super) queue: IntGauge,
    breaker: IntGauge,
    pub(super) hits: IntCounter,
    pub(super) misses: IntCounter,
    latencies: Mutex<VecDeque<Duration>>,
    collectors: Mutex<Vec<Box<dyn Collector>>>,
}

/// Series that are registered.
struct Registering<'r> {
    registry: &'r Registry,
    collectors: RefCell<Vec<Box<dyn Collector>>>,
}

/// The `llm` and `llmCache` objects of `GET /api/filtering/stats`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// What was asked, and what came of it.
    pub llm: LlmStats,
    /// Answers that are kept.
    pub llm_cache: CacheStats,
}

/// What was asked, and what came of it. Latencies are milliseconds. Ratios and latencies are null before the first.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LlmStats {
    /// Whether there is a language model.
    pub enabled: bool,
    /// Whose interface it has.
    pub provider: Option<&'static str>,
    /// Its name.
    pub model: Option<String>,
    /// Questions that wait for their turn.
    pub queue_depth: i64,
    /// Questions, answers from the cache not counted.
    pub total_calls: u64,
    /// Answered.
    pub successful_calls: u64,
    /// Not.
    pub failed_calls: u64,
    /// Share that was answered.
    pub success_rate: Option<f64>,
    /// Mean of the last thousand.
    pub average_latency: Option<f64>,
    /// 95th percentile of them.
    pub p95_latency: Option<f64>,
    /// 99th percentile of them.
    pub p99_latency: Option<f64>,
    /// Failed by time.
    pub timeouts: u64,
    /// Asked again.
    pub total_retries: u64,
    /// Prompts for which the embedded selector stood in.
    pub fallbacks_used: u64,
    /// `closed`, `open` or `half-open`.
    pub circuit_breaker_state: Option<&'static str>,
    /// Failures in a row.
    pub circuit_breaker_failures: u32,
    /// How often it opened.
    pub circuit_breaker_trips: u64,
}

/// Answers that are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheStats {
    /// How many.
    pub size: u64,
    /// Share of questions that they answered; null before the first.
    pub hit_rate: Option<f64>,
    /// Questions that they answered.
    pub hits: u64,
    /// Questions that the model had to be asked.
    pub misses: u64,
    /// About so much memory.
    pub memory_usage_bytes: u64,
    /// The same in MiB.
    #[serde(rename = "memoryUsageMB")]
    pub memory_usage_mb: f64,
    /// How long they are kept.
    pub ttl_seconds: u64,
}

impl Stats {
    /// Of a hub that has no language model.
    pub fn disabled() -> Self {
        Self { llm: LlmStats::default(), llm_cache: CacheStats::default() }
    }
}

impl Metrics {
    /// All at 0. Those of an earlier language model in the registry are replaced: a config that is read again may name
    /// another one.
    pub(super) fn register(registry: &Registry, provider: Provider) -> prometheus::Result<Self> {
        let provider = label(provider);
        let all = Registering { registry, collectors: RefCell::default() };
        let opts = |name: &str, help: &str| Opts::new(format!("mcp_hub_llm_{name}"), help);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            all.add(IntCounterVec::new(opts(name, help), labels)?)
        };
        let plain = |name: &str, help: &str| all.add(IntCounter::with_opts(opts(name, help))?);
        let requests = counters(
            "requests_total",
            "Questions to the language model by how they ended",
            &["provider", "outcome"],
        )?;
        let failures = counters(
            "failures_total",
            "Questions without an answer by what went wrong",
            &["provider", "reason"],
        )?;
        for reason in Error::CATEGORIES {
            failures.with_label_values(&[provider, reason]);
        }
        let tokens =
            counters("tokens_total", "Tokens that the provider counted", &["provider", "kind"])?;
        let duration = HistogramOpts::from(opts(
            "request_duration_seconds",
            "Time that callers waited, all tries",
        ));
        let duration = HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["provider"])?;
        let breaker = Opts::new("mcp_hub_circuit_breaker_state", "0 closed, 1 half open, 2 open");
        let breaker = all.add(IntGaugeVec::new(breaker, &["server"])?)?;
        let queue = IntGauge::with_opts(opts("queue_depth", "Questions that wait for their turn"))?;
        Ok(Self {
            outcomes: Outcome::ALL
                .map(|outcome| requests.with_label_values(&[provider, outcome.label()])),
            failures,
            provider,
            duration: all.add(duration)?.with_label_values(&[provider]),
            tokens: ["input", "cached", "output"]
                .map(|kind| tokens.with_label_values(&[provider, kind])),
            retries: counters("retries_total", "Tries after the first", &["provider"])?
                .with_label_values(&[provider]),
            fallbacks: plain(
                "fallbacks_total",
                "Prompts for which the embedded selector stood in",
            )?,
            queue: all.add(queue)?,
            breaker: breaker.with_label_values(&["llm"]),
            hits: plain("cache_hits_total", "Questions that a kept answer was there for")?,
            misses: plain("cache_misses_total", "Questions that no kept answer was there for")?,
            latencies: Mutex::default(),
            collectors: Mutex::new(all.collectors.into_inner()),
        })
    }

    /// They are not exported any more.
    pub(super) fn unregister(&self, registry: &Registry) {
        let mut collectors = self.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        for collector in collectors.drain(..) {
            registry.unregister(collector).ok();
        }
    }

    /// Counts a question. `took` is `None` where the provider was not asked, or nobody waited.
    pub(super) fn ended(&self, result: Result<(), &Error>, took: Option<Duration>) {
        if let Err(error) = result {
            self.failures.with_label_values(&[self.provider, error.category()]).inc();
        }
        self.outcome(result.map_or_else(Error::outcome, |()| Outcome::Ok));
        if let Some(took) = took {
            self.duration.observe(took.as_secs_f64());
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            if latencies.len() == WINDOW {
                latencies.pop_front();
            }
            latencies.push_back(took);
        }
    }

    /// Counts a question by how it ended.
    pub(super) fn outcome(&self, outcome: Outcome) {
        if let Some(counter) = self.outcomes.get(outcome.index()) {
            counter.inc();
        }
    }

    pub(super) fn spent(&self, usage: Usage) {
        for (counter, tokens) in self.tokens.iter().zip([usage.input, usage.cached, usage.output]) {
            counter.inc_by(tokens);
        }
    }

    pub(super) fn breaker(&self, state: State) {
        self.breaker.set(match state {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open { .. } => 2,
        });
    }

    /// All but what the breaker and the config know.
    pub(super) fn stats(&self) -> LlmStats {
        let mut latencies: Vec<Duration> =
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        latencies.sort_unstable();
        let total: u64 = self.outcomes.iter().map(IntCounter::get).sum();
        let successful = self.outcomes.get(Outcome::Ok.index()).map_or(0, IntCounter::get);
        LlmStats {
            enabled: true,
            provider: Some(self.provider),
            queue_depth: self.queue.get(),
            total_calls: total,
            successful_calls: successful,
            failed_calls: total - successful,
            success_rate: ratio(successful, total),
            average_latency: mean(&latencies),
            p95_latency: percentile(&latencies, 95),
            p99_latency: percentile(&latencies, 99),
            timeouts: self.failures.with_label_values(&[self.provider, "timed_out"]).get(),
            total_retries: self.retries.get(),
            fallbacks_used: self.fallbacks.get(),
            ..LlmStats::default()
        }
    }
}

/// Value of the label `provider`, and word in answers.
fn label(provider: Provider) -> &'static str {
    match provider {
        Provider::Gemini => "gemini",
        Provider::OpenAI => "openai",
        Provider::Anthropic => "anthropic",
        Provider::OpenAICompatible => "openai-compatible",
    }
}

impl Registering<'_> {
    fn add<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.registry.unregister(Box::new(metric.clone())).ok(); // there is none at first
        self.registry.register(Box::new(metric.clone()))?;
        self.collectors.borrow_mut().push(Box::new(metric.clone()));
        Ok(metric)
    }
}

/// `None` for a share of nothing.
#[allow(clippy::cast_precision_loss)] // counts stay far below 2^52
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(latencies: &[Duration]) -> Option<f64> {
    let count = u32::try_from(latencies.len()).ok().filter(|count| *count > 0)?;
    Some(milliseconds(latencies.iter().sum::<Duration>() / count))
}

/// The least that so many percent do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied().map(milliseconds)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_ones() {
        let latencies: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(
            (percentile(&latencies, 95), percentile(&latencies, 99)),
            (Some(95.0), Some(99.0))
        );
        assert_eq!(percentile(&latencies[..1], 99), Some(1.0));
        assert_eq!((percentile(&[], 95), mean(&[])), (None, None));
    }
}

//! The metrics of the language model, and its part of `GET /api/filtering/stats`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_select::llm::providers::Usage;
use mcphub_hub_wire::config::Provider;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use serde::Serialize;

use super::error::Error;
use crate::circuit_breaker::{self, BreakerState};

const BUCKETS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Percentiles cover this many of the latest questions.
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

/// Registers collectors and remembers them.
struct Registration<'r> {
    registry: &'r Registry,
    collectors: RefCell<Vec<Box<dyn Collector>>>,
}

/// The `llm` and `llmCache` objects of `GET /api/filtering/stats`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    pub llm: LlmStats,
    pub llm_cache: CacheStats,
}

/// Latencies are in milliseconds. Ratios and latencies are null before the first question.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LlmStats {
    /// Whether a language model is configured.
    pub enabled: bool,
    pub provider: Option<&'static str>,
    pub model: Option<String>,
    /// Questions that wait for a permit.
    pub queue_depth: i64,
    /// Questions, without those answered from the cache.
    pub total_calls: u64,
    pub successful_calls: u64,
    pub failed_calls: u64,
    pub success_rate: Option<f64>,
    /// The mean of the latest [`WINDOW`] questions.
    pub average_latency: Option<f64>,
    pub p95_latency: Option<f64>,
    pub p99_latency: Option<f64>,
    pub timeouts: u64,
    pub total_retries: u64,
    /// Prompts that the embedded selector answered because the language model did not.
    pub fallbacks_used: u64,
    /// `closed`, `open` or `half-open`.
    pub circuit_breaker_state: Option<&'static str>,
    /// Consecutive failures.
    pub circuit_breaker_failures: u32,
    pub circuit_breaker_trips: u64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheStats {
    /// The number of answers.
    pub size: u64,
    /// Null before the first question.
    pub hit_rate: Option<f64>,
    pub hits: u64,
    pub misses: u64,
    /// An estimate.
    pub memory_usage_bytes: u64,
    /// In MiB.
    #[serde(rename = "memoryUsageMB")]
    pub memory_usage_mb: f64,
    pub ttl_seconds: u64,
}

impl Stats {
    /// The statistics of a hub without a language model.
    pub fn disabled() -> Self {
        Self { llm: LlmStats::default(), llm_cache: CacheStats::default() }
    }
}

impl Metrics {
    /// Registers all metrics as 0. They replace those of an earlier language model, because a
    /// reloaded config may name another one.
    pub(super) fn register(registry: &Registry, provider: Provider) -> prometheus::Result<Self> {
        let provider = label(provider);
        let all = Registration { registry, collectors: RefCell::default() };
        let opts = |name: &str, help: &str| Opts::new(format!("mcp_hub_llm_{name}"), help);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            all.add(IntCounterVec::new(opts(name, help), labels)?)
        };
        let plain = |name: &str, help: &str| all.add(IntCounter::with_opts(opts(name, help))?);
        let requests = counters(
            "requests_total",
            "Questions to the language model by outcome",
            &["provider", "outcome"],
        )?;
        let failures = counters(
            "failures_total",
            "Failed questions to the language model by reason",
            &["provider", "reason"],
        )?;
        for reason in Error::CATEGORIES {
            failures.with_label_values(&[provider, reason]);
        }
        let tokens =
            counters("tokens_total", "Tokens that the provider counted", &["provider", "kind"])?;
        let duration = HistogramOpts::from(opts(
            "request_duration_seconds",
            "How long callers waited for the language model, including retries",
        ));
        let duration = HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["provider"])?;
        let queue = IntGauge::with_opts(opts("queue_depth", "Questions that wait for a permit"))?;
        Ok(Self {
            outcomes: Outcome::ALL
                .map(|outcome| requests.with_label_values(&[provider, outcome.label()])),
            failures,
            provider,
            duration: all.add(duration)?.with_label_values(&[provider]),
            tokens: ["input", "cached", "output"]
                .map(|kind| tokens.with_label_values(&[provider, kind])),
            retries: counters("retries_total", "Retries after the first attempt", &["provider"])?
                .with_label_values(&[provider]),
            fallbacks: plain(
                "fallbacks_total",
                "Prompts that the embedded selector answered instead",
            )?,
            queue: all.add(queue)?,
            breaker: all.add(circuit_breaker::gauge("llm")?)?,
            hits: plain("cache_hits_total", "Questions answered from the cache")?,
            misses: plain("cache_misses_total", "Questions not found in the cache")?,
            latencies: Mutex::default(),
            collectors: Mutex::new(all.collectors.into_inner()),
        })
    }

    pub(super) fn unregister(&self, registry: &Registry) {
        let mut collectors = self.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        for collector in collectors.drain(..) {
            registry.unregister(collector).ok();
        }
    }

    /// Counts a question. `waited` is `None` if the question was not sent or no caller waited.
    pub(super) fn record(&self, result: Result<(), &Error>, waited: Option<Duration>) {
        if let Err(error) = result {
            self.failures.with_label_values(&[self.provider, error.category()]).inc();
        }
        self.count_outcome(result.map_or_else(Error::outcome, |()| Outcome::Ok));
        if let Some(waited) = waited {
            self.duration.observe(waited.as_secs_f64());
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            if latencies.len() == WINDOW {
                latencies.pop_front();
            }
            latencies.push_back(waited);
        }
    }

    pub(super) fn count_outcome(&self, outcome: Outcome) {
        if let Some(counter) = self.outcomes.get(outcome.index()) {
            counter.inc();
        }
    }

    pub(super) fn count_usage(&self, usage: Usage) {
        for (counter, tokens) in self.tokens.iter().zip([usage.input, usage.cached, usage.output]) {
            counter.inc_by(tokens);
        }
    }

    pub(super) fn set_breaker(&self, state: BreakerState) {
        self.breaker.set(state.value());
    }

    /// The statistics without those of the breaker and the config.
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

/// The value of the label `provider`, also used in the statistics.
fn label(provider: Provider) -> &'static str {
    match provider {
        Provider::Gemini => "gemini",
        Provider::OpenAI => "openai",
        Provider::Anthropic => "anthropic",
        Provider::OpenAICompatible => "openai-compatible",
    }
}

impl Registration<'_> {
    fn add<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        // Fails if there is no earlier metric, as at start.
        self.registry.unregister(Box::new(metric.clone())).ok();
        self.registry.register(Box::new(metric.clone()))?;
        self.collectors.borrow_mut().push(Box::new(metric.clone()));
        Ok(metric)
    }
}

/// `None` if `whole` is 0.
#[allow(clippy::cast_precision_loss)] // counts stay far below 2^52
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(latencies: &[Duration]) -> Option<f64> {
    let count = u32::try_from(latencies.len()).ok().filter(|count| *count > 0)?;
    Some(milliseconds(latencies.iter().sum::<Duration>() / count))
}

/// The lowest latency that `percent` percent do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied().map(milliseconds)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    // Prometheus answers a quantile above the largest finite bucket with that bucket, so a rule
    // with a higher threshold could never fire.
    #[test]
    fn the_crd_accepts_only_latencies_below_the_largest_bucket() {
        let rules = mcphub_crds::rules::rules();
        let bounds = rules.iter().filter_map(|rule| {
            let of_metric = rule.cel.starts_with("self.?metric.orValue('') != 'LlmLatencyP95'");
            of_metric
                .then(|| rule.cel.rsplit_once("double(v) < ")?.1.strip_suffix(')')?.parse().ok())
        });
        assert_eq!(bounds.collect::<Vec<Option<f64>>>(), [BUCKETS.last().copied()]);
    }

    #[test]
    fn percentiles_are_measured_latencies() {
        let latencies: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(
            (percentile(&latencies, 95), percentile(&latencies, 99)),
            (Some(95.0), Some(99.0))
        );
        assert_eq!(percentile(&latencies[..1], 99), Some(1.0));
        assert_eq!((percentile(&[], 95), mean(&[])), (None, None));
    }
}

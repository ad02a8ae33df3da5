//! What the operator counts about itself. Label values come from bounded sets; each is there as 0 from the start.

use std::time::Instant;

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// `category` of `mcphub_operator_errors_total`.
const CATEGORIES: [&str; 11] = [
    "observe",
    "plan",
    "conflict",
    "throttled",
    "api",
    "status",
    "leadership",
    "watch",
    "hub",
    "lease",
    "prometheus",
];

/// All metrics of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_duration: Histogram,
    errors: IntCounterVec,
    prometheus_duration: HistogramVec,
    writes: IntCounterVec,
    /// 1 while this replica leads.
    pub leader: IntGauge,
    /// Reconciles that run now.
    pub reconciling: IntGauge,
}

impl Metrics {
    /// All of them, at 0; `prometheus`: the names that the administrator gave.
    pub fn new<'a>(
        prometheus: impl Iterator<Item = &'a String>,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            reconciles: IntCounterVec::new(
                Opts::new("mcphub_operator_reconciles_total", "Reconciles by result."),
                &["result"],
            )?,
            reconcile_duration: Histogram::with_opts(
                HistogramOpts::new(
                    "mcphub_operator_reconcile_duration_seconds",
                    "Time that one reconcile took.",
                )
                .buckets(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                ]),
            )?,
            errors: IntCounterVec::new(
                Opts::new("mcphub_operator_errors_total", "Errors by category."),
                &["category"],
            )?,
            prometheus_duration: HistogramVec::new(
                HistogramOpts::new(
                    "mcphub_operator_prometheus_query_duration_seconds",
                    "Time that one query took.",
                )
                .buckets(vec![0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
                &["prometheus"],
            )?,
            writes: IntCounterVec::new(
                Opts::new(
                    "mcphub_operator_writes_total",
                    "Writes that the API server acknowledged, by kind.",
                ),
                &["kind"],
            )?,
            leader: IntGauge::new("mcphub_operator_leader", "1 while this replica leads.")?,
            reconciling: IntGauge::new("mcphub_operator_reconciling", "Reconciles that run now.")?,
        };
        for result in ["ok", "error", "abandoned"] {
            metrics.reconciles.with_label_values(&[result]);
        }
        for category in CATEGORIES {
            metrics.errors.with_label_values(&[category]);
        }
        for name in prometheus {
            metrics.prometheus_duration.with_label_values(&[name]);
        }
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.reconcile_duration.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.prometheus_duration.clone()))?;
        registry.register(Box::new(metrics.writes.clone()))?;
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.reconciling.clone()))?;
        Ok(metrics)
    }

    /// Measures one reconcile until it is dropped, however it ends.
    pub fn reconcile(&self) -> Reconcile<'_> {
        self.reconciling.inc();
        Reconcile { metrics: self, since: Instant::now(), result: "abandoned" }
    }

    /// Counts an error.
    pub fn error(&self, category: &'static str) {
        self.errors.with_label_values(&[category]).inc();
    }

    /// Counts a write that was acknowledged.
    pub fn wrote(&self, kind: &str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    /// Notes how long a Prometheus took to answer.
    pub fn prometheus_answered(&self, name: &str, since: Instant) {
        self.prometheus_duration.with_label_values(&[name]).observe(since.elapsed().as_secs_f64());
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// A reconcile that runs.
#[derive(Debug)]
pub struct Reconcile<'a> {
    metrics: &'a Metrics,
    since: Instant,
    result: &'static str,
}

impl Reconcile<'_> {
    /// How it ended. Without this it counts as abandoned: its future was dropped.
    pub fn ended(mut self, ok: bool) {
        self.result = if ok { "ok" } else { "error" };
    }
}

impl Drop for Reconcile<'_> {
    fn drop(&mut self) {
        self.metrics.reconciling.dec();
        self.metrics.reconcile_duration.observe(self.since.elapsed().as_secs_f64());
        self.metrics.reconciles.with_label_values(&[self.result]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A counter that appears only with the first error has no rate for it, so the alert misses it.
    #[test]
    fn every_label_value_is_there_before_anything_happened() {
        let metrics = Metrics::new([&"main".to_owned()].into_iter()).unwrap();
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for line in [
            r#"mcphub_operator_reconciles_total{result="abandoned"} 0"#,
            r#"mcphub_operator_errors_total{category="conflict"} 0"#,
            r#"mcphub_operator_prometheus_query_duration_seconds_count{prometheus="main"} 0"#,
            "mcphub_operator_leader 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_reconcile_that_is_dropped_counts_as_abandoned() {
        let metrics = Metrics::new(std::iter::empty()).unwrap();
        drop(metrics.reconcile());
        metrics.reconcile().ended(true);
        assert_eq!(metrics.reconciles.with_label_values(&["abandoned"]).get(), 1);
        assert_eq!(metrics.reconciles.with_label_values(&["ok"]).get(), 1);
        assert_eq!(metrics.reconciling.get(), 0);
    }
}

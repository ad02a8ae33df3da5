//! The operator's own metrics. Every label value comes from a bounded set and is exported as 0 from
//! the start.

use std::time::Instant;

use mcphub_hub_listen::ConnectionMetrics;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry, TextEncoder,
};

/// The values of the label `category` of `mcphub_operator_errors_total`.
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

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_duration: Histogram,
    errors: IntCounterVec,
    prometheus_duration: HistogramVec,
    writes: IntCounterVec,
    dropped_events: IntCounter,
    pub(crate) leader: IntGauge,
    pub(crate) reconciling: IntGauge,
}

impl Metrics {
    /// All metrics at 0. `prometheus` are the names of the configured Prometheus servers.
    pub(crate) fn new<'a>(
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
                    "Duration of one reconcile.",
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
                    "Duration of one Prometheus query.",
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
            dropped_events: IntCounter::new(
                "mcphub_operator_dropped_events_total",
                "Events that were dropped unsent, because too many of a hub were waiting.",
            )?,
            leader: IntGauge::new("mcphub_operator_leader", "1 while this replica leads.")?,
            reconciling: IntGauge::new("mcphub_operator_reconciling", "Reconciles in progress.")?,
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
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.reconciles.clone()))?;
        self.registry.register(Box::new(self.reconcile_duration.clone()))?;
        self.registry.register(Box::new(self.errors.clone()))?;
        self.registry.register(Box::new(self.prometheus_duration.clone()))?;
        self.registry.register(Box::new(self.writes.clone()))?;
        self.registry.register(Box::new(self.dropped_events.clone()))?;
        self.registry.register(Box::new(self.leader.clone()))?;
        self.registry.register(Box::new(self.reconciling.clone()))
    }

    /// Measures one reconcile until the timer is dropped.
    pub(crate) fn start_reconcile(&self) -> ReconcileTimer<'_> {
        self.reconciling.inc();
        ReconcileTimer { metrics: self, since: Instant::now(), result: "abandoned" }
    }

    pub(crate) fn record_error(&self, category: &'static str) {
        self.errors.with_label_values(&[category]).inc();
    }

    /// Counts a write that the API server acknowledged.
    pub(crate) fn record_write(&self, kind: &str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    pub(crate) fn record_dropped_events(&self, number: usize) {
        self.dropped_events.inc_by(u64::try_from(number).unwrap_or(u64::MAX));
    }

    pub(crate) fn observe_prometheus_query(&self, name: &str, since: Instant) {
        self.prometheus_duration.with_label_values(&[name]).observe(since.elapsed().as_secs_f64());
    }

    /// The metrics of the admin port.
    pub(crate) fn connections(&self) -> Result<ConnectionMetrics, prometheus::Error> {
        ConnectionMetrics::register(&self.registry, "mcphub_operator_admin")
    }

    /// The metrics in the Prometheus text format.
    pub(crate) fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Measures one reconcile. Dropping it records the duration and the result.
#[derive(Debug)]
pub(crate) struct ReconcileTimer<'a> {
    metrics: &'a Metrics,
    since: Instant,
    result: &'static str,
}

impl ReconcileTimer<'_> {
    /// Sets the result. Without this call the reconcile counts as abandoned, because its future was
    /// dropped.
    pub(crate) fn finish(mut self, ok: bool) {
        self.result = if ok { "ok" } else { "error" };
    }
}

impl Drop for ReconcileTimer<'_> {
    fn drop(&mut self) {
        self.metrics.reconciling.dec();
        self.metrics.reconcile_duration.observe(self.since.elapsed().as_secs_f64());
        self.metrics.reconciles.with_label_values(&[self.result]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each family's name, type and labels, with every value of every label but `le`.
    fn families(metrics: &Metrics) -> Vec<String> {
        let family = |family: &prometheus::proto::MetricFamily| {
            let labels: BTreeSet<_> = family
                .get_metric()
                .iter()
                .flat_map(prometheus::proto::Metric::get_label)
                .map(|label| format!("{}={}", label.name(), label.value()))
                .collect();
            let labels = labels.into_iter().collect::<Vec<_>>().join(" ");
            format!("{} {:?} {labels}", family.name(), family.get_field_type()).trim().to_owned()
        };
        metrics.registry.gather().iter().map(family).collect()
    }

    // Dashboards, alerts and recording rules of users select by these names and values.
    #[test]
    fn metric_names_types_and_labels_stay_as_they_are() {
        let metrics = Metrics::new([&"main".to_owned()].into_iter()).unwrap();
        metrics.record_write("ConfigMap");
        assert_eq!(
            families(&metrics),
            [
                "mcphub_operator_dropped_events_total COUNTER",
                "mcphub_operator_errors_total COUNTER category=api category=conflict category=hub \
                 category=leadership category=lease category=observe category=plan \
                 category=prometheus category=status category=throttled category=watch",
                "mcphub_operator_leader GAUGE",
                "mcphub_operator_prometheus_query_duration_seconds HISTOGRAM prometheus=main",
                "mcphub_operator_reconcile_duration_seconds HISTOGRAM",
                "mcphub_operator_reconciles_total COUNTER result=abandoned result=error result=ok",
                "mcphub_operator_reconciling GAUGE",
                "mcphub_operator_writes_total COUNTER kind=ConfigMap",
            ]
        );
    }

    // A counter that first appears with the first error has no rate for it, so the alert misses it.
    #[test]
    fn every_label_value_is_exported_as_0_before_anything_happens() {
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
        drop(metrics.start_reconcile());
        metrics.start_reconcile().finish(true);
        assert_eq!(metrics.reconciles.with_label_values(&["abandoned"]).get(), 1);
        assert_eq!(metrics.reconciles.with_label_values(&["ok"]).get(), 1);
        assert_eq!(metrics.reconciling.get(), 0);
    }
}

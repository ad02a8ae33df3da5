//! Metrics of the selector.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Who ranked the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankedBy {
    /// The models in the hub.
    Embedded,
    /// The language model.
    Llm,
}

impl RankedBy {
    const ALL: [Self; 2] = [Self::Embedded, Self::Llm];

    pub fn label(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Llm => "llm",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SelectionOutcome {
    Found,
    NothingFits,
    /// There is no ranking. If a language model failed, the embedded ranking is used.
    Failed,
}

impl SelectionOutcome {
    const ALL: [Self; 3] = [Self::Found, Self::NothingFits, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NothingFits => "nothing_fits",
            Self::Failed => "failed",
        }
    }
}

/// From 50 us, for words in a small catalog, to the timeout of a language model.
const BUCKETS: [f64; 12] =
    [0.000_05, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

/// Metrics of the selector.
pub(super) struct Metrics {
    selections: IntCounterVec,
    pub(super) duration: Histogram,
    /// Rankings that wait for a permit.
    pub(super) queue: IntGauge,
    recall: GaugeVec,
    tools: IntGaugeVec,
    /// Calls that taught the selector which tool a prompt led to.
    pub(super) learned: prometheus::IntCounter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("mcp_hub_selection_{name}"), help);
        let selections = IntCounterVec::new(
            opts("total", "Selections of tools for a prompt, by outcome"),
            &["backend", "outcome"],
        )?;
        for backend in RankedBy::ALL {
            for outcome in SelectionOutcome::ALL {
                selections.with_label_values(&[backend.label(), outcome.label()]);
            }
        }
        let tools = IntGaugeVec::new(
            opts("tools", "Tools that search has indexed, and those with a vector"),
            &["state"],
        )?;
        for state in ["indexed", "encoded"] {
            tools.with_label_values(&[state]);
        }
        let duration = HistogramOpts::from(opts("duration_seconds", "Time of one selection"))
            .buckets(BUCKETS.to_vec());
        // Without golden questions there is no series: 0 would be a recall.
        let recall = GaugeVec::new(opts("recall", "Mean recall of the golden questions"), &[])?;
        let queue = IntGauge::with_opts(opts("queue", "Selections that wait for a core"))?;
        let learned = prometheus::IntCounter::with_opts(opts(
            "learned_total",
            "Calls that taught the selector",
        ))?;
        Ok(Self {
            selections: register(registry, selections)?,
            duration: register(registry, Histogram::with_opts(duration)?)?,
            queue: register(registry, queue)?,
            recall: register(registry, recall)?,
            tools: register(registry, tools)?,
            learned: register(registry, learned)?,
        })
    }

    pub(super) fn count(&self, backend: RankedBy, outcome: SelectionOutcome) {
        self.selections.with_label_values(&[backend.label(), outcome.label()]).inc();
    }

    /// Exports the recall. `None` removes the series.
    pub(super) fn set_recall(&self, recall: Option<f64>) {
        match recall.filter(|recall| recall.is_finite()) {
            Some(recall) => self.recall.with_label_values::<&str>(&[]).set(recall),
            None => self.recall.reset(),
        }
    }

    /// Exports how many tools are indexed, and how many of them have a vector.
    pub(super) fn set_tools(&self, indexed: usize, encoded: usize) {
        for (state, number) in [("indexed", indexed), ("encoded", encoded)] {
            self.tools.with_label_values(&[state]).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

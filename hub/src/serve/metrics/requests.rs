//! MCP requests, by method.

use std::time::Duration;

use mcphub_hub_protocol::outcome::Outcome;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{BUCKETS, opts, register};

/// The methods with a label value of their own. All others are `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Initialize,
    Initialized,
    Cancelled,
    Ping,
    Discover,
    ToolsList,
    ToolsCall,
    /// Every other method, and bodies that are not messages.
    Other,
}

impl Method {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Initialize, "initialize"),
        (Self::Initialized, "notifications/initialized"),
        (Self::Cancelled, "notifications/cancelled"),
        (Self::Ping, "ping"),
        (Self::Discover, "server/discover"),
        (Self::ToolsList, "tools/list"),
        (Self::ToolsCall, "tools/call"),
        (Self::Other, "other"),
    ];

    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|(_, label)| *label == name)
            .map_or(Self::Other, |(method, _)| method)
    }
}

/// One entry per method, in the order of [`Method`].
pub(super) struct RequestMetrics(Vec<MethodMetrics>);

struct MethodMetrics {
    outcomes: [IntCounter; 5],
    duration: Histogram,
    overhead: Histogram,
}

impl RequestMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str| {
            let opts = HistogramOpts::from(opts(name, help)).buckets(BUCKETS.to_vec());
            register(registry, HistogramVec::new(opts, &["method"])?)
        };
        let requests = opts("requests_total", "MCP requests by outcome");
        let requests = register(registry, IntCounterVec::new(requests, &["method", "outcome"])?)?;
        let duration = histogram("request_duration_seconds", "Time to answer a request")?;
        let overhead =
            histogram("overhead_seconds", "Time to answer a request, without upstream servers")?;
        let methods = Method::ALL.iter().map(|(_, label)| MethodMetrics {
            outcomes: Outcome::ALL
                .map(|outcome| requests.with_label_values(&[*label, outcome.label()])),
            duration: duration.with_label_values(&[label]),
            overhead: overhead.with_label_values(&[label]),
        });
        Ok(Self(methods.collect()))
    }

    pub(super) fn count(
        &self,
        method: Method,
        outcome: Outcome,
        took: Duration,
        upstream: Duration,
    ) {
        let Some(metrics) = self.0.get(method as usize) else { return };
        if let Some(counter) = metrics.outcomes.get(outcome.index()) {
            counter.inc();
        }
        metrics.duration.observe(took.as_secs_f64());
        metrics.overhead.observe(took.saturating_sub(upstream).as_secs_f64());
    }
}

//! The bridge's metrics, served as `/metrics` on its only port.

use mcphub_hub_listen::ConnectionMetrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// Open sessions, including those whose server is stopped.
    pub(super) sessions: IntGauge,
    pub(super) timeouts: IntCounter,
    /// Servers that ended although the bridge did not stop them.
    pub(super) deaths: IntCounter,
    /// Servers started, including those started again after an idle stop.
    pub(super) starts: IntCounter,
    pub(super) idle_stops: IntCounter,
    refused: IntCounterVec,
    dropped: IntCounter,
}

impl Metrics {
    /// Registers every series, so that each exists as 0 from the start.
    pub(super) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let sessions = IntGauge::new("mcp_bridge_sessions", "Open sessions.")?;
        registry.register(Box::new(sessions.clone()))?;
        let refused =
            Opts::new("mcp_bridge_refused_total", "Sessions and calls refused by a limit.");
        let refused = IntCounterVec::new(refused, &["reason"])?;
        registry.register(Box::new(refused.clone()))?;
        for reason in ["max_processes", "max_sessions", "max_calls"] {
            refused.with_label_values(&[reason]);
        }
        Ok(Self {
            sessions,
            timeouts: counter(
                "mcp_bridge_call_timeouts_total",
                "Calls that the server did not answer in time.",
            )?,
            deaths: counter(
                "mcp_bridge_deaths_total",
                "Servers that ended although the bridge did not stop them.",
            )?,
            starts: counter("mcp_bridge_starts_total", "Servers started.")?,
            idle_stops: counter(
                "mcp_bridge_idle_stops_total",
                "Servers stopped because they were idle.",
            )?,
            dropped: counter(
                "mcp_bridge_dropped_total",
                "Server messages dropped because no client read them.",
            )?,
            refused,
            registry,
        })
    }

    /// Counts a session or call that a limit refused.
    pub(super) fn count_refusal(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    pub(super) fn count_dropped_message(&self) {
        self.dropped.inc();
    }

    /// The metrics of the port.
    pub(super) fn connections(&self) -> prometheus::Result<ConnectionMetrics> {
        ConnectionMetrics::register(&self.registry, "mcp_bridge")
    }

    /// The metrics in Prometheus text format.
    pub(super) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

//! What the bridge measures, on `/metrics` of its one port.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// All of it.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// Open sessions, those whose server sleeps included.
    pub(super) sessions: IntGauge,
    /// Calls that the server did not answer in time.
    pub(super) timeouts: IntCounter,
    /// Servers that ended without being asked to.
    pub(super) deaths: IntCounter,
    /// Servers started, those started again after idling included.
    pub(super) starts: IntCounter,
    /// Servers stopped because nothing was asked of them.
    pub(super) idle_stops: IntCounter,
    refused: IntCounterVec,
    dropped: IntCounter,
}

impl Metrics {
    /// Registers everything.
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
            Opts::new("mcp_bridge_refused_total", "Sessions and calls that found no place.");
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
                "Servers that ended without being asked to.",
            )?,
            starts: counter("mcp_bridge_starts_total", "Servers started.")?,
            idle_stops: counter(
                "mcp_bridge_idle_stops_total",
                "Servers stopped because nothing was asked of them.",
            )?,
            dropped: counter(
                "mcp_bridge_dropped_total",
                "Messages of servers that no client listened for.",
            )?,
            refused,
            registry,
        })
    }

    /// Counts a session or call that found no place.
    pub(super) fn refuse(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Counts a message that nobody listened for.
    pub(super) fn drop_message(&self) {
        self.dropped.inc();
    }

    /// As Prometheus reads it.
    pub(super) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

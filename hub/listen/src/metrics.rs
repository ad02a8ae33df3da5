//! How many connections are open, and what the limits did to them.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The metrics of one port.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    pub(crate) open: IntGauge,
    /// Closed because the head of a request took too long.
    pub(crate) slow_head: IntCounter,
    /// Closed because no request came.
    pub(crate) idle: IntCounter,
    /// Kept waiting because too many were open.
    pub(crate) full: IntCounter,
}

impl ConnectionMetrics {
    /// Registers `<prefix>_connections` and `<prefix>_connections_limited_total`.
    pub fn register(registry: &Registry, prefix: &str) -> prometheus::Result<Self> {
        let open = IntGauge::new(format!("{prefix}_connections"), "Open client connections")?;
        registry.register(Box::new(open.clone()))?;
        let help = "Connections closed or kept waiting by a limit of the port";
        let limited = Opts::new(format!("{prefix}_connections_limited_total"), help);
        let limited = IntCounterVec::new(limited, &["reason"])?;
        registry.register(Box::new(limited.clone()))?;
        Ok(Self {
            open,
            slow_head: limited.with_label_values(&["slow_head"]),
            idle: limited.with_label_values(&["idle"]),
            full: limited.with_label_values(&["full"]),
        })
    }
}

//! Durations of calls by tool, while the flag `performanceMonitoring` is on.
//!
//! Durations by server are always measured, because rollouts are judged by them. Durations by tool
//! are ten series per tool. A tool has them from its first call on, and all of them go when the
//! flag is turned off.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, Registry};

/// In seconds: what a model does not notice, what a person does not notice, and what is slow.
const BUCKETS: [f64; 7] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Durations by server and tool.
pub(super) struct ToolDurations {
    durations: HistogramVec,
    allowed: Mutex<Allowed>,
}

/// Which tools may have series now.
#[derive(Default)]
struct Allowed {
    enabled: bool,
    /// Servers and exposed names.
    tools: HashSet<(String, String)>,
}

impl ToolDurations {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Time of calls by tool, while performanceMonitoring is on";
        let opts = HistogramOpts::new("mcp_hub_tool_call_duration_by_tool_seconds", help)
            .buckets(BUCKETS.to_vec());
        let durations = HistogramVec::new(opts, &["server", "tool"])?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Self { durations, allowed: Mutex::default() })
    }

    /// Starts to measure, or drops all series.
    pub(super) fn enable(&self, enabled: bool) {
        let mut allowed = self.lock();
        allowed.enabled = enabled;
        if !enabled {
            self.durations.reset();
        }
    }

    /// Drops the series of all tools but these.
    pub(super) fn retain(&self, tools: &HashSet<(String, String)>) {
        let mut allowed = self.lock();
        for (server, tool) in allowed.tools.difference(tools) {
            self.durations.remove_label_values(&[server.as_str(), tool.as_str()]).ok();
        }
        allowed.tools.clone_from(tools);
    }

    /// Records a call. The call of a tool that has been removed since leaves no series.
    pub(super) fn observe(&self, labels: &(String, String), took: Duration) {
        let allowed = self.lock();
        if allowed.enabled && allowed.tools.contains(labels) {
            self.durations
                .with_label_values(&[labels.0.as_str(), labels.1.as_str()])
                .observe(took.as_secs_f64());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Allowed> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

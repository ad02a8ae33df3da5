//! How long calls of each tool take, while the flag `performanceMonitoring` is on.
//!
//! Durations by server are always measured: rollouts are judged by them. These are ten series a tool, so a tool has them
//! from its first call on, and all go when the flag goes off.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, Registry};

/// Seconds: what a model does not notice, what a person does not, and what is slow.
const BUCKETS: [f64; 7] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Durations by server and tool.
pub struct ToolTimes {
    durations: HistogramVec,
    kept: Mutex<Kept>,
}

/// What may have series now.
#[derive(Default)]
struct Kept {
    on: bool,
    /// Server and exposed name.
    tools: HashSet<(String, String)>,
}

impl ToolTimes {
    /// Off, and without tools.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Time of calls by tool, while performanceMonitoring is on";
        let opts = HistogramOpts::new("mcp_hub_tool_call_duration_by_tool_seconds", help)
            .buckets(BUCKETS.to_vec());
        let durations = HistogramVec::new(opts, &["server", "tool"])?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Self { durations, kept: Mutex::default() })
    }

    /// Measures from now on, or forgets what it has measured.
    pub fn switch(&self, on: bool) {
        let mut kept = self.lock();
        kept.on = on;
        if !on {
            self.durations.reset();
        }
    }

    /// Which tools there are now, by server and exposed name. Others lose their series.
    pub fn keep(&self, tools: &HashSet<(String, String)>) {
        let mut kept = self.lock();
        for (server, tool) in kept.tools.difference(tools) {
            self.durations.remove_label_values(&[server.as_str(), tool.as_str()]).ok();
        }
        kept.tools.clone_from(tools);
    }

    /// Notes a call. One of a tool that has gone meanwhile leaves no series behind.
    pub fn called(&self, of: &(String, String), took: Duration) {
        let kept = self.lock();
        if kept.on && kept.tools.contains(of) {
            self.durations
                .with_label_values(&[of.0.as_str(), of.1.as_str()])
                .observe(took.as_secs_f64());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

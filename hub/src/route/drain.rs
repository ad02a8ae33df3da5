//! The shutdown of a router pod: it still serves what arrives, and reports what is left.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use crate::admin::DrainStatus;

/// New connections may arrive for this long, because other nodes learn late that the pod is going
/// away.
const SETTLE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Drain {
    started: OnceLock<Instant>,
    in_flight: IntGauge,
}

impl Drain {
    /// A drain that has not started.
    pub(super) fn new(in_flight: IntGauge) -> Self {
        Self { started: OnceLock::new(), in_flight }
    }

    pub(super) fn has_started(&self) -> bool {
        self.started.get().is_some()
    }

    /// Starts the drain unless it has started already. Returns what is left.
    pub(super) fn start(&self) -> DrainStatus {
        let started = self.started.get_or_init(Instant::now);
        let in_flight = u64::try_from(self.in_flight.get()).unwrap_or(0);
        let settling = started.elapsed() < SETTLE;
        DrainStatus { left: in_flight.max(settling.into()) }
    }

    /// Starts the drain and waits until nothing is left, or until the timeout.
    pub(super) async fn finish(&self, timeout: Duration) {
        let finished = async {
            while self.start().left > 0 {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(timeout, finished).await.is_err() {
            tracing::warn!(left = self.start().left, "drain timed out with requests in flight");
        }
    }
}

//! A router pod that goes away: it takes what still comes, and tells when nothing is left.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use crate::admin::Drained;

/// Until then new connections may come: the other nodes learn late that this pod is leaving.
const SETTLE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// Whether and since when this pod is leaving.
#[derive(Debug)]
pub(super) struct Leaving {
    since: OnceLock<Instant>,
    in_flight: IntGauge,
}

impl Leaving {
    /// Not leaving yet.
    pub(super) fn new(in_flight: IntGauge) -> Self {
        Self { since: OnceLock::new(), in_flight }
    }

    /// Whether it is.
    pub(super) fn is_leaving(&self) -> bool {
        self.since.get().is_some()
    }

    /// Leaves from now on; says what is left to wait for. A second call changes nothing.
    pub(super) fn leave(&self) -> Drained {
        let since = self.since.get_or_init(Instant::now);
        let under_way = u64::try_from(self.in_flight.get()).unwrap_or(0);
        let settling = since.elapsed() < SETTLE;
        Drained { left: under_way.max(settling.into()) }
    }

    /// Leaves, and ends when nothing is left or the time is up.
    pub(super) async fn left(&self, within: Duration) {
        let gone = async {
            while self.leave().left > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(within, gone).await.is_err() {
            tracing::warn!(left = self.leave().left, "requests were under way until the end");
        }
    }
}

//! Counts and times requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcphub_hub_protocol::outcome::RequestEnd;

use super::ctx::Ctx;
use crate::serve::metrics;
use crate::serve::state::hub::Hub;

/// Counts one request when it is dropped. A request that has not ended by then was cancelled by its
/// client.
pub(crate) struct RequestTimer {
    hub: Arc<Hub>,
    method: metrics::Method,
    start: Instant,
    counted: bool,
    /// The part of the time that was spent waiting for upstream servers.
    pub upstream: Duration,
    ending: Option<RequestEnd>,
}

impl RequestTimer {
    pub(crate) fn start(hub: &Arc<Hub>, method: &str, ctx: &Ctx) -> Self {
        let method = metrics::Method::from_name(method);
        let (hub, start, counted) = (Arc::clone(hub), Instant::now(), ctx.counted);
        Self { hub, method, start, counted, upstream: Duration::ZERO, ending: None }
    }

    /// Counts the request with this ending.
    pub(crate) fn end(mut self, ending: RequestEnd) {
        self.ending = Some(ending);
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let default =
            if std::thread::panicking() { RequestEnd::Bug } else { RequestEnd::Cancelled };
        if self.counted {
            let (outcome, took) = (self.ending.unwrap_or(default).outcome(), self.start.elapsed());
            self.hub.metrics.count_request(self.method, outcome, took, self.upstream);
            let (took, upstream) = (took.as_secs_f64(), self.upstream.as_secs_f64());
            let (method, outcome) = (self.method, outcome.label());
            tracing::debug!(?method, outcome, took, upstream, "request");
        }
    }
}

//! A forwarded request, from the choice of its pod to the last byte of the response.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::metrics::RouterOutcome;
use super::table::LiveRevision;

/// Held while a request is in flight. Bounds and counts them.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: OwnedSemaphorePermit,
    in_flight: IntGauge,
}

impl Permit {
    pub(super) fn new(permit: OwnedSemaphorePermit, in_flight: IntGauge) -> Self {
        in_flight.inc();
        Self { _permit: permit, in_flight }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

/// A request that is being forwarded. It is counted once, however it ends. If it is dropped before
/// an end was counted, its client has disconnected.
#[derive(Debug)]
pub(super) struct RequestInFlight {
    live: Arc<LiveRevision>,
    /// Requests in flight to the pod.
    pod_load: Arc<AtomicUsize>,
    started: Instant,
    /// The request is a GET stream. It ends when either side disconnects. That is no error, and
    /// its duration is no latency.
    is_listener: bool,
    counted: bool,
}

impl RequestInFlight {
    pub(super) fn new(
        live: Arc<LiveRevision>,
        pod_load: Arc<AtomicUsize>,
        started: Instant,
        method: &Method,
    ) -> Self {
        pod_load.fetch_add(1, Ordering::Relaxed);
        live.metrics.mark_forward();
        Self { live, pod_load, started, is_listener: method == Method::GET, counted: false }
    }

    pub(super) fn live(&self) -> &Arc<LiveRevision> {
        &self.live
    }

    /// The pod took no connection. The request is not counted, because another pod is tried.
    pub(super) fn connect_failed(mut self) {
        self.counted = true;
        self.live.metrics.connect_failures.inc();
    }

    /// Counts the request, unless it was counted already.
    pub(super) fn end(&mut self, outcome: RouterOutcome) {
        if !std::mem::replace(&mut self.counted, true) {
            self.live.metrics.count(outcome);
            if !self.is_listener {
                self.live.metrics.observe_duration(self.started.elapsed());
            }
        }
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.pod_load.fetch_sub(1, Ordering::Relaxed);
        let outcome = if self.is_listener { RouterOutcome::Ok } else { RouterOutcome::CallerError };
        self.end(outcome);
    }
}

/// The body of the pod's response, on its way to the client.
pub(super) struct PodBody {
    inner: Incoming,
    request: RequestInFlight,
    abort: Pin<Box<WaitForCancellationFutureOwned>>,
    /// From the status of the response.
    outcome: RouterOutcome,
    is_event_stream: bool,
    _permit: Permit,
}

#[derive(Debug, thiserror::Error)]
#[error("the revision that served this request was rolled back")]
struct RevisionFailed;

impl PodBody {
    pub(super) fn new(
        inner: Incoming,
        status: StatusCode,
        headers: &HeaderMap,
        request: RequestInFlight,
        permit: Permit,
    ) -> Self {
        let is_event_stream = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let abort = Box::pin(request.live.abort.clone().cancelled_owned());
        let outcome = match status.as_u16() {
            ..400 => RouterOutcome::Ok,
            400..500 => RouterOutcome::CallerError,
            _ => RouterOutcome::HubError,
        };
        let mut body = Self { inner, request, abort, outcome, is_event_stream, _permit: permit };
        body.end_if_complete();
        body
    }

    /// hyper does not poll a body of known length for its end, so the end is checked after each
    /// frame.
    fn end_if_complete(&mut self) {
        if self.inner.is_end_stream() {
            self.request.end(self.outcome);
        }
    }
}

impl Body for PodBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.end_if_complete();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.request.end(RouterOutcome::HubError);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                let outcome = self.outcome;
                self.request.end(outcome);
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(self.abort.as_mut().poll(cx));
                self.request.end(RouterOutcome::HubError);
                // An event stream may end at any time. A partial JSON document must not look
                // complete, so it ends with an error.
                let error = (!self.is_event_stream).then(|| Err(RevisionFailed.into()));
                Poll::Ready(error)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

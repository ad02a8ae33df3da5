//! One forwarded request from its decision to the last byte of its answer.

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

use super::metrics::Outcome;
use super::table::Live;

/// Held while a request is under way: one of the bounded places, and the gauge.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    in_flight: IntGauge,
}

impl Place {
    /// Takes the place.
    pub(super) fn new(permit: OwnedSemaphorePermit, in_flight: IntGauge) -> Self {
        in_flight.inc();
        Self { _permit: permit, in_flight }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

/// A request that is being forwarded. Counted once, however it ends; dropped without a word, its client has gone.
#[derive(Debug)]
pub(super) struct Ticket {
    live: Arc<Live>,
    load: Arc<AtomicUsize>,
    started: Instant,
    /// A listening stream ends when somebody leaves: that is no error, and its length is no latency.
    listens: bool,
    done: bool,
}

impl Ticket {
    /// Counts the request as under way to the pod with this counter.
    pub(super) fn new(
        live: Arc<Live>,
        load: Arc<AtomicUsize>,
        started: Instant,
        method: &Method,
    ) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        live.metrics.forwarding();
        Self { live, load, started, listens: method == Method::GET, done: false }
    }

    /// The revision's series and cut.
    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The request never reached the pod and is tried elsewhere: not an end of it.
    pub(super) fn unreached(mut self) {
        self.done = true;
        self.live.metrics.connect_failures.inc();
    }

    /// Counts the end; only the first one counts.
    pub(super) fn end(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.done, true) {
            self.live.metrics.count(outcome);
            if !self.listens {
                self.live.metrics.took(self.started.elapsed());
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.end(if self.listens { Outcome::Ok } else { Outcome::CallerError });
    }
}

/// The pod's answer on its way to the client, frame by frame.
pub(super) struct Answer {
    inner: Incoming,
    ticket: Ticket,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// As the status says.
    outcome: Outcome,
    is_stream: bool,
    _place: Place,
}

/// A call that was cut because its revision failed.
#[derive(Debug, thiserror::Error)]
#[error("the revision that was answering has been rolled back")]
pub(super) struct Cut;

impl Answer {
    /// Wraps the body of an answer with this head.
    pub(super) fn new(
        inner: Incoming,
        status: StatusCode,
        headers: &HeaderMap,
        ticket: Ticket,
        place: Place,
    ) -> Self {
        let is_stream = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let cut = Box::pin(ticket.live.cut.clone().cancelled_owned());
        let outcome = match status.as_u16() {
            ..400 => Outcome::Ok,
            400..500 => Outcome::CallerError,
            _ => Outcome::HubError,
        };
        let mut answer = Self { inner, ticket, cut, outcome, is_stream, _place: place };
        answer.end_if_complete();
        answer
    }

    /// hyper does not ask for the end of a body whose length it knows, so this looks by itself.
    fn end_if_complete(&mut self) {
        if self.inner.is_end_stream() {
            self.ticket.end(self.outcome);
        }
    }
}

impl Body for Answer {
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
                self.ticket.end(Outcome::HubError);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                let outcome = self.outcome;
                self.ticket.end(outcome);
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(self.cut.as_mut().poll(cx));
                self.ticket.end(Outcome::HubError);
                // An event stream may end at any time; half a JSON document must not look whole.
                Poll::Ready(if self.is_stream { None } else { Some(Err(Cut.into())) })
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

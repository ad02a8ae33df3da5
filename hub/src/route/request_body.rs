//! The client's body, which can be sent again while no byte of it has been asked for.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Where the body waits until a connection takes it.
#[derive(Clone)]
pub(super) struct RequestBody(Arc<Slot>);

struct Slot {
    /// Never contended: one connection at a time polls it.
    body: Mutex<Incoming>,
    taken: AtomicBool,
}

impl RequestBody {
    /// Nothing of it has been read.
    pub(super) fn new(body: Incoming) -> Self {
        Self(Arc::new(Slot { body: Mutex::new(body), taken: AtomicBool::new(false) }))
    }

    /// Whether a connection began to read it: from then on the request may have reached a pod.
    pub(super) fn is_taken(&self) -> bool {
        self.0.taken.load(Ordering::Acquire)
    }

    fn with<T>(&self, read: impl FnOnce(&mut Incoming) -> T) -> T {
        read(&mut self.0.body.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.taken.store(true, Ordering::Release);
        self.with(|body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}

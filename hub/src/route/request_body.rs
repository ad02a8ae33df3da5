//! The client's request body. It can be sent to another pod as long as no connection has started
//! to read it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

#[derive(Clone)]
pub(super) struct RequestBody(Arc<SharedBody>);

struct SharedBody {
    /// Never contended, because one connection at a time polls it.
    body: Mutex<Incoming>,
    read: AtomicBool,
}

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Arc::new(SharedBody { body: Mutex::new(body), read: AtomicBool::new(false) }))
    }

    /// Whether a connection has started to read the body. From then on the request may have
    /// reached a pod.
    pub(super) fn was_read(&self) -> bool {
        self.0.read.load(Ordering::Acquire)
    }

    fn with<T>(&self, access: impl FnOnce(&mut Incoming) -> T) -> T {
        access(&mut self.0.body.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.read.store(true, Ordering::Release);
        self.with(|body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}

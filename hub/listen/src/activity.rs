//! What happens on a connection, and for how long nothing has.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Limits;

/// The start of an HTTP/2 connection. No method of HTTP/1 starts with it.
const HTTP2: &[u8] = b"PRI ";

/// What happens on a connection.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests whose response is not written yet.
    requests: usize,
    /// Whether there was a request.
    used: bool,
    /// When the connection was opened, or the last request ended.
    idle_since: Instant,
    /// When the first byte of a head arrived that is not complete. In HTTP/2, frames that belong to
    /// no request come at any time, so there it is never set: such a connection is idle.
    head_since: Option<Instant>,
    /// The first bytes.
    prefix: Vec<u8>,
}

/// Why a connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    SlowHead,
    Idle,
}

/// A request in flight.
pub(crate) struct RequestGuard(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            requests: 0,
            used: false,
            idle_since: Instant::now(),
            head_since: None,
            prefix: Vec::with_capacity(HTTP2.len()),
        })))
    }

    /// Notes that the head of a request is complete.
    pub(crate) fn start_request(self: &Arc<Self>) -> RequestGuard {
        let mut state = self.state();
        state.requests += 1;
        state.used = true;
        state.head_since = None;
        RequestGuard(Arc::clone(self))
    }

    fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        let missing = HTTP2.len().saturating_sub(state.prefix.len());
        state.prefix.extend(bytes.iter().take(missing));
        if state.requests == 0 && state.head_since.is_none() && state.prefix != HTTP2 {
            state.head_since = Some(Instant::now());
        }
    }

    /// Why the connection is to be closed; `None` if it is not.
    pub(crate) fn overdue(&self, limits: &Limits, crowded: bool) -> Option<Overdue> {
        let state = self.state();
        if state.requests > 0 {
            return None;
        }
        if let Some(since) = state.head_since.filter(|_| state.prefix != HTTP2) {
            let crowded_timeout = limits.head_timeout.min(limits.crowded_idle_timeout);
            let timeout = if crowded { crowded_timeout } else { limits.head_timeout };
            return (since.elapsed() >= timeout).then_some(Overdue::SlowHead);
        }
        let timeout = match state.used {
            _ if crowded => limits.crowded_idle_timeout,
            true => limits.idle_timeout,
            false => limits.head_timeout,
        };
        (state.idle_since.elapsed() >= timeout).then_some(Overdue::Idle)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests = state.requests.saturating_sub(1);
        state.idle_since = Instant::now();
        state.head_since = None;
    }
}

/// The bytes of a connection.
pub(crate) struct WatchedStream {
    pub(crate) stream: TcpStream,
    pub(crate) activity: Arc<Activity>,
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(bytes @ [_, ..]) = buffer.filled().get(before..) {
            self.activity.read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

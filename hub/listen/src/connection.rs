//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::activity::{Activity, Overdue, WatchedStream};
use crate::body::TrackedBody;
use crate::metrics::ConnectionMetrics;
use crate::{Limits, socket};

/// Bound on all headers of a request. A session id alone has up to 8 KiB.
const MAX_HEAD_BYTES: u32 = 64 << 10;
/// Concurrent streams on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Bytes of a response that an HTTP/2 stream buffers for a client that does not read.
const MAX_SEND_BYTES: usize = 64 << 10;
/// How often HTTP/2 asks whether the client is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How often a connection is looked at.
const MAX_TICK: Duration = Duration::from_secs(5);
/// How long an HTTP/2 client may take to close an idle connection when it is asked to.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the connections of a port share.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) limits: Arc<Limits>,
    /// One for each connection.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) metrics: ConnectionMetrics,
    pub(crate) stopping: CancellationToken,
}

impl Port {
    /// The next connection, with a permit that it holds while it is open.
    pub(crate) async fn accept(
        &self,
        listener: &TcpListener,
    ) -> std::io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
        if self.permits.available_permits() == 0 {
            self.metrics.full.inc();
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(std::io::Error::other)?; // never closed
        let (stream, peer) = listener.accept().await?;
        Ok((permit, stream, peer))
    }

    pub(crate) async fn serve<H, F, B>(self, stream: TcpStream, peer: SocketAddr, handler: H)
    where
        H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        socket::configure(&stream);
        let _open = OpenGuard::new(&self.metrics.open);
        let activity = Activity::new();
        let started = Arc::clone(&activity);
        let service = service_fn(move |request| {
            let guard = started.start_request();
            let response = handler(request, peer);
            async move {
                let (head, body) = response.await.into_parts();
                let body = TrackedBody::new(body, guard);
                Ok::<_, Infallible>(Response::from_parts(head, body))
            }
        });
        let stream = WatchedStream { stream, activity: Arc::clone(&activity) };
        let server = builder();
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let mut connection = std::pin::pin!(connection);
        let mut watch = tokio::time::interval(self.tick());
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = false;
        let reason = loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection failed");
                    }
                    break None;
                }
                () = self.stopping.cancelled(), if !closing => {
                    connection.as_mut().graceful_shutdown();
                    closing = true;
                }
                _ = watch.tick() => {
                    if let Some(overdue) = activity.overdue(&self.limits, self.is_crowded()) {
                        break Some(overdue);
                    }
                }
            }
        };
        match reason {
            None => {}
            Some(Overdue::SlowHead) => self.metrics.slow_head.inc(),
            Some(Overdue::Idle) => {
                self.metrics.idle.inc();
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(GOODBYE_TIMEOUT, connection).await.ok();
            }
        }
    }

    fn tick(&self) -> Duration {
        let Limits { head_timeout, idle_timeout, crowded_idle_timeout, .. } = &*self.limits;
        let shortest = head_timeout.min(idle_timeout).min(crowded_idle_timeout);
        (*shortest / 4).clamp(Duration::from_millis(1), MAX_TICK)
    }

    /// Whether less than an eighth of the connections is free.
    fn is_crowded(&self) -> bool {
        self.permits.available_permits() < self.limits.connections / 8
    }
}

/// Counts a connection while it is open, also if a handler panics.
struct OpenGuard(IntGauge);

impl OpenGuard {
    fn new(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None) // it ends idle connections too; `Activity` tells them apart
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_send_buf_size(MAX_SEND_BYTES)
        .max_concurrent_streams(MAX_STREAMS);
    server
}

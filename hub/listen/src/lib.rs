//! The accept loop of every port.
//!
//! It bounds how many connections are open, how long one may take to send the head of a request,
//! how long one may be idle, and how long one may leave a response unread. The programs bound what
//! they know more about: bodies and requests.

mod activity;
mod body;
mod connection;
mod metrics;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

pub use self::metrics::ConnectionMetrics;

/// The bounds of a port.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. A further one waits in the accept queue of the kernel.
    pub connections: usize,
    /// How long the head of a request may take, from its first byte. A connection that has sent no
    /// request yet may be silent for as long.
    pub head_timeout: Duration,
    /// How long a connection may be idle. Longer than clients keep an idle connection (90 s in Go
    /// and reqwest). If the server closed an idle connection first, it could lose a request that is
    /// on its way.
    pub idle_timeout: Duration,
    /// The bound of both while almost as many connections are open as may be. Otherwise clients
    /// that are idle or slow could keep out all others, and the probes of the kubelet.
    pub crowded_idle_timeout: Duration,
    /// How long requests in flight may take to end when the server stops.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: most_connections(),
            head_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_mins(2),
            crowded_idle_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// The bounds of a port for people and programs that operate the process.
    pub fn admin() -> Self {
        Self { connections: 256, ..Self::default() }
    }
}

/// Half of the file descriptors are for connections to servers and for files.
fn most_connections() -> usize {
    const MOST: u64 = 16_384;
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    let most = limit.map_or(MOST, |(soft, _)| (soft / 2).clamp(16, MOST));
    usize::try_from(most).unwrap_or(16)
}

/// Serves until `stop` resolves. Then closes idle connections, and waits for requests in flight.
/// Returns false if some of them had not ended in time.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    handler: H,
    limits: Limits,
    metrics: ConnectionMetrics,
    stop: impl Future<Output = ()>,
) -> bool
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connections = TaskTracker::new();
    let close_timeout = limits.close_timeout;
    let port = connection::Port {
        permits: Arc::new(Semaphore::new(limits.connections)),
        limits: Arc::new(limits),
        metrics,
        stopping: CancellationToken::new(),
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = port.accept(&listener) => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((permit, stream, peer)) => {
                let connection = port.clone().serve(stream, peer, handler.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // Either file descriptors ran out or the client has gone already. Accepting may work
            // again in a moment.
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    port.stopping.cancel();
    connections.close();
    let closed = tokio::time::timeout(close_timeout, connections.wait()).await.is_ok();
    if !closed {
        let open = connections.len();
        tracing::warn!(open, "shutdown deadline reached with open connections");
    }
    closed
}

/// A handler that passes requests to a router of axum, with the address of the client.
pub fn router(
    router: Router,
) -> impl Fn(Request<Incoming>, SocketAddr) -> RouterFuture + Clone + Send + 'static {
    move |mut request, peer| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        Box::pin(async move {
            match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    }
}

type RouterFuture = std::pin::Pin<Box<dyn Future<Output = axum::response::Response> + Send>>;

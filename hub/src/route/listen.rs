//! Connections of clients: accepted, bounded, and closed without losing a request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::answers;
use super::forward::{Forwarder, ResponseBody};
use super::leaving::Leaving;

/// Open connections; a further one waits in the kernel's queue (`mcp_router_connections` shows how many there are).
const MAX_CONNECTIONS: usize = 16_384;
/// All headers of a request; a session id has at most 8 KiB.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// Longer than clients keep an idle connection (90 s in Go and reqwest): one that is closed under a request loses it.
const HEADER_TIMEOUT: Duration = Duration::from_mins(2);
/// Streams at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// For connections to end once nothing is under way.
const CLOSING: Duration = Duration::from_secs(2);

/// The client side of the router.
pub(super) struct Edge {
    /// Where requests go.
    pub forwarder: Forwarder,
    /// Whether this pod is about to go.
    pub leaving: Arc<Leaving>,
    /// Whether `/ready` is 200.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// Open connections.
    pub connections: IntGauge,
}

impl Edge {
    /// Serves until `stop` ends, then closes what is idle and waits a little for the rest.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = Arc::clone(&self).connection(stream, peer, graceful.watcher());
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // Out of file descriptors, or a client that left already: the next one may be accepted.
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(CLOSING, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were open until the end");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        stream.set_nodelay(true).ok();
        self.connections.inc();
        let edge = Arc::clone(&self);
        let service = service_fn(move |request| Arc::clone(&edge).answer(request, peer));
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES as usize)
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_concurrent_streams(MAX_STREAMS);
        let serving =
            watcher.watch(server.serve_connection(TokioIo::new(stream), service).into_owned());
        if let Err(error) = serving.await {
            tracing::debug!(error, "connection broke");
        }
        self.connections.dec();
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let version = request.version();
        let mut response = match request.uri().path() {
            "/health" => answers::bare(StatusCode::OK).map(Either::Left),
            "/ready" => {
                let status =
                    if (self.ready)() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                answers::bare(status).map(Either::Left)
            }
            _ => self.forwarder.answer(request, peer).await?,
        };
        // The client's next request then takes a connection to a router that stays.
        if self.leaving.is_leaving() && version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

//! Accepts the connections of clients, bounds them, and closes them without losing a request.

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

use super::drain::Drain;
use super::forward::{Forwarder, ResponseBody};
use super::responses;

/// Open connections. A further one waits in the kernel's accept queue. `mcp_router_connections`
/// shows how many are open.
const MAX_CONNECTIONS: usize = 16_384;
/// Bound on all headers of a request. A session id alone has up to 8 KiB.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// Longer than clients keep an idle connection (90 s in Go and reqwest). If the router closed an
/// idle connection first, it could lose a request that is on its way.
const HEADER_TIMEOUT: Duration = Duration::from_mins(2);
/// Concurrent streams on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// How long connections may take to close once no request is in flight.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The client side of the router.
pub(super) struct Edge {
    pub forwarder: Forwarder,
    pub drain: Arc<Drain>,
    /// Whether `/ready` responds with 200.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// Counts open connections.
    pub connections: IntGauge,
}

impl Edge {
    /// Serves until `stop` resolves. Then closes idle connections and waits a little for the rest.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = Arc::clone(&self).connection(stream, peer, graceful.watcher());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                // Either file descriptors ran out or the client has gone already. Accepting may
                // work again in a moment.
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(CLOSE_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("shutdown deadline reached with open connections");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        stream.set_nodelay(true).ok();
        self.connections.inc();
        let edge = Arc::clone(&self);
        let service = service_fn(move |request| Arc::clone(&edge).respond(request, peer));
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
            tracing::debug!(error, "connection failed");
        }
        self.connections.dec();
    }

    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let version = request.version();
        let mut response = match request.uri().path() {
            "/health" => responses::status_only(StatusCode::OK).map(Either::Left),
            "/ready" => {
                let status =
                    if (self.ready)() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                responses::status_only(status).map(Either::Left)
            }
            _ => self.forwarder.respond(request, peer).await?,
        };
        // Makes the client open its next connection to a router that is not draining.
        if self.drain.has_started() && version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

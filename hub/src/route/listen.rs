//! Responds to the requests of clients: with the router's own status, or with what a pod responds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use mcphub_hub_listen::{ConnectionMetrics, Limits};
use tokio::net::TcpListener;

use super::drain::Drain;
use super::forward::{Forwarder, ResponseBody};
use super::responses;

/// The client side of the router.
pub(super) struct Edge {
    pub forwarder: Forwarder,
    pub drain: Arc<Drain>,
    /// Whether `/ready` responds with 200.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
    pub connections: ConnectionMetrics,
}

impl Edge {
    /// Serves until `stop` resolves. Then closes idle connections and waits a little for the rest.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let metrics = self.connections.clone();
        let handler = move |request, peer| {
            let edge = Arc::clone(&self);
            async move {
                let Ok(response) = edge.respond(request, peer).await;
                response
            }
        };
        mcphub_hub_listen::serve(listener, handler, Limits::default(), metrics, stop).await;
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

//! The operator's HTTP server for metrics and health checks. All of its endpoints are read-only.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mcphub_hub_listen::{ConnectionMetrics, Limits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;

use crate::metrics::Metrics;
use crate::stores::Stores;

#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// A replica is ready when these caches are synced, whether it leads or not. A follower with
    /// cold caches would be slow to take over.
    pub(crate) stores: Vec<Arc<Stores>>,
}

/// Serves until `stop` is cancelled.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Admin,
    connections: ConnectionMetrics,
    stop: CancellationToken,
) {
    let handler = mcphub_hub_listen::router(routes(admin));
    let stopped = stop.cancelled_owned();
    mcphub_hub_listen::serve(listener, handler, Limits::admin(), connections, stopped).await;
}

fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.stores.iter().all(|stores| stores.are_synced()) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not synced yet")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(path: &str, stores: Vec<Arc<Stores>>) -> StatusCode {
        let metrics = Arc::new(Metrics::new(std::iter::empty()).unwrap());
        let request = Request::get(path).body(Body::empty()).unwrap();
        routes(Admin { metrics, stores }).oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_replica_with_cold_caches_is_alive_but_not_ready() {
        let cold = vec![Arc::new(Stores::default())];
        assert_eq!(status("/healthz", cold.clone()).await, StatusCode::OK);
        assert_eq!(status("/readyz", cold.clone()).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/metrics", cold).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn an_unknown_path_is_not_found() {
        assert_eq!(status("/", vec![]).await, StatusCode::NOT_FOUND);
    }
}

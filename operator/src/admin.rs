//! The operator's own HTTP server: metrics and health. Nothing on it changes anything.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;

use crate::metrics::Metrics;
use crate::stores::Stores;

/// What the server tells of.
#[derive(Debug, Clone)]
pub struct Admin {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Synced caches make a replica ready, leading or not: a follower with cold caches would be a slow successor.
    pub stores: Vec<Arc<Stores>>,
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, routes(admin))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
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
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet")
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
    async fn a_replica_with_empty_caches_is_alive_but_not_ready() {
        let cold = vec![Arc::new(Stores::default())];
        assert_eq!(status("/healthz", cold.clone()).await, StatusCode::OK);
        assert_eq!(status("/readyz", cold.clone()).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/metrics", cold).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn nothing_else_is_served() {
        assert_eq!(status("/", vec![]).await, StatusCode::NOT_FOUND);
    }
}

//! HTTP without a network: requests to a router in this process.

use axum::Router;
use axum::body::Body;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// A router that is called like a server.
#[derive(Clone, Debug)]
pub(crate) struct LocalService(Router);

impl LocalService {
    pub(crate) fn new(router: Router) -> Self {
        Self(router)
    }

    /// Sends a request. Like over a network, dropping the response ends the handler's stream.
    pub(crate) async fn send(&self, request: http::Request<String>) -> reqwest::Response {
        let response = match self.0.clone().oneshot(request.map(Body::from)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        // A body that is there already is passed on whole, with its length.
        let body = if body.size_hint().exact().is_some() {
            let whole = body.collect().await.map(http_body_util::Collected::to_bytes);
            reqwest::Body::from(whole.unwrap_or_default())
        } else {
            reqwest::Body::wrap_stream(body.into_data_stream())
        };
        http::Response::from_parts(parts, body).into()
    }
}

//! What every request passes first: the checks of Host and Origin, and the bounds of its body.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_TYPE, HeaderMap, HeaderName, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mcphub_hub_protocol::rewrite;
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::context::SESSION_ID;
use super::responses::{json_response, refusal};
use crate::host_header;
use crate::serve::state::hub::Hub;

/// A body that trickles in holds a permit that other requests want.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What a page of an allowed origin may do. Credentials are not allowed, because the hub reads no
/// cookies.
static CORS: LazyLock<CorsLayer> = LazyLock::new(|| {
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // Every header is allowed: the hub checks those that it reads, as for any client.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            SESSION_ID,
            HeaderName::from_static("mcp-hub-revision"), // the router adds it
            WWW_AUTHENTICATE,
            RETRY_AFTER,
        ])
        .max_age(Duration::from_mins(10))
        .vary([ORIGIN])
});

/// Keeps web pages from reaching a hub that their user can reach (DNS rebinding).
pub(crate) async fn check_host_and_origin(
    State(hub): State<Arc<Hub>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = host_header::name(headers, request.uri());
    if !host.is_some_and(|host| host_header::is_safe(&host) || hub.allows_host(&host)) {
        return refusal(
            StatusCode::FORBIDDEN,
            "this Host is not served; use an IP address or localhost, or add it to allowedHosts",
        );
    }
    let Some(origin) = headers.get(ORIGIN) else { return next.run(request).await };
    let text = origin.to_str().unwrap_or_default();
    if hub.snapshot().config.allowed_origins.iter().any(|allowed| allowed == text) {
        let served = CORS.layer(next).oneshot(request).await;
        return served.unwrap_or_else(|never| match never {});
    }
    // Not even an Origin that equals Host: the page of an attacker whose name resolves to the hub
    // sends the same name as both.
    refusal(StatusCode::FORBIDDEN, "this Origin is not allowed; add it to allowedOrigins")
}

/// Reads the body of a message. `Err` is the response to send instead.
pub(crate) async fn read_body(
    hub: &Hub,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Response> {
    let json = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    });
    if !json {
        return Err(refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        ));
    }
    let max = usize::try_from(hub.snapshot().config.limits.max_request_bytes).unwrap_or(usize::MAX);
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await;
    let read =
        read.map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?;
    let bytes = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is longer than {max} bytes"))
        } else {
            refusal(StatusCode::BAD_REQUEST, "the body did not arrive")
        }
    })?;
    String::from_utf8(bytes.to_bytes().into()).map_err(|_| {
        json_response(
            StatusCode::BAD_REQUEST,
            rewrite::error_response(
                None,
                &rewrite::error(-32700, "Parse error: the body is not UTF-8"),
            ),
        )
    })
}

//! The admin port (7001) of `serve` and `route`.
//!
//! | path | who may | response |
//! |---|---|---|
//! | `GET /metrics` | anyone | Prometheus text |
//! | `GET /healthz`, `/readyz` | anyone | 200, or 503 with the reason |
//! | `GET /generation` | bearer of an admin token | [`Generation`] |
//! | `GET /why` | loopback | which rule hides or shows a tool; hubs only |
//! | `POST /drain` | loopback | 202 with [`DrainStatus`]; poll it until nothing is left |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mcphub_hub_listen::{ConnectionMetrics, Limits};
use mcphub_hub_wire::admin::{GENERATION_PATH, Generation};
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::keys::KeyRing;
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::host_header;

pub(crate) const DRAIN_PATH: &str = "/drain";
/// How many requests are answered at a time. More wait.
const MAX_CONCURRENT: usize = 64;
/// The self-check is the slowest request: it sends several requests through the path that clients
/// take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the admin port of a pod serves.
pub(crate) struct Admin {
    pub metrics: Registry,
    /// The keys whose tokens open the guarded paths.
    pub keys: watch::Receiver<Arc<KeyRing>>,
    /// The data plane state in force.
    pub dataplane: watch::Receiver<Arc<Dataplane>>,
    /// Whether the config allows a request to this host.
    pub allows_host: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// `Err` says why the pod is not ready.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Starts to drain, and returns what is left each time it is called.
    pub drain: Box<dyn Fn() -> DrainStatus + Send + Sync>,
}

/// The response to a drain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainStatus {
    /// The open sessions of a hub, or the requests in flight of a router. At 0 the pod may stop.
    pub left: u64,
}

/// All paths of the admin port. `guarded` adds paths that need an admin token, `local` paths that
/// only this pod may request.
pub(crate) fn router(admin: Admin, guarded: Router, local: Router) -> Router {
    let admin = Arc::new(admin);
    let web_pages = Arc::clone(&admin);
    let guarded = guarded
        .merge(Router::new().route(GENERATION_PATH, get(generation)).with_state(Arc::clone(&admin)))
        .layer(from_fn_with_state(Arc::clone(&admin), require_token));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(&admin))
        .merge(guarded)
        .merge(
            // If anyone on the network could request a drain, anyone could stop a hub.
            Router::new()
                .route(DRAIN_PATH, post(drain))
                .with_state(admin)
                .merge(local)
                .layer(from_fn(require_local)),
        )
        .layer(from_fn_with_state(web_pages, refuse_web_pages))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(GlobalConcurrencyLimitLayer::new(MAX_CONCURRENT))
}

/// Serves as long as the process lives. The metrics of the last requests are needed too.
pub(crate) async fn serve(listener: TcpListener, router: Router, connections: ConnectionMetrics) {
    let handler = mcphub_hub_listen::router(router);
    let never = std::future::pending();
    mcphub_hub_listen::serve(listener, handler, Limits::admin(), connections, never).await;
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    match TextEncoder::new().encode_to_string(&admin.metrics.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match (admin.ready)() {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn generation(State(admin): State<Arc<Admin>>) -> Json<Generation> {
    Json(Generation { generation: admin.dataplane.borrow().generation })
}

async fn drain(State(admin): State<Arc<Admin>>) -> Response {
    (StatusCode::ACCEPTED, Json((admin.drain)())).into_response()
}

/// Keeps out web pages whose user's browser can reach the port, such as that of somebody who
/// forwards it. A page of another site could otherwise send a drain, which browsers send without
/// asking first, and a page whose name is made to resolve to the pod could read everything.
async fn refuse_web_pages(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let from_page = headers.contains_key(header::ORIGIN)
        || headers.get("sec-fetch-site").is_some_and(|site| site != "none");
    let host = host_header::name(headers, request.uri());
    let is_ours = host.is_none_or(|host| {
        host_header::is_safe(&host) || host_header::is_internal(&host) || (admin.allows_host)(&host)
    });
    if from_page || !is_ours {
        let reason = "web pages must not request this, and the Host must be an IP address, \
                      localhost, a name of the cluster or one of allowedHosts";
        (StatusCode::FORBIDDEN, reason).into_response()
    } else {
        next.run(request).await
    }
}

/// Lets only requests from within the pod pass: those who may exec into it or forward a port.
async fn require_local(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if peer.ip().to_canonical().is_loopback() {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only this pod may request this; use kubectl exec or port-forward")
            .into_response()
    }
}

async fn require_token(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let valid = token.is_some_and(|token| is_valid(&admin.keys.borrow(), token));
    if valid {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
    }
}

/// Whether this is the token of a valid key. The comparison takes the same time for every wrong
/// token.
fn is_valid(keys: &KeyRing, token: &str) -> bool {
    let digest = Sha256::digest(token);
    keys.iter().fold(false, |found, key| {
        found | bool::from(digest.ct_eq(&Sha256::digest(key.admin_token())))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::body::Body;
    use mcphub_hub_wire::dataplane::SCHEMA;
    use mcphub_hub_wire::keys::MasterKey;
    use tower::ServiceExt as _;

    use super::*;

    fn ring(serial: u32) -> KeyRing {
        MasterKey::new([1; 32]).ring("uid", serial)
    }

    fn admin() -> Router {
        let dataplane = Dataplane { schema: SCHEMA, generation: 7, revisions: BTreeMap::new() };
        let admin = Admin {
            metrics: Registry::new(),
            keys: watch::channel(Arc::new(ring(3))).1,
            dataplane: watch::channel(Arc::new(dataplane)).1,
            allows_host: Box::new(|host| host == "hub.example.com"),
            ready: Box::new(|| Err("no pod is known".into())),
            drain: Box::new(|| DrainStatus { left: 2 }),
        };
        let stub = |path: &str| Router::new().route(path, get(async || "answered"));
        router(admin, stub("/self-check"), stub("/local"))
    }

    async fn ask(request: axum::http::request::Builder) -> (u16, String) {
        let response = admin().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn with_token(path: &str, token: &str) -> axum::http::request::Builder {
        Request::get(path).header("authorization", format!("Bearer {token}"))
    }

    #[tokio::test]
    async fn guarded_paths_need_the_token_of_a_key_in_the_ring() {
        for path in ["/generation", "/self-check"] {
            assert_eq!(ask(Request::get(path)).await.0, 401, "{path} without token");
            for (serial, status) in [(3, 200), (2, 200), (1, 401)] {
                let token = MasterKey::new([1; 32]).hub_key("uid", serial).admin_token();
                assert_eq!(
                    ask(with_token(path, &token)).await.0,
                    status,
                    "{path} with key {serial}"
                );
            }
        }
        let token = ring(3).current().admin_token();
        assert_eq!(
            ask(with_token("/generation", &token)).await,
            (200, r#"{"generation":7}"#.into())
        );
    }

    // `POST /drain` needs no preflight: a page that somebody opens could drain their hub.
    #[tokio::test]
    async fn web_pages_may_request_nothing() {
        let peer = ConnectInfo::<SocketAddr>("127.0.0.1:1".parse().unwrap());
        let drain = || Request::post(DRAIN_PATH).extension(peer).header("host", "localhost:7001");
        assert_eq!(ask(drain()).await.0, 202);
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "http://localhost:7001"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert_eq!(ask(drain().header(name, value)).await.0, 403, "{name}: {value}");
        }
        for (host, status) in [
            ("evil.example:7001", 403),
            ("team.ai.svc.evil.example", 403),
            ("10.1.2.3:7001", 200),
            ("[::1]:7001", 200),
            ("team.ai.svc:7001", 200),
            ("team-hub", 200),
            ("hub.example.com:7001", 200),
        ] {
            let metrics = Request::get("/metrics").header("host", host);
            assert_eq!(ask(metrics).await.0, status, "{host}");
        }
    }

    #[tokio::test]
    async fn a_pod_that_is_not_ready_says_why() {
        assert_eq!(ask(Request::get("/readyz")).await, (503, "no pod is known".into()));
        assert_eq!(ask(Request::get("/healthz")).await.0, 200);
    }

    #[tokio::test]
    async fn drain_and_local_paths_are_for_loopback_only() {
        let peer = |peer: &str| ConnectInfo::<SocketAddr>(peer.parse().unwrap());
        let from = |address: &str| Request::post(DRAIN_PATH).extension(peer(address));
        let local = |address: &str| Request::get("/local").extension(peer(address));
        assert_eq!(
            (ask(local("10.0.0.1:1")).await.0, ask(local("127.0.0.1:1")).await.0),
            (403, 200)
        );
        assert_eq!(ask(from("10.0.0.1:1")).await.0, 403);
        assert_eq!(ask(from("127.0.0.1:1")).await, (202, r#"{"left":2}"#.into()));
        assert_eq!(ask(from("[::ffff:127.0.0.1]:1")).await.0, 202);
    }
}

//! The admin port (7001), as far as `serve` and `route` share it.
//!
//! | path | who may | what |
//! |---|---|---|
//! | `GET /metrics` | all | Prometheus text |
//! | `GET /healthz`, `/readyz` | all | 200, or 503 with the reason |
//! | `GET /generation` | bearer of an admin token | [`Generation`] |
//! | `GET /why` | loopback | which rule hides or shows a tool; hubs only |
//! | `POST /drain` | loopback | 202 with [`Drained`]; asked again until nothing is left |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
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

/// Path of the drain request.
pub const DRAIN_PATH: &str = "/drain";
/// Requests under way at a time; more wait.
const MAX_CONCURRENT: usize = 64;
/// The self-check is the slowest: three tries, each of a call through the real path.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the admin port of a pod tells.
pub struct Admin {
    /// Everything that is measured.
    pub metrics: Registry,
    /// Whose tokens open the guarded paths.
    pub keys: watch::Receiver<Arc<KeyRing>>,
    /// The state in force.
    pub dataplane: watch::Receiver<Arc<Dataplane>>,
    /// `Err` says why not, for a person.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Told to drain: takes nothing new where that is in its hands. Says what is left each time it is asked.
    pub drain: Box<dyn Fn() -> Drained + Send + Sync>,
}

/// Answer to a drain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Sessions of a hub, requests under way in a router. 0: the pod may go.
    pub left: u64,
}

/// All paths of the admin port. `guarded` adds paths that only the bearer of an admin token may ask, `local` those that
/// are answered to this pod only.
pub fn router(admin: Admin, guarded: Router, local: Router) -> Router {
    let admin = Arc::new(admin);
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
            // A drain that anybody on the network can ask for is a way to switch a hub off.
            Router::new()
                .route(DRAIN_PATH, post(drain))
                .with_state(admin)
                .merge(local)
                .layer(from_fn(require_local)),
        )
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(GlobalConcurrencyLimitLayer::new(MAX_CONCURRENT))
}

/// Answers on the listener until `stop` ends.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
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

/// Only from within the pod, which Kubernetes lets few people into.
async fn require_local(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if peer.ip().to_canonical().is_loopback() {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "answered to this pod only; use kubectl exec or port-forward")
            .into_response()
    }
}

async fn require_token(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    let known = given.is_some_and(|token| opens(&admin.keys.borrow(), token));
    if known {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
    }
}

/// Whether it is the token of a valid key. Takes the same time however much of it is right.
fn opens(keys: &KeyRing, token: &str) -> bool {
    let given = Sha256::digest(token);
    keys.iter().fold(false, |found, key| {
        found | bool::from(given.ct_eq(&Sha256::digest(key.admin_token())))
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
            ready: Box::new(|| Err("no pod is known".into())),
            drain: Box::new(|| Drained { left: 2 }),
        };
        let of = |path: &str| Router::new().route(path, get(async || "answered"));
        router(admin, of("/self-check"), of("/local"))
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
    async fn guarded_paths_open_to_the_tokens_of_the_ring_and_to_nobody_else() {
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

    #[tokio::test]
    async fn readiness_says_why_not() {
        assert_eq!(ask(Request::get("/readyz")).await, (503, "no pod is known".into()));
        assert_eq!(ask(Request::get("/healthz")).await.0, 200);
    }

    #[tokio::test]
    async fn drain_and_what_is_local_are_answered_to_loopback_only() {
        let peer = |peer: &str| ConnectInfo::<SocketAddr>(peer.parse().unwrap());
        let from = |of: &str| Request::post(DRAIN_PATH).extension(peer(of));
        let local = |of: &str| Request::get("/local").extension(peer(of));
        assert_eq!(
            (ask(local("10.0.0.1:1")).await.0, ask(local("127.0.0.1:1")).await.0),
            (403, 200)
        );
        assert_eq!(ask(from("10.0.0.1:1")).await.0, 403);
        assert_eq!(ask(from("127.0.0.1:1")).await, (202, r#"{"left":2}"#.into()));
        assert_eq!(ask(from("[::ffff:127.0.0.1]:1")).await.0, 202);
    }
}

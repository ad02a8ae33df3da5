//! Hub pods and a router on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use mcphub_hub::route::pods::{Discovery, PodList, ServiceNames, Upstream};
use mcphub_hub::route::{RouterInputs, serve};
use mcphub_hub_routing::session_id::{self, SessionClaims};
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::keys::{KeyRing, MasterKey};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub const OLD: &str = "aaaaaaaa";
pub const NEW: &str = "bbbbbbbb";
/// How long a test waits for something that must happen. It is far more than that takes, because
/// the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

fn ring() -> KeyRing {
    MasterKey::new([7; 32]).ring("uid", 1)
}

/// A server that looks like a hub pod to the router: it opens sessions, streams, and has slow and
/// broken paths.
pub struct HubPod {
    name: String,
    address: SocketAddr,
    pub serving: JoinHandle<()>,
    requests: Arc<AtomicUsize>,
}

impl HubPod {
    pub async fn start(revision: &'static str, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (pod, count) = (name.to_owned(), Arc::clone(&requests));
        let respond = move |request: Request| {
            count.fetch_add(1, Ordering::Relaxed);
            pod_response(revision, pod.clone(), request)
        };
        let app = Router::new().fallback(any(respond));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { name: name.into(), address, serving, requests }
    }

    pub fn upstream(&self, ready: bool) -> Upstream {
        Upstream::new(self.name.clone(), self.address.to_string(), ready)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn pod_response(revision: &'static str, pod: String, request: Request) -> Response {
    match request.uri().path() {
        "/echo" => {
            let headers = request.headers().clone();
            let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
            let head: Vec<_> =
                headers.iter().map(|(k, v)| format!("{k}: {}\n", v.to_str().unwrap())).collect();
            (
                [("x-seen", body.len().to_string())],
                [head.concat().into_bytes(), body.to_vec()].concat(),
            )
                .into_response()
        }
        "/slow" => std::future::pending().await,
        "/stream" => ([("content-type", "text/event-stream")], ticks()).into_response(),
        "/broken" => ([("content-type", "application/json")], half()).into_response(),
        "/500" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ if request.headers().contains_key("mcp-session-id") => pod.into_response(),
        _ => ([("mcp-session-id", session_of(revision, &pod))], pod).into_response(),
    }
}

/// Sends an event at once, and then one every 300 ms.
fn ticks() -> Body {
    Body::from_stream(futures::stream::unfold(0, |n| async move {
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Some((Ok::<_, std::io::Error>(Bytes::from(format!("data: {n}\n\n"))), n + 1))
    }))
}

/// Breaks the connection after the head and a few bytes.
fn half() -> Body {
    Body::from_stream(futures::stream::unfold(true, |first| async move {
        if first {
            return Some((Ok(Bytes::from("half")), false));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Err(std::io::Error::other("gone")), false))
    }))
}

pub fn session_of(revision: &str, pod: &str) -> String {
    let claims = SessionClaims {
        unique: rand::random(),
        revision: Some(revision.parse().unwrap()),
        pod: pod.into(),
        protocol_version: "2025-11-25".into(),
        client_info: None,
        capabilities: None,
        principal: [0; 32],
        view: None,
    };
    session_id::seal(&ring(), &claims, rand::random())
}

pub fn dataplane(generation: u64, revisions: &[(&str, &str, u8)]) -> Arc<Dataplane> {
    let revisions: BTreeMap<_, _> = revisions
        .iter()
        .map(|(hash, role, weight)| (*hash, serde_json::json!({"role": role, "weight": weight})))
        .collect();
    let value = serde_json::json!({"schema": 1, "generation": generation, "revisions": revisions});
    Arc::new(serde_json::from_value(value).unwrap())
}

pub fn listed(pods: &[(&str, Vec<Upstream>)]) -> PodList {
    let by_service = pods.iter().map(|(hash, pods)| (format!("demo-r-{hash}"), pods.clone()));
    Some(by_service.collect())
}

/// One pod of each of two revisions: `old-0` and `new-0`.
pub async fn two_revisions() -> (HubPod, HubPod, PodList) {
    let (old, new) = (HubPod::start(OLD, "old-0").await, HubPod::start(NEW, "new-0").await);
    let pods = listed(&[(OLD, vec![old.upstream(true)]), (NEW, vec![new.upstream(true)])]);
    (old, new, pods)
}

/// A router, and the senders of its inputs.
pub struct TestRouter {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub pods: watch::Sender<PodList>,
    pub stop: Option<oneshot::Sender<()>>,
    pub running: JoinHandle<anyhow::Result<()>>,
    pub http: reqwest::Client,
    dataplane: watch::Sender<Arc<Dataplane>>,
    _keys: watch::Sender<Arc<KeyRing>>,
}

impl TestRouter {
    pub async fn start(state: Arc<Dataplane>, pods: PodList) -> Self {
        mcphub_hub::telemetry::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, admin) =
            (listener.local_addr().unwrap(), admin_listener.local_addr().unwrap());
        let (dataplane, states) = watch::channel(state);
        let (pods, lists) = watch::channel(pods);
        let (keys, rings) = watch::channel(Arc::new(ring()));
        let (stop, stopped) = oneshot::channel::<()>();
        let inputs = RouterInputs {
            names: ServiceNames { hub: "demo".into(), namespace: "ns".into() },
            dataplane: states,
            keys: rings,
            discovery: Discovery::External(lists),
            listener,
            admin_listener,
        };
        let running = tokio::spawn(serve(inputs, async {
            stopped.await.ok();
        }));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let router =
            Self { address, admin, dataplane, pods, _keys: keys, stop: Some(stop), running, http };
        let generation = router.dataplane.borrow().generation;
        router.wait_for_generation(generation).await;
        router
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets the data plane state, and waits until it is in force.
    pub async fn set(&self, state: Arc<Dataplane>) {
        let generation = state.generation;
        self.dataplane.send_replace(state);
        self.wait_for_generation(generation).await;
    }

    async fn wait_for_generation(&self, generation: u64) {
        let token = ring().current().admin_token();
        let expected = format!("{{\"generation\":{generation}}}");
        let in_force = async {
            let ask = || {
                self.http
                    .get(format!("http://{}/generation", self.admin))
                    .bearer_auth(&token)
                    .send()
            };
            while ask().await.unwrap().text().await.unwrap() != expected {}
        };
        tokio::time::timeout(PATIENCE, in_force).await.expect("the generation is in force");
    }

    /// Opens a session. Returns its id and its pod.
    pub async fn initialize(&self) -> (String, String) {
        let response = self.http.post(self.url("/mcp")).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 200);
        let id = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        (id, response.text().await.unwrap())
    }

    pub async fn call(&self, session: &str) -> (u16, String) {
        let request = self.http.post(self.url("/mcp")).header("mcp-session-id", session).body("{}");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn metrics(&self) -> String {
        self.http
            .get(format!("http://{}/metrics", self.admin))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// The names and labels of all series, sorted and without their values. Histogram buckets are
    /// left out.
    pub async fn series(&self) -> Vec<String> {
        let text = self.metrics().await;
        let mut series: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("_bucket"))
            .map(|line| {
                let series = line.rsplit_once(' ').unwrap().0;
                let (name, labels) = series.split_once('{').unwrap();
                let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
                labels.sort_unstable();
                format!("{name}{{{}}}", labels.join(","))
            })
            .collect();
        series.sort_unstable();
        series
    }

    /// The value of the series with this name whose labels contain all of these texts.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let text = self.metrics().await;
        let line = text.lines().find(|line| {
            line.split(['{', ' ']).next() == Some(name)
                && labels.iter().all(|label| line.contains(label))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until the series has this value. The router counts a request only after it has sent
    /// the last byte of the response.
    pub async fn counts(&self, name: &str, labels: &[&str], value: f64) {
        let reached = async { while self.metric(name, labels).await != Some(value) {} };
        let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        assert!(in_time, "{name} {labels:?} is {:?}, not {value}", self.metric(name, labels).await);
    }
}

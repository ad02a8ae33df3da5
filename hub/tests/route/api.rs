//! What the router reads from the API server: the runtime ConfigMap and the EndpointSlices. A test
//! server lists and watches like the real one. The cluster tests use the real one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::StreamExt as _;
use mcphub_hub::dataplane::{DataplaneFollower, RuntimeConfigMap};
use mcphub_hub::route::pods::Discovery;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Objects by the selector that lists them, and the watchers.
#[derive(Clone)]
struct ApiServer {
    objects: Arc<Mutex<HashMap<String, Value>>>,
    changes: broadcast::Sender<(String, Value)>,
}

impl ApiServer {
    fn new() -> Self {
        Self { objects: Arc::default(), changes: broadcast::channel(16).0 }
    }

    /// Serves on this address until the token is canceled. Then every connection breaks.
    async fn serve(&self, address: SocketAddr) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/api/v1/namespaces/ns/configmaps", get(list_or_watch))
            .route("/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices", get(list_or_watch))
            .with_state(self.clone());
        // Its own runtime, so that its connections end with it.
        let down = CancellationToken::new();
        let until = down.clone();
        let listener = listener.into_std().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::spawn(async move { axum::serve(listener, app).await });
                until.cancelled().await;
            });
            runtime.shutdown_background();
        });
        (address, down)
    }

    /// Sets the one object that this selector selects.
    fn set(&self, selector: &str, mut object: Value, version: u64) {
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.objects.lock().unwrap().insert(selector.into(), object.clone());
        self.changes.send((selector.into(), object)).ok();
    }
}

async fn list_or_watch(
    State(api): State<ApiServer>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let selector =
        query.get("fieldSelector").or(query.get("labelSelector")).expect("a selector").clone();
    if query.get("watch").is_none_or(|watch| watch != "true") {
        let items: Vec<_> =
            api.objects.lock().unwrap().get(&selector).cloned().into_iter().collect();
        let version =
            items.first().map_or(json!("1"), |item| item["metadata"]["resourceVersion"].clone());
        return Json(json!({
            "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version},
            "items": items
        }))
        .into_response();
    }
    // First comes what changed between the list and this watch, as its resourceVersion requires.
    let listed: u64 = query["resourceVersion"].parse().unwrap();
    let changes = api.changes.subscribe();
    let missed = api
        .objects
        .lock()
        .unwrap()
        .get(&selector)
        .filter(|object| version(object) > listed)
        .cloned();
    let later = futures::stream::unfold(changes, async |mut changes| {
        Some((changes.recv().await.ok()?, changes))
    });
    let later = later.filter_map(move |(changed, object)| {
        std::future::ready((changed == selector).then_some(object))
    });
    let events = futures::stream::iter(missed).chain(later).map(|object| {
        let event = json!({"type": "MODIFIED", "object": object});
        Ok::<_, std::io::Error>(Bytes::from(format!("{event}\n")))
    });
    Body::from_stream(events).into_response()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn client(address: SocketAddr) -> kube::Client {
    mcphub_hub::telemetry::start();
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    kube::Client::try_from(config).unwrap()
}

const RUNTIME: &str = "metadata.name=demo-runtime";
const SLICES: &str = "mcphub.dev/hub=demo";

fn config_map(generation: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "demo-runtime", "namespace": "ns"
    },
        "data": {"dataplane.json": state(generation)}})
}

fn state(generation: u64) -> String {
    json!({"schema": 1, "generation": generation, "revisions": {}}).to_string()
}

fn mount(folder: &Path, generation: u64) {
    std::fs::write(folder.join("new"), state(generation)).unwrap();
    std::fs::rename(folder.join("new"), folder.join("dataplane.json")).unwrap();
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Long for what takes milliseconds, because other tests run at the same time.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_generation_of_mounted_file_and_watch_is_in_force() {
    let api = ApiServer::new();
    api.set(RUNTIME, config_map(2), 2);
    let (address, _up) = api.serve(ANY).await;
    let mounted = tempfile::tempdir().unwrap();
    mount(mounted.path(), 1);
    let watched =
        RuntimeConfigMap { client: client(address), namespace: "ns".into(), hub: "demo".into() };
    let runtime = DataplaneFollower::start(Some(mounted.path()), Some(watched));
    let mut in_force = runtime.subscribe();
    let first = in_force.borrow_and_update().generation;
    assert!(
        (1..=2).contains(&first),
        "neither the file nor the watch is in force at once: {first}"
    );
    let mut becomes = async |generation| {
        let found =
            tokio::time::timeout(SOON, in_force.wait_for(|state| state.generation == generation))
                .await;
        found.unwrap_or_else(|_| panic!("generation {generation} is not in force")).unwrap();
    };
    becomes(2).await;
    api.set(RUNTIME, config_map(3), 3);
    becomes(3).await;
    // The kubelet is first behind, then ahead.
    mount(mounted.path(), 2);
    mount(mounted.path(), 4);
    becomes(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_the_last_state_stays_in_force_and_later_changes_are_followed_again()
{
    let api = ApiServer::new();
    api.set(RUNTIME, config_map(2), 2);
    let (address, up) = api.serve(ANY).await;
    let watched =
        RuntimeConfigMap { client: client(address), namespace: "ns".into(), hub: "demo".into() };
    let runtime = DataplaneFollower::start(None, Some(watched));
    let mut in_force = runtime.subscribe();
    in_force.wait_for(|state| state.generation == 2).await.unwrap();
    up.cancel();
    let since = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(since.elapsed() < SOON * 2, "the API server never went away");
        tokio::task::yield_now().await;
    }
    api.set(RUNTIME, config_map(3), 3);
    assert_eq!(in_force.borrow_and_update().generation, 2);
    let (_, _up) = api.serve(address).await;
    let back =
        tokio::time::timeout(SOON * 2, in_force.wait_for(|state| state.generation == 3)).await;
    back.expect("followed within the longest pause between retries").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_pods_follows_the_endpoint_slices() {
    let slice = |pods: &[&str]| {
        let endpoints: Vec<_> = pods
            .iter()
            .map(|pod| {
                json!({
                    "addresses": ["10.0.0.1"], "conditions": {"ready": true},
                    "targetRef": {"name": pod}
                })
            })
            .collect();
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "demo-r-aaaaaaaa-x", "namespace": "ns",
                "labels": {
                    "kubernetes.io/service-name": "demo-r-aaaaaaaa", "mcphub.dev/hub": "demo"
                }},
            "endpoints": endpoints})
    };
    let api = ApiServer::new();
    api.set(SLICES, slice(&["one"]), 2);
    let (address, _up) = api.serve(ANY).await;
    let discovery = Discovery::Cluster { client: client(address), namespace: "ns".into() };
    let mut listed = discovery.start("demo").await;
    let names = |listed: &mcphub_hub::route::pods::PodList| -> Vec<String> {
        let pods = listed.as_ref().expect("a list of pods")["demo-r-aaaaaaaa"].iter();
        pods.map(|pod| pod.name.clone()).collect()
    };
    assert_eq!(names(&listed.borrow_and_update()), ["one"]);
    api.set(SLICES, slice(&["one", "two"]), 3);
    let changed =
        tokio::time::timeout(SOON, listed.wait_for(|listed| names(listed) == ["one", "two"])).await;
    assert!(changed.is_ok(), "a new pod is not listed in time");
}

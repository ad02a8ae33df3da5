//! A node without containers, as in kubemark: its pods exist in the API server and are Ready, and
//! this process answers for all of them. A pod reads its own ConfigMaps, as a real one does, so
//! what it answers depends on what the operator wrote.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Json;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::IncomingStream;
use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use mcphub_hub_wire::admin::{
    GENERATION_PATH, Generation, SELF_CHECK_PATH, SelfCheck, ServerState,
};
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::paths::{ADMIN_PORT, CONFIG_FILE, DATAPLANE_FILE};
use mcphub_operator_plan::api::labels;
use mcphub_tests::cluster::ControlPlane;
use mcphub_tests::wait::{PATIENCE, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::{CRD, established};

/// Every tool call through a revision with a server at this host fails.
pub(crate) const FAILING_HOST: &str = "failing.example";
/// How often Prometheus scrapes the pods.
pub(crate) const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// Tool calls that each hub pod reports.
const CALLS_PER_SECOND: f64 = 50.0;

/// An API server without real nodes whose hubs all have pods.
pub(crate) async fn hollow_node() -> Result<(&'static ControlPlane, &'static HollowNode)> {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    static NODE: OnceCell<HollowNode> = OnceCell::const_new();
    let plane = PLANE.get_or_try_init(|| async {
        let plane = ControlPlane::start().await?;
        plane.kubectl(["apply", "--server-side", "-f", CRD]).await?;
        established(&plane).await?;
        anyhow::Ok(plane)
    });
    let plane = plane.await?;
    Ok((plane, NODE.get_or_try_init(|| HollowNode::start(plane)).await?))
}

/// Runs until the process ends.
pub(crate) struct HollowNode {
    client: Client,
    /// The URL of a Prometheus that scrapes all hub pods.
    pub(crate) prometheus: String,
    _data: TempDir,
}

struct Pods {
    client: Client,
    /// By IP address, from 127.64.0.1 on.
    running: Mutex<BTreeMap<Ipv4Addr, HollowPod>>,
}

#[derive(Clone)]
struct HollowPod {
    namespace: String,
    name: String,
    deployment: String,
    labels: BTreeMap<String, String>,
    /// Of a hub pod.
    config: Option<HubConfig>,
    started: Instant,
}

impl HollowNode {
    /// Runs the pods of all hubs of the API server, and a Prometheus beside them.
    pub(crate) async fn start(plane: &'static ControlPlane) -> Result<Self> {
        // Each test has a runtime of its own, which ends with the test.
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let runtime = Runtime::new()?;
        let launch = || RUNTIME.get_or_init(|| runtime).block_on(Self::launch(plane));
        tokio::task::spawn_blocking(launch).await?
    }

    async fn launch(plane: &ControlPlane) -> Result<Self> {
        let client = plane.client().await?;
        let pods = Arc::new(Pods { client: client.clone(), running: Mutex::default() });
        // All addresses in 127.0.0.0/8 are this machine's, so one listener serves every pod.
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, ADMIN_PORT))
            .await
            .with_context(|| format!("port {ADMIN_PORT} is in use"))?;
        let routes = axum::Router::new()
            .route(SELF_CHECK_PATH, get(self_check))
            .route(GENERATION_PATH, get(generation))
            .route("/metrics", get(metrics))
            .route("/targets", get(targets))
            .with_state(pods.clone())
            .into_make_service_with_connect_info::<LocalAddress>();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        tokio::spawn(kubelet(client.clone(), pods));
        let data = tempfile::tempdir()?;
        let folder = data.path().to_owned();
        // On a thread that stays: Prometheus ends with the thread that started it.
        let url = tokio::spawn(async move { prometheus(&folder) }).await??;
        let node = Self { client, prometheus: url, _data: data };
        let ready = async || {
            reqwest::get(format!("{}/-/ready", node.prometheus))
                .await
                .is_ok_and(|response| response.status() == 200)
        };
        until("Prometheus is ready", PATIENCE, ready).await?;
        Ok(node)
    }

    /// Lets the containers of a revision crash again and again.
    pub(crate) async fn crash(&self, namespace: &str, revision: &str) -> Result<()> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let of_revision = ListParams::default().labels(&format!("{}={revision}", labels::REVISION));
        let status = json!({"status": {
            "conditions": conditions("False"),
            "containerStatuses": [{
                "name": "hub", "image": "hub", "imageID": "hub", "ready": false, "restartCount": 5,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "crashed"}},
            }],
        }});
        for pod in pods.list(&of_revision).await? {
            let patch = Patch::Merge(&status);
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }
}

/// Starts Prometheus, which ends with this process, and returns its URL.
fn prometheus(data: &Path) -> Result<String> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let interval = format!("{}s", SCRAPE_INTERVAL.as_secs());
    let discovery = format!("http://127.0.0.1:{ADMIN_PORT}/targets");
    let config = json!({
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [{
            "job_name": "pods", "honor_labels": true,
            "http_sd_configs": [{"url": discovery, "refresh_interval": "1s"}],
        }],
    });
    let file = data.join("prometheus.yml");
    std::fs::write(&file, config.to_string())?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "prometheus"])
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", data.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--log.level=error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("failed to start prometheus")?;
    Ok(format!("http://{address}"))
}

/// Gives each Deployment the pods that it asks for, and tries again what failed, as a kubelet does
/// while the ConfigMap of a pod is missing.
async fn kubelet(client: Client, pods: Arc<Pods>) {
    let config = watcher::Config::default().labels(labels::HUB);
    let deployments = watcher(Api::<Deployment>::all(client), config).default_backoff();
    let mut events = std::pin::pin!(deployments);
    let mut retry = tokio::time::interval(Duration::from_millis(500));
    let mut failed = BTreeMap::new();
    loop {
        let due: Vec<(Deployment, usize)> = tokio::select! {
            event = events.try_next() => match event {
                Ok(Some(watcher::Event::Apply(it) | watcher::Event::InitApply(it))) => {
                    let replicas = it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                    vec![(it, usize::try_from(replicas).unwrap_or_default())]
                }
                Ok(Some(watcher::Event::Delete(it))) => vec![(it, 0)],
                Ok(Some(_)) | Err(_) => continue,
                Ok(None) => return,
            },
            _ = retry.tick() => std::mem::take(&mut failed).into_values().collect(),
        };
        for (deployment, wanted) in due {
            let key = (deployment.namespace(), deployment.name_any());
            match pods.scale(&deployment, wanted).await {
                Ok(()) => drop(failed.remove(&key)),
                Err(_) => drop(failed.insert(key, (deployment, wanted))),
            }
        }
    }
}

impl Pods {
    fn running(&self) -> MutexGuard<'_, BTreeMap<Ipv4Addr, HollowPod>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, address: IpAddr) -> Option<HollowPod> {
        let IpAddr::V4(address) = address else { return None };
        self.running().get(&address).cloned()
    }

    async fn scale(&self, deployment: &Deployment, wanted: usize) -> Result<()> {
        let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
        let mut mine: Vec<_> = self
            .running()
            .iter()
            .filter(|(_, pod)| pod.namespace == namespace && pod.deployment == name)
            .map(|(address, pod)| (*address, pod.name.clone()))
            .collect();
        mine.sort_by_key(|(_, name)| name.len());
        let api = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        for (address, pod) in mine.split_off(wanted.min(mine.len())) {
            self.running().remove(&address);
            let _ = api.delete(&pod, &DeleteParams::default().grace_period(0)).await;
        }
        for number in mine.len()..wanted {
            self.start(&api, deployment, &namespace, &format!("{name}-{number}")).await?;
        }
        Ok(())
    }

    async fn start(
        &self,
        api: &Api<Pod>,
        deployment: &Deployment,
        namespace: &str,
        name: &str,
    ) -> Result<()> {
        let template = deployment.spec.as_ref().context("no spec")?.template.clone();
        let labels = template.metadata.and_then(|metadata| metadata.labels).unwrap_or_default();
        let config = self.config(namespace, &labels).await?;
        let mut pod = Pod { spec: template.spec, ..Pod::default() };
        pod.spec.get_or_insert_default().node_name = Some("hollow".into());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.labels = Some(labels.clone());
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error).with_context(|| format!("{namespace}/{name}")),
        }
        let address = {
            let mut running = self.running();
            let last = running.last_key_value().map_or(Ipv4Addr::new(127, 64, 0, 0), |it| *it.0);
            let address = Ipv4Addr::from_bits(last.to_bits() + 1);
            let pod = HollowPod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                deployment: deployment.name_any(),
                labels,
                config,
                started: Instant::now(),
            };
            running.insert(address, pod);
            address
        };
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(running(address))).await?;
        Ok(())
    }

    /// The compiled config of a hub pod.
    async fn config(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<HubConfig>> {
        let component = labels.get(labels::COMPONENT).map(String::as_str);
        let (Some("hub"), Some(hub), Some(revision)) =
            (component, labels.get(labels::HUB), labels.get(labels::REVISION))
        else {
            return Ok(None);
        };
        let file = self.file(namespace, &format!("{hub}-r-{revision}"), CONFIG_FILE).await?;
        Ok(Some(serde_json::from_str(&file)?))
    }

    async fn file(&self, namespace: &str, map: &str, file: &str) -> Result<String> {
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let data = maps.get(map).await?.data.unwrap_or_default();
        data.get(file).cloned().with_context(|| format!("{map} has no {file}"))
    }
}

/// The status of a pod that has been Ready since now.
fn running(address: Ipv4Addr) -> Value {
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": conditions("True"),
    }})
}

fn conditions(ready: &str) -> Value {
    let now = jiff::Timestamp::now().to_string();
    let condition = |kind: &str, status: &str| {
        let since = &now;
        json!({"type": kind, "status": status, "lastTransitionTime": since})
    };
    json!([
        condition("PodScheduled", "True"),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

/// The address that a connection was made to: the pod's.
#[derive(Clone, Copy)]
struct LocalAddress(IpAddr);

impl Connected<IncomingStream<'_, tokio::net::TcpListener>> for LocalAddress {
    fn connect_info(stream: IncomingStream<'_, tokio::net::TcpListener>) -> Self {
        let address = stream.io().local_addr().map(|address: SocketAddr| address.ip());
        Self(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

type Asked = (ConnectInfo<LocalAddress>, State<Arc<Pods>>);

async fn self_check((at, pods): Asked) -> Result<Json<SelfCheck>, StatusCode> {
    let pod = pods.at(at.0.0).ok_or(StatusCode::NOT_FOUND)?;
    let servers = pod.config.iter().flat_map(|config| &config.servers);
    let connected = |server: &mcphub_hub_wire::config::Server| ServerState {
        name: server.name.clone(),
        connected: true,
        tools: 3,
        message: String::new(),
    };
    let servers: Vec<_> = servers.map(connected).collect();
    let visible_tools = u32::try_from(servers.len() * 3).ok();
    Ok(Json(SelfCheck {
        passed: true,
        checks: Vec::new(),
        servers,
        visible_tools,
        warnings: Vec::new(),
    }))
}

/// Like a router that watches its ConfigMap: it obeys what was written last.
async fn generation((at, pods): Asked) -> Result<Json<Generation>, StatusCode> {
    let pod = pods.at(at.0.0).ok_or(StatusCode::NOT_FOUND)?;
    let hub = pod.labels.get(labels::HUB).ok_or(StatusCode::NOT_FOUND)?;
    let file = pods.file(&pod.namespace, &format!("{hub}-runtime"), DATAPLANE_FILE).await;
    let file = file.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let dataplane: Dataplane =
        serde_json::from_str(&file).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(Generation { generation: dataplane.generation }))
}

/// Every hub pod, for the service discovery of Prometheus.
async fn targets(State(pods): State<Arc<Pods>>) -> Json<Value> {
    let running = pods.running();
    let hubs = running.iter().filter(|(_, pod)| pod.config.is_some());
    let targets: Vec<_> = hubs.map(|(address, _)| format!("{address}:{ADMIN_PORT}")).collect();
    Json(json!([{"targets": targets}]))
}

async fn metrics((at, pods): Asked) -> Result<String, StatusCode> {
    let pod = pods.at(at.0.0).ok_or(StatusCode::NOT_FOUND)?;
    let config = pod.config.as_ref().ok_or(StatusCode::NOT_FOUND)?;
    let label = |key: &str| pod.labels.get(key).map_or("", String::as_str);
    let (hub, revision) = (label(labels::HUB), label(labels::REVISION));
    let who = format!(r#"namespace="{}",hub="{hub}",revision="{revision}""#, pod.namespace);
    let fails = config.servers.iter().any(|server| server.url.contains(FAILING_HOST));
    let calls = pod.started.elapsed().as_secs_f64() * CALLS_PER_SECOND;
    let (ok, failed) = if fails { (0.0, calls) } else { (calls, 0.0) };
    let tool = r#"server="docs",tool="search""#;
    Ok(format!(
        "mcp_hub_info{{{who}}} 1\n\
         mcp_hub_tool_calls_total{{{who},{tool},outcome=\"ok\"}} {ok}\n\
         mcp_hub_tool_calls_total{{{who},{tool},outcome=\"tool_error\"}} {failed}\n"
    ))
}

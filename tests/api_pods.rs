//! A kubelet without containers: it gives every Deployment of the hub `team` the pods that it asks
//! for, all of them Ready at once, and answers at their admin port.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use mcphub_hub_wire::admin::{
    GENERATION_PATH, Generation, SELF_CHECK_PATH, SelfCheck, ServerState,
};
use mcphub_hub_wire::paths::ADMIN_PORT;
use mcphub_tests::wait::{PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Runs until it is dropped.
pub(crate) struct Kubelet {
    pods: Api<Pod>,
    _tasks: JoinSet<()>,
}

impl Kubelet {
    pub(crate) async fn start(client: &Client, namespace: &str) -> Result<Self> {
        // Its pods share one address, which no other one of this machine has.
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high, low, COUNT.fetch_add(1, Ordering::Relaxed));
        // Another program may listen on this port of all addresses for a while.
        let bind = async || TcpListener::bind((address, ADMIN_PORT)).await.ok();
        let listener = eventually("the admin port is free", PATIENCE, bind).await?;
        let pods = Api::namespaced(client.clone(), namespace);
        let deployments = Api::namespaced(client.clone(), namespace);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = axum::serve(listener, admin_port()).await;
        });
        let own = pods.clone();
        tasks.spawn(async move {
            loop {
                // A conflict with the API server is solved by the next round.
                let _ = run_pods(&deployments, &own, address).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Ok(Self { pods, _tasks: tasks })
    }

    /// Lets the containers of a revision crash again and again.
    pub(crate) async fn crash(&self, revision: &str) -> Result<()> {
        let of_revision = ListParams::default().labels(&format!("mcphub.dev/revision={revision}"));
        for pod in self.pods.list(&of_revision).await? {
            let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "crashed"}});
            let status = json!({
                "conditions": conditions("False"),
                "containerStatuses": [{
                    "name": "hub", "image": "hub", "imageID": "hub", "ready": false,
                    "restartCount": 5, "state": waiting,
                }],
            });
            self.patch(&pod.name_any(), &status).await?;
        }
        Ok(())
    }

    async fn patch(&self, pod: &str, status: &Value) -> Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.pods.patch_status(pod, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

fn admin_port() -> Router {
    let server =
        ServerState { name: "docs".into(), connected: true, tools: 3, message: String::new() };
    let check = SelfCheck {
        passed: true,
        checks: Vec::new(),
        servers: vec![server],
        visible_tools: Some(3),
        warnings: Vec::new(),
    };
    Router::new()
        .route(SELF_CHECK_PATH, get(move || async move { Json(check) }))
        // It obeys whatever it is told.
        .route(GENERATION_PATH, get(|| async { Json(Generation { generation: 1 << 40 }) }))
}

async fn run_pods(deployments: &Api<Deployment>, pods: &Api<Pod>, address: Ipv4Addr) -> Result<()> {
    let of_hub = ListParams::default().labels("mcphub.dev/hub=team");
    let there: BTreeSet<String> =
        pods.list(&of_hub).await?.iter().map(kube::ResourceExt::name_any).collect();
    let mut wanted = BTreeSet::new();
    for deployment in deployments.list(&of_hub).await? {
        let Some(spec) = &deployment.spec else { continue };
        for number in 0..spec.replicas.unwrap_or(1) {
            let name = format!("{}-{number}", deployment.name_any());
            if wanted.insert(name.clone()) && !there.contains(&name) {
                run_pod(pods, &name, &serde_json::to_value(&spec.template)?, address).await?;
            }
        }
    }
    for gone in there.difference(&wanted) {
        pods.delete(gone, &DeleteParams::default().grace_period(0)).await?;
    }
    Ok(())
}

async fn run_pod(pods: &Api<Pod>, name: &str, template: &Value, address: Ipv4Addr) -> Result<()> {
    let mut pod = template.clone();
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["nodeName"] = json!("node");
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let status = json!({
        "phase": "Running", "podIP": address.to_string(),
        "podIPs": [{"ip": address.to_string()}], "conditions": conditions("True"),
    });
    let patch = Patch::Merge(json!({"status": status}));
    pods.patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn conditions(ready: &str) -> Value {
    let condition = |kind: &str, status: &str| {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({"type": kind, "status": status, "lastTransitionTime": now})
    };
    json!([
        condition("PodScheduled", "True"),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

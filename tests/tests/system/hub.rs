//! One hub of a scenario: what its spec is, and what can be seen of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::ListParams;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use mcphub_crds::status::Phase;
use mcphub_crds::{McpHub, McpHubStatus};
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use mcphub_hub_wire::paths;
use mcphub_operator_plan::revisions;
use mcphub_operator_plan::rollout::AttemptRecord;
use mcphub_operator_plan::rollout::state::EngineState;
use mcphub_tests::cluster::{Cluster, Image};
use mcphub_tests::install;
use mcphub_tests::traffic::{Shape, Traffic};
use mcphub_tests::written::Written;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::scene::{Scene, within};

/// Pods start slowly while others do so on two cores.
pub(crate) const LONG: Duration = Duration::from_mins(2);

/// The server for git does not make a repository.
const GIT: &str = "import os, subprocess\n\
                   subprocess.run(['git', 'init', '--quiet', '/tmp/repository'], check=True)\n\
                   os.execvp('mcp-server-git', ['mcp-server-git'])";

/// uid to restarts.
pub(crate) type Pods = BTreeMap<String, i32>;

/// One hub.
pub(crate) struct Hub {
    pub(crate) scene: Scene,
    pub(crate) name: String,
}

/// A spec with these servers and one pod of each kind. Its changes walk 10, 50, 100 in seconds.
pub(crate) fn spec(cluster: &Cluster, servers: &[&str]) -> Result<Value> {
    let servers = servers.iter().map(|name| server(cluster, name)).collect::<Result<Vec<_>>>()?;
    let errors = |name: &str, metric: &str| {
        json!({
            "name": name, "metric": metric, "minSamples": 20,
            "rollbackWhen": {"above": "0.10", "for": "4s"},
        })
    };
    Ok(json!({
        "replicas": 1,
        "router": {"replicas": 1},
        "servers": servers,
        "rollout": {
            "steps": [{"traffic": 10, "bake": "5s"}, {"traffic": 50, "bake": "5s"}, {"traffic": 100}],
            "interval": "1s", "warmup": "2s", "guard": "5s", "drainTimeout": "2s",
            "rules": [errors("hub-errors", "HubErrorRate"), errors("tool-errors", "ToolErrorRate")],
        },
    }))
}

/// One of the real servers that there are images of.
pub(crate) fn server(cluster: &Cluster, name: &str) -> Result<Value> {
    let (node, python) = (cluster.image(Image::ServersNode), cluster.image(Image::ServersPython));
    let container = match name {
        "everything" => json!({"image": node?, "command": ["mcp-server-everything"]}),
        "filesystem" => json!({"image": node?, "command": ["mcp-server-filesystem", "/tmp"]}),
        "memory" => json!({
            "image": node?, "command": ["mcp-server-memory"],
            "env": [{"name": "MEMORY_FILE_PATH", "value": "/tmp/memory.json"}],
        }),
        "time" => json!({"image": python?, "command": ["mcp-server-time"]}),
        "git" => json!({
            "image": python?, "command": ["python3", "-c", GIT],
        }),
        other => anyhow::bail!("there is no server {other}"),
    };
    Ok(json!({"name": name, "isolation": "Shared", "container": container}))
}

/// The same spec in another revision, without a new pod of a server.
pub(crate) fn variant(spec: &Value, number: u32) -> Value {
    let mut spec = spec.clone();
    spec["limits"] = json!({"maxConcurrent": 1000 + number});
    spec
}

impl Hub {
    /// A hub of this name; it need not be there yet.
    pub(crate) fn new(scene: &Scene, name: &str) -> Self {
        Self { scene: scene.clone(), name: name.to_owned() }
    }

    /// `kubectl apply`.
    pub(crate) async fn apply(&self, spec: &Value) -> Result<()> {
        let metadata = json!({"name": self.name, "namespace": self.scene.namespace});
        let hub = json!({"apiVersion": "mcphub.dev/v1alpha1", "kind": "McpHub", "metadata": metadata, "spec": spec});
        self.scene.cluster.apply(&hub.to_string()).await.map(drop)
    }

    /// Applies a first spec and waits until it serves, with all of its servers. Returns its revision.
    pub(crate) async fn deploy(&self, spec: &Value) -> Result<Revision> {
        self.apply(spec).await?;
        let what = format!("{} is healthy and available, with all servers", self.name);
        let status = self.status(&what, LONG, |status| {
            let holds = |kind| condition(status, kind).status == "True";
            status.phase == Some(Phase::Healthy) && holds("Available") && holds("ServersReady")
        });
        let status = status.await?;
        Ok(status.stable.context("a healthy hub has a stable revision")?.revision.parse()?)
    }

    /// Waits until status says this phase of the present spec.
    pub(crate) async fn phase(&self, phase: Phase, patience: Duration) -> Result<McpHubStatus> {
        let what = format!("{} is {}", self.name, phase.as_str());
        self.status(&what, patience, |status| status.phase == Some(phase)).await
    }

    /// Waits until status, of the present spec, is as wanted.
    pub(crate) async fn status(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&McpHubStatus) -> bool,
    ) -> Result<McpHubStatus> {
        let reached = await_condition(self.hubs(), &self.name, |hub: Option<&McpHub>| {
            hub.is_some_and(|hub| {
                let current =
                    |status: &&McpHubStatus| status.observed_generation == hub.metadata.generation;
                hub.status.as_ref().filter(current).is_some_and(&wanted)
            })
        });
        let hub =
            within(patience, what, reached).await.map_err(|error| error.context(what.to_owned()));
        match hub {
            Ok(hub) => hub.and_then(|hub| hub.status).context("the condition saw a status"),
            Err(error) => Err(error
                .context(format!("status: {}", json!(self.hubs().get(&self.name).await?.status)))),
        }
    }

    /// Asks for something by annotation.
    pub(crate) async fn intend(&self, intent: &str) -> Result<()> {
        let annotation = format!("mcphub.dev/intent={intent}");
        self.scene
            .kubectl(&["annotate", "mcphub", &self.name, "--overwrite", &annotation])
            .await
            .map(drop)
    }

    /// Follows what is written for its pods.
    pub(crate) fn written(&self) -> Written {
        Written::follow(self.scene.client.clone(), &self.scene.namespace, &self.name)
    }

    /// What its pods obey.
    pub(crate) async fn dataplane(&self) -> Result<Dataplane> {
        self.runtime(paths::DATAPLANE_FILE).await
    }

    /// What the operator remembers of it.
    pub(crate) async fn engine(&self) -> Result<EngineState> {
        self.runtime(paths::ENGINE_FILE).await
    }

    async fn runtime<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let maps: Api<ConfigMap> =
            Api::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let map = maps.get(&format!("{}-runtime", self.name)).await?;
        let text = map
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .with_context(|| format!("no {key}"))?;
        Ok(serde_json::from_str(text)?)
    }

    /// What became of the last attempt of a revision, as its ControllerRevision says it.
    pub(crate) async fn record(&self, revision: &Revision) -> Result<AttemptRecord> {
        let all: Api<ControllerRevision> =
            Api::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let object = all.get(&format!("{}-r-{revision}", self.name)).await?;
        let attempt = object.annotations().get(revisions::ATTEMPT).context("it was never tried")?;
        Ok(serde_json::from_str(attempt)?)
    }

    /// Hub pods of a revision that are not on their way out.
    pub(crate) async fn pods(&self, revision: &Revision) -> Result<Pods> {
        self.pods_with(&format!("mcphub.dev/revision={revision},app.kubernetes.io/component=hub"))
            .await
    }

    /// Router pods that are not on their way out.
    pub(crate) async fn routers(&self) -> Result<Pods> {
        self.pods_with("app.kubernetes.io/component=router").await
    }

    async fn pods_with(&self, selector: &str) -> Result<Pods> {
        let pods: Api<Pod> = Api::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let selector = format!("mcphub.dev/hub={},{selector}", self.name);
        let found = pods.list(&ListParams::default().labels(&selector)).await?;
        let staying =
            found.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(staying
            .map(|pod| {
                let containers =
                    pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
                (
                    pod.metadata.uid.unwrap_or_default(),
                    containers.iter().map(|container| container.restart_count).sum(),
                )
            })
            .collect())
    }

    /// The `/mcp` endpoint.
    pub(crate) async fn url(&self) -> Result<String> {
        install::url(self.scene.cluster, &self.scene.namespace, &self.name).await
    }

    /// Clients that call these tools until they are stopped.
    pub(crate) async fn traffic(&self, clients: usize, calls: &[(&str, Value)]) -> Result<Traffic> {
        let calls =
            calls.iter().map(|(tool, arguments)| ((*tool).to_owned(), arguments.clone())).collect();
        let shape = Shape { clients, calls, rounds: 5, pace: Duration::from_millis(50) };
        Ok(Traffic::start(&self.url().await?, &shape))
    }

    fn hubs(&self) -> Api<McpHub> {
        Api::namespaced(self.scene.client.clone(), &self.scene.namespace)
    }
}

/// A condition of a status; an unknown one where it has none.
pub(crate) fn condition(status: &McpHubStatus, kind: &str) -> Condition {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).cloned();
    found.unwrap_or_else(|| Condition {
        type_: kind.into(),
        status: "Unknown".into(),
        reason: "Missing".into(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    })
}

/// A call that every hub with the server `everything` answers.
pub(crate) fn echo() -> (&'static str, Value) {
    ("everything__echo", json!({"message": "hello"}))
}

/// The revision that is the canary.
pub(crate) fn canary(state: &Dataplane) -> Option<&Revision> {
    state
        .revisions
        .iter()
        .find(|(_, state)| state.role == Role::Canary)
        .map(|(revision, _)| revision)
}

/// Whether a canary has this share.
pub(crate) fn canary_at(state: &Dataplane, percent: u8) -> bool {
    canary(state).is_some_and(|canary| state.revisions[canary].weight.percent() == percent)
}

/// Whether this revision has the role and the share.
pub(crate) fn is(state: &Dataplane, revision: &Revision, role: Role, percent: u8) -> bool {
    state
        .revisions
        .get(revision)
        .is_some_and(|state| state.role == role && state.weight.percent() == percent)
}

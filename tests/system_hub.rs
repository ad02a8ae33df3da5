//! One hub of a scenario: its spec, its status, its runtime ConfigMap, its pods.

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
use mcphub_tests::runtime_log::RuntimeLog;
use mcphub_tests::traffic::{LoadProfile, Traffic};
use mcphub_tests::wait::{PATIENCE, within};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::system_scenario::Scenario;

/// The git server does not create a repository.
const GIT: &str = "import os, subprocess\n\
                   subprocess.run(['git', 'init', '--quiet', '/tmp/repository'], check=True)\n\
                   os.execvp('mcp-server-git', ['mcp-server-git'])";

/// UIDs of pods, with their restarts.
pub(crate) type Pods = BTreeMap<String, i32>;

/// One hub.
pub(crate) struct Hub {
    pub(crate) scenario: Scenario,
    pub(crate) name: String,
}

/// A spec with these servers and one pod of each kind. Its changes get 10, 50 and 100 % within
/// seconds.
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
            "steps": [
                {"traffic": 10, "bake": "5s"}, {"traffic": 50, "bake": "5s"}, {"traffic": 100},
            ],
            "interval": "1s", "warmup": "2s", "guard": "5s", "drainTimeout": "2s",
            "rules": [errors("hub-errors", "HubErrorRate"), errors("tool-errors", "ToolErrorRate")],
        },
    }))
}

/// One of the real servers in the test images.
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
        other => anyhow::bail!("no test image contains the server {other}"),
    };
    Ok(json!({"name": name, "isolation": "Shared", "container": container}))
}

/// The same spec as another revision, which needs no new pod of a server.
pub(crate) fn variant(spec: &Value, number: u32) -> Value {
    let mut spec = spec.clone();
    spec["limits"] = json!({"maxConcurrent": 1000 + number});
    spec
}

impl Hub {
    /// A hub of this name, which need not exist yet.
    pub(crate) fn new(scenario: &Scenario, name: &str) -> Self {
        Self { scenario: scenario.clone(), name: name.to_owned() }
    }

    /// Applies a spec with kubectl.
    pub(crate) async fn apply(&self, spec: &Value) -> Result<()> {
        let metadata = json!({"name": self.name, "namespace": self.scenario.namespace});
        let hub = json!({
            "apiVersion": "mcphub.dev/v1alpha1", "kind": "McpHub", "metadata": metadata,
            "spec": spec,
        });
        self.scenario.cluster.apply(&hub.to_string()).await.map(drop)
    }

    /// Applies a spec and waits until the hub and all of its servers can be used. Returns the
    /// stable revision.
    pub(crate) async fn deploy(&self, spec: &Value) -> Result<Revision> {
        self.apply(spec).await?;
        let what = format!("{} is Healthy and Available, with all servers", self.name);
        let status = self.status(&what, PATIENCE, |status| {
            serving(status) && condition(status, "ServersReady").status == "True"
        });
        let status = status.await?;
        Ok(status.stable.context("a healthy hub has a stable revision")?.revision.parse()?)
    }

    /// Waits until status reports this phase for the current spec.
    pub(crate) async fn phase(&self, phase: Phase, patience: Duration) -> Result<McpHubStatus> {
        let what = format!("{} is {}", self.name, phase.as_str());
        self.status(&what, patience, |status| status.phase == Some(phase)).await
    }

    /// Waits until the status for the current spec is as wanted.
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
            Ok(hub) => hub.and_then(|hub| hub.status).context("the hub has no status"),
            Err(error) => Err(error
                .context(format!("status: {}", json!(self.hubs().get(&self.name).await?.status)))),
        }
    }

    /// Sets the annotation with an intent.
    pub(crate) async fn intend(&self, intent: &str) -> Result<()> {
        let annotation = format!("mcphub.dev/intent={intent}");
        self.scenario
            .kubectl(&["annotate", "mcphub", &self.name, "--overwrite", &annotation])
            .await
            .map(drop)
    }

    /// Follows the runtime ConfigMap.
    pub(crate) async fn runtime_log(&self) -> Result<RuntimeLog> {
        let client = self.scenario.client.clone();
        RuntimeLog::follow(client, &self.scenario.namespace, &self.name).await
    }

    /// The current `dataplane.json`.
    pub(crate) async fn dataplane(&self) -> Result<Dataplane> {
        self.runtime(paths::DATAPLANE_FILE).await
    }

    /// The current `engine.json`.
    pub(crate) async fn engine(&self) -> Result<EngineState> {
        self.runtime(paths::ENGINE_FILE).await
    }

    async fn runtime<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let maps: Api<ConfigMap> =
            Api::namespaced(self.scenario.client.clone(), &self.scenario.namespace);
        let map = maps.get(&format!("{}-runtime", self.name)).await?;
        let text = map
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .with_context(|| format!("no {key}"))?;
        Ok(serde_json::from_str(text)?)
    }

    /// The last attempt of a revision and its result, from the ControllerRevision.
    pub(crate) async fn record(&self, revision: &Revision) -> Result<AttemptRecord> {
        let all: Api<ControllerRevision> =
            Api::namespaced(self.scenario.client.clone(), &self.scenario.namespace);
        let object = all.get(&format!("{}-r-{revision}", self.name)).await?;
        let attempt =
            object.annotations().get(revisions::ATTEMPT).context("the revision has no attempt")?;
        Ok(serde_json::from_str(attempt)?)
    }

    /// The hub pods of a revision that are not being deleted.
    pub(crate) async fn pods(&self, revision: &Revision) -> Result<Pods> {
        self.pods_with(&format!("mcphub.dev/revision={revision},app.kubernetes.io/component=hub"))
            .await
    }

    /// The router pods that are not being deleted.
    pub(crate) async fn routers(&self) -> Result<Pods> {
        self.pods_with("app.kubernetes.io/component=router").await
    }

    async fn pods_with(&self, selector: &str) -> Result<Pods> {
        let pods: Api<Pod> =
            Api::namespaced(self.scenario.client.clone(), &self.scenario.namespace);
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
        install::url(self.scenario.cluster, &self.scenario.namespace, &self.name).await
    }

    /// Starts clients that call these tools until they are stopped.
    pub(crate) async fn traffic(&self, clients: usize, calls: &[(&str, Value)]) -> Result<Traffic> {
        let calls =
            calls.iter().map(|(tool, arguments)| ((*tool).to_owned(), arguments.clone())).collect();
        let profile = LoadProfile { clients, calls, rounds: 5, pace: Duration::from_millis(50) };
        Ok(Traffic::start(&self.url().await?, &profile))
    }

    fn hubs(&self) -> Api<McpHub> {
        Api::namespaced(self.scenario.client.clone(), &self.scenario.namespace)
    }
}

/// Whether the hub answers. A hub can be Healthy before its pods are Available.
pub(crate) fn serving(status: &McpHubStatus) -> bool {
    status.phase == Some(Phase::Healthy) && condition(status, "Available").status == "True"
}

/// A condition of a status; Unknown if the status does not have it.
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

/// A call to the server `everything`.
pub(crate) fn echo() -> (&'static str, Value) {
    ("everything__echo", json!({"message": "hello"}))
}

/// The canary revision, if there is one.
pub(crate) fn canary(state: &Dataplane) -> Option<&Revision> {
    state
        .revisions
        .iter()
        .find(|(_, state)| state.role == Role::Canary)
        .map(|(revision, _)| revision)
}

/// Whether there is a canary with this weight.
pub(crate) fn canary_at(state: &Dataplane, percent: u8) -> bool {
    canary(state).is_some_and(|canary| state.revisions[canary].weight.percent() == percent)
}

/// Whether this revision has this role and this weight.
pub(crate) fn has_role(state: &Dataplane, revision: &Revision, role: Role, percent: u8) -> bool {
    state
        .revisions
        .get(revision)
        .is_some_and(|state| state.role == role && state.weight.percent() == percent)
}

//! The operator when something fails under it: single writes, its own process, the connection to
//! the API server, Prometheus. The pods are hollow.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use mcphub_crds::status::Phase;
use mcphub_crds::{McpHub, McpHubStatus};
use mcphub_tests::wait::{PATIENCE, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::api_fault_proxy::{FAULTS, Fault, FaultProxy, Link};
use crate::api_hollow::{FAILING_HOST, SCRAPE_INTERVAL, hollow_node};
use crate::api_invariants::Watcher;
use crate::api_replica::{Installation, Replica};

/// Hubs of one run of the matrix. Each gets a fault in another write.
const HUBS: u64 = 18;

/// Hubs named `team` in namespaces of their own, with an operator behind a proxy.
struct Scene {
    installed: Installation,
    client: Client,
    namespaces: Vec<String>,
    proxy: FaultProxy,
    watcher: Watcher,
}

impl Scene {
    async fn new(name: &str, hubs: u64) -> Result<Self> {
        let (plane, node) = hollow_node().await?;
        let namespaces: Vec<_> = (0..hubs).map(|number| format!("{name}-{number}")).collect();
        let interval = format!("{}s", SCRAPE_INTERVAL.as_secs());
        let prometheus = json!([{
            "name": "main", "url": node.prometheus,
            "scrapeInterval": interval, "ingestDelay": interval,
        }]);
        let values = ["--set-json", &format!("prometheus={prometheus}")];
        let installed = Installation::watching(plane, name, &namespaces, &values).await?;
        let (client, proxy) = (plane.client().await?, FaultProxy::start(plane).await?);
        let watcher = Watcher::start(client.clone(), name);
        Ok(Self { installed, client, namespaces, proxy, watcher })
    }

    async fn operator(&self, pod: &str) -> Result<Replica> {
        self.installed.start_through(pod, &self.proxy.url).await
    }

    /// Applies the same spec in every namespace.
    async fn apply(&self, spec: &Value) -> Result<()> {
        for namespace in &self.namespaces {
            self.installed.apply_in(namespace, &hub(spec)).await?;
        }
        Ok(())
    }

    async fn status(&self, namespace: &str) -> Option<McpHubStatus> {
        let hubs = Api::<McpHub>::namespaced(self.client.clone(), namespace);
        let hub = hubs.get("team").await.ok()?;
        let generation = hub.metadata.generation;
        hub.status.filter(|status| status.observed_generation == generation)
    }

    /// Waits until all hubs have the phase, for their latest spec.
    async fn phase(&self, phase: Phase, replica: &Replica) -> Result<()> {
        for namespace in &self.namespaces {
            let reached = async || {
                self.status(namespace).await.is_some_and(|status| status.phase == Some(phase))
            };
            let what = format!("{namespace} is {phase:?}");
            until(&what, PATIENCE, reached).await.with_context(|| {
                format!("{:?}\n{}", self.proxy.writes(namespace), replica.tail())
            })?;
        }
        Ok(())
    }
}

fn hub(spec: &Value) -> Value {
    json!({
        "apiVersion": "mcphub.dev/v1alpha1", "kind": "McpHub", "metadata": {"name": "team"},
        "spec": spec,
    })
}

/// A spec whose changes take about 15 s. Calls through a server at `host` may fail.
fn spec(host: &str, max_concurrent: u32) -> Value {
    json!({
        "replicas": 1, "router": {"replicas": 1},
        "servers": [{"name": "docs", "remote": {"url": format!("http://{host}/mcp")}}],
        "limits": {"maxConcurrent": max_concurrent},
        "rollout": {
            "steps": [
                {"traffic": 10, "bake": "4s"}, {"traffic": 50, "bake": "4s"}, {"traffic": 100},
            ],
            "interval": "1s", "warmup": "1s", "guard": "4s", "drainTimeout": "1s",
            "rules": [{
                "name": "tool-errors", "metric": "ToolErrorRate", "minSamples": 20,
                "rollbackWhen": {"above": "0.10", "for": "4s"},
            }],
        },
    })
}

/// What must be the same at the end, whatever failed on the way.
async fn outcome(scene: &Scene, namespace: &str) -> Result<Value> {
    let status = scene.status(namespace).await.context("no status")?;
    let dataplane = scene.watcher.latest(namespace).context("no dataplane")?;
    let conditions = status.conditions.iter();
    let conditions: Vec<_> =
        conditions.map(|it| format!("{}={} {}", it.type_, it.status, it.reason)).collect();
    let events = Api::<Event>::namespaced(scene.client.clone(), namespace);
    let events = events.list(&ListParams::default()).await?;
    let mut reasons: Vec<_> = events.into_iter().filter_map(|event| event.reason).collect();
    // A busy machine scrapes late, and the rollout then holds for a moment.
    reasons.retain(|reason| reason != "Holding");
    reasons.sort();
    Ok(json!({
        "conditions": conditions,
        "events": reasons,
        "revisions": dataplane.revisions,
        "objects": scene.installed.objects_in(namespace).await?,
        "weights": scene.watcher.weights(namespace),
    }))
}

/// A first deployment, a rollout that succeeds, and one that is rolled back.
async fn history(scene: &Scene, replica: &Replica) -> Result<()> {
    scene.apply(&spec("docs.example", 1000)).await?;
    scene.phase(Phase::Healthy, replica).await?;
    scene.apply(&spec("docs.example", 1001)).await?;
    scene.phase(Phase::Healthy, replica).await?;
    scene.apply(&spec(FAILING_HOST, 1001)).await?;
    scene.phase(Phase::RolledBack, replica).await?;
    replica.idle().await
}

// Namespace 0 is the control: nothing fails there.
#[tokio::test]
async fn whichever_single_write_fails_the_hub_ends_as_if_none_had() -> Result<()> {
    let scene = Scene::new("write", HUBS).await?;
    for (number, namespace) in (0..).zip(&scene.namespaces).skip(1) {
        let fault = FAULTS[number % FAULTS.len()];
        // Early writes create the objects; the later ones are those of the rollouts.
        let write = u64::try_from(number)? * 4;
        scene.proxy.fail(namespace, write, fault);
    }
    let replica = scene.operator("operator-0").await?;
    history(&scene, &replica).await?;
    let expected = outcome(&scene, &scene.namespaces[0]).await?;
    let promoted = ["0", "100", "0 100", "10 90", "50 50", "100 0", "100"];
    let weights = [&promoted[..], &["0 100", "10 90", "100 0"]].concat();
    assert_eq!(expected["weights"], json!(weights));
    for namespace in &scene.namespaces {
        let (_, met) = scene.proxy.writes(namespace);
        eprintln!("{namespace}: {met:?}");
        assert_eq!(outcome(&scene, namespace).await?, expected, "{namespace} {met:?}");
    }
    scene.watcher.nothing_was_violated()
}

#[tokio::test]
async fn an_operator_that_is_killed_after_a_write_is_continued_by_the_next() -> Result<()> {
    let scene = Scene::new("kill", 2).await?;
    let mut replica = scene.operator("operator-0").await?;
    scene.apply(&spec("docs.example", 1000)).await?;
    scene.phase(Phase::Healthy, &replica).await?;
    scene.apply(&spec(FAILING_HOST, 1001)).await?;
    let namespace = scene.namespaces[0].clone();
    for (number, write) in [2, 5, 9].into_iter().enumerate() {
        let hangs = scene.proxy.hangs();
        scene.proxy.fail(&namespace, write, Fault::Hang);
        until("the write", PATIENCE, async || scene.proxy.hangs() > hangs).await?;
        eprintln!("killed after {:?}", scene.proxy.writes(&namespace));
        replica.kill()?;
        replica = scene.operator(&format!("operator-{}", number + 1)).await?;
    }
    scene.phase(Phase::RolledBack, &replica).await?;
    replica.idle().await?;
    let killed = outcome(&scene, &namespace).await?;
    assert_eq!(killed, outcome(&scene, &scene.namespaces[1]).await?);
    scene.watcher.nothing_was_violated()
}

#[tokio::test]
async fn a_leader_that_was_stopped_writes_nothing_after_another_took_over() -> Result<()> {
    let scene = Scene::new("stop", 1).await?;
    let other = FaultProxy::start(hollow_node().await?.0).await?;
    let first = scene.operator("operator-0").await?;
    until("it leads", PATIENCE, async || first.leads().await).await?;
    let second = scene.installed.start_through("operator-1", &other.url).await?;
    scene.apply(&spec("docs.example", 1000)).await?;
    scene.phase(Phase::Healthy, &first).await?;
    first.signal(Signal::SIGSTOP)?;
    until("the second leads", PATIENCE, async || second.leads().await).await?;
    scene.apply(&spec("docs.example", 1001)).await?;
    let namespace = &scene.namespaces[0];
    let canary = async || scene.watcher.weights(namespace).contains(&"10 90".to_owned());
    until("a rollout has begun", PATIENCE, canary).await.with_context(|| second.tail())?;
    let (before, _) = scene.proxy.writes(namespace);
    first.signal(Signal::SIGCONT)?;
    scene.phase(Phase::Healthy, &second).await?;
    assert_eq!(scene.proxy.writes(namespace).0, before, "{}", first.tail());
    ensure!(!first.leads().await, "{}", first.tail());
    scene.watcher.nothing_was_violated()
}

#[tokio::test]
async fn a_leader_that_is_cut_off_is_replaced_and_follows_when_it_is_back() -> Result<()> {
    let scene = Scene::new("cut", 1).await?;
    let other = FaultProxy::start(hollow_node().await?.0).await?;
    let first = scene.operator("operator-0").await?;
    until("it leads", PATIENCE, async || first.leads().await).await?;
    let second = scene.installed.start_through("operator-1", &other.url).await?;
    scene.apply(&spec("docs.example", 1000)).await?;
    scene.phase(Phase::Healthy, &first).await?;
    scene.proxy.set(Link::Down);
    until("the second leads", PATIENCE, async || second.leads().await).await?;
    until("the first stands back", PATIENCE, async || !first.leads().await).await?;
    scene.apply(&spec("docs.example", 1001)).await?;
    scene.phase(Phase::Healthy, &second).await?;
    scene.proxy.set(Link::Up);
    drop(second);
    until("the first leads again", PATIENCE, async || first.leads().await).await?;
    scene.apply(&spec(FAILING_HOST, 1001)).await?;
    scene.phase(Phase::RolledBack, &first).await?;
    scene.watcher.nothing_was_violated()
}

#[tokio::test]
async fn watches_that_end_or_lag_change_nothing_but_the_time() -> Result<()> {
    let scene = Scene::new("watch", 1).await?;
    scene.proxy.delay_watches(Duration::from_millis(1500));
    let replica = scene.operator("operator-0").await?;
    scene.apply(&spec("docs.example", 1000)).await?;
    scene.phase(Phase::Healthy, &replica).await?;
    scene.proxy.cut_watches();
    scene.apply(&spec("docs.example", 1001)).await?;
    let namespace = &scene.namespaces[0];
    let canary = async || scene.watcher.weights(namespace).contains(&"10 90".to_owned());
    until("a rollout has begun", PATIENCE, canary).await.with_context(|| replica.tail())?;
    scene.proxy.cut_watches();
    scene.phase(Phase::Healthy, &replica).await?;
    let weights = ["0", "100", "0 100", "10 90", "50 50", "100 0", "100"];
    assert_eq!(scene.watcher.weights(namespace), weights);
    scene.watcher.nothing_was_violated()
}

//! `make demo`: the whole system on a real cluster, each stage told as it happens.

#![allow(clippy::cast_precision_loss, reason = "seconds and counts are far below 2^52")]

mod breach;
mod change;
mod narrator;
mod obeyed;
mod pods;
mod python;
mod screen;
mod summary;

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use mcphub_crds::McpHub;
use mcphub_crds::status::Phase;
use serde_json::json;

use crate::cluster::{Cluster, Image, Options};
use crate::install;
use crate::traffic::{Shape, Tally, Traffic};
use crate::written::Written;

use narrator::Narrator;
use pods::Hub;
use screen::Screen;
use summary::{Requests, Summary};

const NAMESPACE: &str = "mcphub-demo";
const HUB: &str = "team";
const SCRAPE: Duration = Duration::from_secs(1);

/// A cluster with an operator and one hub, half way through the demo.
struct Demo {
    cluster: Cluster,
    client: Client,
    hub: Hub,
    url: String,
    token: String,
    screen: Screen,
    summary: Summary,
    traffic: Traffic,
}

/// Runs the demo and returns whether everything was as it should be. With `keep` the cluster stays.
pub async fn run(keep: bool) -> Result<bool> {
    let screen = Screen::start();
    let mut summary = Summary { evaluation_interval_s: 1.0, ..Summary::default() };
    let cluster = cluster(screen, &mut summary, keep).await?;
    match staged(cluster, screen, summary).await {
        Ok((cluster, summary, flaws)) => {
            screen.stage("Summary");
            screen.quote(&serde_json::to_string_pretty(&summary)?);
            screen.line(&format!("written to {}", summary.write()?.display()));
            for flaw in &flaws {
                screen.line(&format!("NOT AS IT SHOULD BE: {flaw}"));
            }
            if keep {
                what_next(&cluster, screen);
            }
            Ok(flaws.is_empty())
        }
        Err((cluster, error)) => {
            screen.line(&format!("FAILED: {error:#}"));
            screen.quote(&cluster.complaints(NAMESPACE).await);
            screen.quote(&cluster.complaints(install::NAMESPACE).await);
            Ok(false)
        }
    }
}

async fn staged(
    cluster: Cluster,
    screen: Screen,
    summary: Summary,
) -> Result<(Cluster, Summary, Vec<String>), (Box<Cluster>, anyhow::Error)> {
    let mut demo = match Demo::hub_ready(cluster, screen, summary).await {
        Ok(demo) => demo,
        Err(failed) => return Err(failed),
    };
    match demo.changes().await {
        Ok(flaws) => Ok((demo.cluster, demo.summary, flaws)),
        Err(error) => Err((Box::new(demo.cluster), error)),
    }
}

async fn cluster(screen: Screen, summary: &mut Summary, keep: bool) -> Result<Cluster> {
    screen.stage("A real Kubernetes on this machine, with Prometheus");
    let images = vec![Image::Hub, Image::Operator, Image::ServersNode, Image::ServersPython];
    let options =
        Options { prometheus: Some(SCRAPE), images: images.clone(), keep, ..Options::default() };
    let cluster = Cluster::start(options).await?;
    summary.seconds.cluster_ready = screen.seconds();
    summary.kubernetes = cluster.client().await?.apiserver_version().await?.git_version;
    for image in images {
        let bytes = std::fs::metadata(crate::cluster::image_archive(image).await?)?.len();
        summary.images.insert(image.to_string(), bytes);
        screen.line(&format!("image {image}: {:.1} MB", bytes as f64 / 1e6));
    }
    screen.line(&format!(
        "Kubernetes {} is ready; Prometheus scrapes every second",
        summary.kubernetes
    ));
    Ok(cluster)
}

impl Demo {
    async fn hub_ready(
        cluster: Cluster,
        screen: Screen,
        mut summary: Summary,
    ) -> Result<Self, (Box<Cluster>, anyhow::Error)> {
        match Self::first_hub(&cluster, screen, &mut summary).await {
            Ok((client, hub, url, token, traffic)) => {
                Ok(Self { cluster, client, hub, url, token, screen, summary, traffic })
            }
            Err(error) => Err((Box::new(cluster), error)),
        }
    }

    async fn first_hub(
        cluster: &Cluster,
        screen: Screen,
        summary: &mut Summary,
    ) -> Result<(Client, Hub, String, String, Traffic)> {
        screen.stage("The operator, with helm install");
        install::operator(
            cluster,
            &install::Settings { prometheus_scrape: SCRAPE, ..install::Settings::default() },
        )
        .await?;
        summary.seconds.operator_ready = screen.seconds();
        screen.quote(&cluster.helm(["list", "--all-namespaces"]).await?);

        screen.stage("A hub in front of three MCP servers, with kubectl apply");
        cluster.kubectl(["create", "namespace", NAMESPACE]).await?;
        let client = cluster.client().await?;
        let narrator = Narrator::start(client.clone(), NAMESPACE, HUB, screen);
        let applied = apply(cluster, "1-hub.yaml").await?;
        screen.quote(&applied);
        phase(&client, Phase::Healthy, Duration::from_mins(2)).await?;
        drop(narrator);
        summary.seconds.hub_ready = screen.seconds();
        screen.quote(&cluster.kubectl(["-n", NAMESPACE, "get", "mcphubs,pods"]).await?);

        screen.stage("A client: the official MCP SDK for Python");
        let url = install::url(cluster, NAMESPACE, HUB).await?;
        screen.quote(&python::client(&url).await?);
        let hub = Hub::new(client.clone(), NAMESPACE, HUB)?;
        let token = hub.token().await?;
        Ok((client, hub, url.clone(), token, Traffic::start(&url, &background())))
    }

    /// A good change, a bad one, an operator restart. Returns what was not as it should be.
    async fn changes(&mut self) -> Result<Vec<String>> {
        let mut written = Written::follow(self.client.clone(), NAMESPACE, HUB);
        let _narrator = Narrator::start(self.client.clone(), NAMESPACE, HUB, self.screen);
        let before = self.traffic.tally();
        let mut flaws = self.good_change(&mut written).await?;
        let promoted = self.traffic.tally();
        flaws.extend(self.bad_change(&mut written).await?);
        let rolled_back = self.traffic.tally();
        flaws.extend(self.operator_restart().await?);

        let whole = self.traffic.tally();
        self.summary.requests.sent += whole.sent;
        let (during_promotion, during_rollback) =
            (promoted.since(&before), rolled_back.since(&promoted));
        let requests = &mut self.summary.requests;
        requests.failed += whole.failed;
        requests.failed_during_promotion += during_promotion.failed;
        requests.failed_during_rollback += during_rollback.failed;
        self.summary.seconds.total = self.screen.seconds();
        flaws.extend(failures(&self.summary.requests, &whole));
        Ok(flaws)
    }

    async fn operator_restart(&mut self) -> Result<Vec<String>> {
        self.screen.stage("The operator is killed; nothing may happen to the hub");
        let stable = change::stable(&self.hub.dataplane().await?)?;
        let before = self.hub.identities(&stable).await?;
        let selector = "app.kubernetes.io/name=mcphub-operator";
        let kill = [
            "-n",
            install::NAMESPACE,
            "delete",
            "pods",
            "-l",
            selector,
            "--grace-period=0",
            "--force",
        ];
        self.cluster.kubectl(kill).await?;
        install::wait_for_operator(&self.cluster).await?;
        let same = self.hub.identities(&stable).await? == before;
        self.screen.line(&format!("operator is back; pods of {stable} are the same: {same}"));
        self.summary.pods_unchanged &= same;
        Ok(if same { vec![] } else { vec!["pods changed when the operator was killed".into()] })
    }

    fn add(&mut self, tally: &Tally) {
        self.summary.requests.sent += tally.sent;
        self.summary.requests.failed += tally.failed;
    }
}

fn failures(requests: &Requests, background: &Tally) -> Vec<String> {
    let mut flaws = Vec::new();
    if requests.failed > 0 {
        flaws.push(format!(
            "{} of {} requests failed: {:?}",
            requests.failed, requests.sent, background.failures
        ));
    }
    if background.moved > 0 {
        flaws.push(format!("{} sessions were moved to another revision", background.moved));
    }
    flaws
}

fn background() -> Shape {
    Shape {
        clients: 12,
        calls: vec![
            ("everything__echo".into(), json!({"message": "hello"})),
            ("memory__read_graph".into(), json!({})),
            ("time__get_current_time".into(), json!({"timezone": "UTC"})),
        ],
        rounds: 4,
        pace: Duration::from_millis(25),
    }
}

/// Applies one of `tests/demo/*.yaml`, with the names of this cluster's images.
async fn apply(cluster: &Cluster, file: &str) -> Result<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(file);
    let mut hub: McpHub = serde_yaml_ng::from_str(&std::fs::read_to_string(&path)?)
        .context(path.display().to_string())?;
    for container in hub.spec.servers.iter_mut().filter_map(|server| server.container.as_mut()) {
        container.image = match container.image.as_str() {
            "servers-node" => cluster.image(Image::ServersNode)?,
            "servers-python" => cluster.image(Image::ServersPython)?,
            other => anyhow::bail!("{file}: no image of the demo is called {other}"),
        };
    }
    hub.metadata.namespace = Some(NAMESPACE.into());
    cluster.apply(&serde_yaml_ng::to_string(&hub)?).await
}

/// Waits until the hub's status, for its present generation, says this phase.
async fn phase(client: &Client, phase: Phase, patience: Duration) -> Result<()> {
    let hubs: Api<McpHub> = Api::namespaced(client.clone(), NAMESPACE);
    let reached = await_condition(hubs, HUB, |hub: Option<&McpHub>| {
        hub.is_some_and(|hub| {
            hub.status.as_ref().is_some_and(|status| {
                status.phase == Some(phase) && status.observed_generation == hub.metadata.generation
            })
        })
    });
    tokio::time::timeout(patience, reached).await.with_context(|| {
        format!("the hub is not {} after {} s", phase.as_str(), patience.as_secs())
    })??;
    Ok(())
}

fn what_next(cluster: &Cluster, screen: Screen) {
    screen.stage("The cluster stays; things to try");
    for line in [
        format!(
            "export KUBECONFIG={} PATH={}:$PATH",
            cluster.kubeconfig().display(),
            cluster.path()
        ),
        format!("kubectl -n {NAMESPACE} get mcphubs -w"),
        format!("kubectl -n {NAMESPACE} describe mcphub {HUB}"),
        format!("kubectl -n {NAMESPACE} get configmap {HUB}-runtime -o yaml"),
        format!(
            "kubectl -n {NAMESPACE} annotate mcphub {HUB} --overwrite mcphub.dev/intent=retry/<revision>/<attempt>"
        ),
        "make cluster-down".into(),
    ] {
        screen.quote(&line);
    }
}

//! `make demo`: the whole system on a real cluster. Every stage is printed as it happens.

#![allow(clippy::cast_precision_loss, reason = "seconds and counts are far below 2^52")]

mod breach;
mod change;
mod console;
mod hub;
mod propagation;
mod python;
mod status_printer;
mod summary;

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use mcphub_crds::status::Phase;
use mcphub_crds::{McpHub, McpHubStatus};
use serde_json::json;

use crate::cluster::{Cluster, Image, Options, image_archives};
use crate::install;
use crate::runtime_log::RuntimeLog;
use crate::traffic::{LoadProfile, Tally, Traffic};
use crate::wait::{PATIENCE, within};

use console::Console;
use hub::Hub;
use status_printer::StatusPrinter;
use summary::Summary;

const NAMESPACE: &str = "mcphub-demo";
const HUB: &str = "team";
const SCRAPE: Duration = Duration::from_secs(1);

/// A cluster with an operator and one hub, halfway through the demo.
struct Demo {
    cluster: Cluster,
    client: Client,
    hub: Hub,
    url: String,
    token: String,
    console: Console,
    summary: Summary,
    traffic: Traffic,
    /// Requests that failed, in words.
    failed_requests: Vec<String>,
}

/// Runs the demo and returns whether everything was as expected. With `keep`, the cluster stays.
pub async fn run(keep: bool) -> Result<bool> {
    let console = Console::start();
    let mut summary = Summary { evaluation_interval_s: 1.0, ..Summary::default() };
    let cluster = cluster(console, &mut summary, keep).await?;
    match run_stages(cluster, console, summary).await {
        Ok((cluster, summary, findings)) => {
            console.stage("Summary");
            console.quote(&serde_json::to_string_pretty(&summary)?);
            console.line(&format!("written to {}", summary.write()?.display()));
            for finding in &findings {
                console.line(&format!("NOT AS EXPECTED: {finding}"));
            }
            if keep {
                what_next(&cluster, console);
            }
            Ok(findings.is_empty())
        }
        Err((cluster, error)) => {
            console.line(&format!("FAILED: {error:#}"));
            console.quote(&cluster.diagnostics(NAMESPACE).await);
            console.quote(&cluster.diagnostics(install::NAMESPACE).await);
            Ok(false)
        }
    }
}

async fn run_stages(
    cluster: Cluster,
    console: Console,
    summary: Summary,
) -> Result<(Cluster, Summary, Vec<String>), (Box<Cluster>, anyhow::Error)> {
    let mut demo = match Demo::hub_ready(cluster, console, summary).await {
        Ok(demo) => demo,
        Err(failed) => return Err(failed),
    };
    match demo.changes().await {
        Ok(findings) => Ok((demo.cluster, demo.summary, findings)),
        Err(error) => Err((Box::new(demo.cluster), error)),
    }
}

async fn cluster(console: Console, summary: &mut Summary, keep: bool) -> Result<Cluster> {
    console.stage("A real Kubernetes on this machine, with Prometheus");
    let images = vec![Image::Hub, Image::Operator, Image::ServersNode, Image::ServersPython];
    let options =
        Options { prometheus: Some(SCRAPE), images: images.clone(), keep, ..Options::default() };
    // The SDK is downloaded while programs compile.
    let (cluster, _) = tokio::try_join!(Cluster::start(options), python::environment())?;
    summary.seconds.cluster_ready = console.seconds();
    summary.kubernetes = cluster.client().await?.apiserver_version().await?.git_version;
    for (image, archive) in images.iter().zip(image_archives(&images).await?) {
        let bytes = std::fs::metadata(archive)?.len();
        summary.images.insert(image.to_string(), bytes);
        console.line(&format!("image {image}: {:.1} MB", bytes as f64 / 1e6));
    }
    console.line(&format!(
        "Kubernetes {} is ready; Prometheus scrapes every second",
        summary.kubernetes
    ));
    Ok(cluster)
}

impl Demo {
    async fn hub_ready(
        cluster: Cluster,
        console: Console,
        mut summary: Summary,
    ) -> Result<Self, (Box<Cluster>, anyhow::Error)> {
        match Self::first_hub(&cluster, console, &mut summary).await {
            Ok((client, hub, url, token, traffic)) => Ok(Self {
                cluster,
                client,
                hub,
                url,
                token,
                console,
                summary,
                traffic,
                failed_requests: Vec::new(),
            }),
            Err(error) => Err((Box::new(cluster), error)),
        }
    }

    async fn first_hub(
        cluster: &Cluster,
        console: Console,
        summary: &mut Summary,
    ) -> Result<(Client, Hub, String, String, Traffic)> {
        console.stage("The operator, with helm install");
        install::operator(
            cluster,
            &install::Settings { prometheus_scrape: SCRAPE, ..install::Settings::default() },
        )
        .await?;
        summary.seconds.operator_ready = console.seconds();
        console.quote(&cluster.helm(["list", "--all-namespaces"]).await?);

        console.stage("A hub in front of three MCP servers, with kubectl apply");
        cluster.kubectl(["create", "namespace", NAMESPACE]).await?;
        let client = cluster.client().await?;
        let printer = StatusPrinter::start(client.clone(), NAMESPACE, HUB, console);
        let applied = apply(cluster, "1-hub.yaml").await?;
        console.quote(&applied);
        serving(&client).await?;
        drop(printer);
        summary.seconds.hub_ready = console.seconds();
        console.quote(&cluster.kubectl(["-n", NAMESPACE, "get", "mcphubs,pods"]).await?);

        console.stage("A client: the official MCP SDK for Python");
        let url = install::url(cluster, NAMESPACE, HUB).await?;
        console.quote(&python::client(&url).await?);
        let hub = Hub::new(client.clone(), NAMESPACE, HUB)?;
        let token = hub.token().await?;
        Ok((client, hub, url.clone(), token, Traffic::start(&url, &background_load())))
    }

    /// A good change, a bad one, and a restart of the operator. Returns what was not as expected.
    async fn changes(&mut self) -> Result<Vec<String>> {
        let mut log = RuntimeLog::follow(self.client.clone(), NAMESPACE, HUB).await?;
        let _printer = StatusPrinter::start(self.client.clone(), NAMESPACE, HUB, self.console);
        let before = self.traffic.tally();
        let mut findings = self.good_change(&mut log).await?;
        let promoted = self.traffic.tally();
        findings.extend(self.bad_change(&mut log).await?);
        let rolled_back = self.traffic.tally();
        findings.extend(self.operator_restart().await?);

        let whole = self.traffic.tally();
        self.add(&whole);
        let requests = &mut self.summary.requests;
        requests.failed_during_promotion += promoted.since(&before).failed;
        requests.failed_during_rollback += rolled_back.since(&promoted).failed;
        self.summary.seconds.total = self.console.seconds();
        self.console.line(&format!("background traffic: {}", whole.summary()));
        findings.extend(self.failures(&whole));
        Ok(findings)
    }

    async fn operator_restart(&mut self) -> Result<Vec<String>> {
        self.console.stage("The operator is killed; nothing must happen to the hub");
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
        self.console
            .line(&format!("the operator is back; the pods of {stable} are the same: {same}"));
        self.summary.pods_unchanged &= same;
        Ok(if same { vec![] } else { vec!["pods changed when the operator was killed".into()] })
    }

    fn add(&mut self, tally: &Tally) {
        self.summary.requests.sent += tally.sent;
        self.summary.requests.failed += tally.failed;
        self.summary.requests.reinitialized += tally.reinitialized;
        self.failed_requests.extend(tally.failures.iter().cloned());
    }

    fn failures(&self, background: &Tally) -> Vec<String> {
        let requests = &self.summary.requests;
        let mut findings = Vec::new();
        if requests.failed > 0 {
            let (failed, sent) = (requests.failed, requests.sent);
            findings
                .push(format!("{failed} of {sent} requests failed: {:?}", self.failed_requests));
        }
        if background.moved > 0 {
            findings.push(format!("{} sessions moved to another revision", background.moved));
        }
        findings
    }
}

fn background_load() -> LoadProfile {
    LoadProfile {
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

/// Applies one of `tests/demo/*.yaml`, with the names of the images of this cluster.
async fn apply(cluster: &Cluster, file: &str) -> Result<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(file);
    let mut hub: McpHub = serde_yaml_ng::from_str(&std::fs::read_to_string(&path)?)
        .context(path.display().to_string())?;
    for container in hub.spec.servers.iter_mut().filter_map(|server| server.container.as_mut()) {
        container.image = match container.image.as_str() {
            "servers-node" => cluster.image(Image::ServersNode)?,
            "servers-python" => cluster.image(Image::ServersPython)?,
            other => anyhow::bail!(
                "{file}: the demo has no image {other}; use servers-node or servers-python"
            ),
        };
    }
    hub.metadata.namespace = Some(NAMESPACE.into());
    cluster.apply(&serde_yaml_ng::to_string(&hub)?).await
}

/// Waits until status reports this phase for the current spec.
async fn phase(client: &Client, phase: Phase) -> Result<()> {
    let what = format!("the hub is {}", phase.as_str());
    status(client, &what, |status| status.phase == Some(phase)).await
}

/// Waits until the hub and all of its servers can be used. A hub is Healthy before its pods are
/// Available again.
async fn serving(client: &Client) -> Result<()> {
    status(client, "the hub is Healthy and Available, with all servers", |status| {
        let is_true = |kind: &str| {
            status.conditions.iter().any(|found| found.type_ == kind && found.status == "True")
        };
        status.phase == Some(Phase::Healthy) && is_true("Available") && is_true("ServersReady")
    })
    .await
}

async fn status(client: &Client, what: &str, wanted: impl Fn(&McpHubStatus) -> bool) -> Result<()> {
    let hubs: Api<McpHub> = Api::namespaced(client.clone(), NAMESPACE);
    let reached = await_condition(hubs, HUB, |hub: Option<&McpHub>| {
        hub.is_some_and(|hub| {
            hub.status.as_ref().is_some_and(|status| {
                status.observed_generation == hub.metadata.generation && wanted(status)
            })
        })
    });
    within(PATIENCE, what, reached).await.map(drop)
}

fn what_next(cluster: &Cluster, console: Console) {
    console.stage("The cluster stays; things to try");
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
            "kubectl -n {NAMESPACE} annotate mcphub {HUB} --overwrite \
             mcphub.dev/intent=retry/<revision>/<attempt>"
        ),
        "make cluster-down".into(),
    ] {
        console.quote(&line);
    }
}

//! What every scenario has: the shared cluster, the operator on it, and a namespace of its own.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::FutureExt as _;
use kube::Client;
use mcphub_tests::cluster::{Cluster, Image, Options};
use mcphub_tests::install;
use tokio::sync::{Mutex, RwLock, Semaphore};

/// Scrape interval of Prometheus. A `for` of a rule has at least four times this.
const SCRAPE: Duration = Duration::from_secs(1);
/// Seconds until a killed leader is replaced. With less, a busy machine would depose healthy
/// leaders.
const LEASE_SECONDS: u8 = 8;

/// Scenarios hold it for reading; one that kills or removes the operator holds it for writing.
static OPERATOR: RwLock<()> = RwLock::const_new(());
/// Whether the operator is installed. After a scenario that removes it, the next one installs it
/// again.
static INSTALLED: Mutex<bool> = Mutex::const_new(false);
/// With more scenarios at a time, two cores start pods too slowly.
static AT_A_TIME: Semaphore = Semaphore::const_new(2);

/// The surroundings of one scenario.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) cluster: &'static Cluster,
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Runs a scenario beside others.
pub(crate) async fn run_shared<F: AsyncFnOnce(&Scenario) -> Result<()>>(name: &str, story: F) {
    let _permit = AT_A_TIME.acquire().await;
    let _shared = OPERATOR.read().await;
    run(name, story).await;
}

/// Runs a scenario that does something to the operator which others would notice.
pub(crate) async fn run_alone<F: AsyncFnOnce(&Scenario) -> Result<()>>(name: &str, story: F) {
    let _alone = OPERATOR.write().await;
    run(name, story).await;
}

/// Notes that the operator is removed, so that the next scenario installs it.
pub(crate) async fn operator_is_removed() {
    *INSTALLED.lock().await = false;
}

async fn run<F: AsyncFnOnce(&Scenario) -> Result<()>>(name: &str, story: F) {
    let scenario = match Scenario::prepare(name).await {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error:#}"),
    };
    let started = Instant::now();
    let ended = AssertUnwindSafe(story(&scenario)).catch_unwind().await;
    eprintln!("system: {name}: {:.0} s", started.elapsed().as_secs_f32());
    if !matches!(ended, Ok(Ok(()))) {
        eprintln!("{}", scenario.diagnostics().await);
    }
    match ended {
        Ok(Ok(())) => scenario.remove().await,
        Ok(Err(error)) => panic!("{error:#}"),
        Err(panic) => resume_unwind(panic),
    }
}

impl Scenario {
    async fn prepare(name: &str) -> Result<Self> {
        let images = vec![Image::Hub, Image::Operator, Image::ServersNode, Image::ServersPython];
        let options = Options { prometheus: Some(SCRAPE), images, ..Options::default() };
        let cluster = Cluster::shared(options).await?;
        let mut installed = INSTALLED.lock().await;
        if !*installed {
            let settings = install::Settings {
                prometheus_scrape: SCRAPE,
                lease_seconds: LEASE_SECONDS,
                replicas: 2,
            };
            install::operator(cluster, &settings).await?;
            *installed = true;
        }
        // Each test has its own client: connections end with the runtime that opened them.
        Ok(Self {
            cluster,
            client: cluster.client().await?,
            namespace: cluster.namespace(name).await?,
        })
    }

    /// Runs kubectl in the namespace.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl([&["-n", &self.namespace], args].concat()).await
    }

    /// The state of hubs, pods and operator, for the log of a failed run.
    async fn diagnostics(&self) -> String {
        const HUBS: &str =
            "{{range .items}}{{.metadata.name}}: {{.status.phase}}{{range .status.conditions}}
  {{.type}} {{.status}} {{.reason}}: {{.message}}{{end}}
{{end}}";
        const STATES: &str = "{{range .items}}{{$name := .metadata.name}}{{with .data}}\
            {{with index . \"dataplane.json\"}}{{$name}}: {{.}}\n{{end}}\
            {{with index . \"engine.json\"}}  {{.}}\n{{end}}{{end}}{{end}}";
        let get = async |kind: &str, template: &str| {
            let output = format!("--output=go-template={template}");
            self.kubectl(&["get", kind, &output])
                .await
                .unwrap_or_else(|error| format!("{error:#}\n"))
        };
        let (hubs, states) = (get("mcphubs", HUBS).await, get("configmaps", STATES).await);
        let pods = self.cluster.diagnostics(&self.namespace).await;
        let logs =
            "-n mcphub-system logs -l app.kubernetes.io/name=mcphub-operator --prefix --tail=40";
        let operator = self
            .cluster
            .kubectl(logs.split(' '))
            .await
            .unwrap_or_else(|error| format!("{error:#}"));
        format!("=== {}\n{hubs}{states}{pods}\n=== operator\n{operator}", self.namespace)
    }

    /// Makes room for the next scenario. What is left goes with the cluster.
    async fn remove(&self) {
        let _ =
            self.cluster.kubectl(["delete", "namespace", &self.namespace, "--wait=false"]).await;
    }
}

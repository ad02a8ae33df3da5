//! Where a scenario plays: the cluster that all share, the operator on it, and a namespace of its own.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use kube::Client;
use mcphub_tests::cluster::{Cluster, Image, Options};
use mcphub_tests::install;
use tokio::sync::{Mutex, RwLock, Semaphore};

/// How often Prometheus scrapes: the shortest that hubs can be judged by is four times this.
const SCRAPE: Duration = Duration::from_secs(1);
/// A killed leader is succeeded after so long. With less, a busy machine would depose leaders that are well.
const LEASE_SECONDS: u8 = 8;

/// Scenarios that only look after themselves share it; one that kills or removes the operator has it alone.
static OPERATOR: RwLock<()> = RwLock::const_new(());
/// Whether the operator is installed. The scenario that removes it leaves that to whoever comes next.
static INSTALLED: Mutex<bool> = Mutex::const_new(false);
/// More at a time, and 2 cores start pods so slowly that patience ends.
static AT_A_TIME: Semaphore = Semaphore::const_new(2);

/// Where a scenario plays.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) cluster: &'static Cluster,
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Plays a scenario beside others.
pub(crate) async fn beside_others<F: AsyncFnOnce(&Scene) -> Result<()>>(name: &str, scenario: F) {
    let _permit = AT_A_TIME.acquire().await;
    let _shared = OPERATOR.read().await;
    play(name, scenario).await;
}

/// Plays a scenario that does something to the operator which others would notice.
pub(crate) async fn alone<F: AsyncFnOnce(&Scene) -> Result<()>>(name: &str, scenario: F) {
    let _alone = OPERATOR.write().await;
    play(name, scenario).await;
}

/// Says that the operator is gone, so that the next scenario installs it.
pub(crate) async fn operator_is_gone() {
    *INSTALLED.lock().await = false;
}

async fn play<F: AsyncFnOnce(&Scene) -> Result<()>>(name: &str, scenario: F) {
    let scene = match Scene::set(name).await {
        Ok(scene) => scene,
        Err(error) => panic!("{error:#}"),
    };
    let began = Instant::now();
    let outcome = AssertUnwindSafe(scenario(&scene)).catch_unwind().await;
    eprintln!("system: {name}: {:.0} s", began.elapsed().as_secs_f32());
    if !matches!(outcome, Ok(Ok(()))) {
        eprintln!("{}", scene.complaints().await);
    }
    match outcome {
        Ok(Ok(())) => scene.clear().await,
        Ok(Err(error)) => panic!("{error:#}"),
        Err(panic) => resume_unwind(panic),
    }
}

impl Scene {
    async fn set(name: &str) -> Result<Self> {
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
        // A client of this test's own: connections end with the runtime that opened them.
        Ok(Self {
            cluster,
            client: cluster.client().await?,
            namespace: cluster.namespace(name).await?,
        })
    }

    /// kubectl in the namespace.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl([&["-n", &self.namespace], args].concat()).await
    }

    /// What went wrong, for whoever reads the log of a failed run.
    async fn complaints(&self) -> String {
        const HUBS: &str =
            "{{range .items}}{{.metadata.name}}: {{.status.phase}}{{range .status.conditions}}
  {{.type}} {{.status}} {{.reason}}: {{.message}}{{end}}
{{end}}";
        const STATES: &str =
            "{{range .items}}{{$name := .metadata.name}}{{with .data}}{{with index . \"dataplane.json\"}}{{$name}}: {{.}}
{{end}}{{with index . \"engine.json\"}}  {{.}}
{{end}}{{end}}{{end}}";
        let ask = async |what: &str, template: &str| {
            let output = format!("--output=go-template={template}");
            self.kubectl(&["get", what, &output])
                .await
                .unwrap_or_else(|error| format!("{error:#}\n"))
        };
        let (hubs, states) = (ask("mcphubs", HUBS).await, ask("configmaps", STATES).await);
        let pods = self.cluster.complaints(&self.namespace).await;
        let logs =
            "-n mcphub-system logs -l app.kubernetes.io/name=mcphub-operator --prefix --tail=40";
        let operator = self
            .cluster
            .kubectl(logs.split(' '))
            .await
            .unwrap_or_else(|error| format!("{error:#}"));
        format!("=== {}\n{hubs}{states}{pods}\n=== operator\n{operator}", self.namespace)
    }

    /// Makes room for the next scenario; what is left goes with the cluster.
    async fn clear(&self) {
        let _ =
            self.cluster.kubectl(["delete", "namespace", &self.namespace, "--wait=false"]).await;
    }
}

/// Asks until there is an answer, every 100 ms. For what cannot be watched.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if since.elapsed() > within {
            bail!("not within {within:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for something that can be watched, for so long.
pub(crate) async fn within<T, E: Into<anyhow::Error>>(
    patience: Duration,
    what: &str,
    happens: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    let outcome = tokio::time::timeout(patience, happens).await;
    outcome.with_context(|| format!("not within {patience:?}: {what}"))?.map_err(Into::into)
}

//! Replicas of the operator: processes of this machine, with the rights that the chart grants.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{AuthInfo, Kubeconfig};
use kube::{Api, Client};
use mcphub_tests::cluster::ControlPlane;
use mcphub_tests::wait::{PATIENCE, limit, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The objects of an operator as the chart installs it. It has a namespace of its own and manages
/// the hubs of another.
pub(crate) struct Installation {
    pub(crate) plane: &'static ControlPlane,
    /// A client with all rights.
    pub(crate) client: Client,
    /// The namespace of the operator.
    pub(crate) own: String,
    /// The namespace of its hubs.
    pub(crate) hubs: String,
    folder: TempDir,
}

/// A running replica. A drop kills it.
pub(crate) struct Replica {
    process: Child,
    log: PathBuf,
    admin: String,
}

impl Installation {
    /// Creates both namespaces and applies what `helm template` renders.
    pub(crate) async fn new(plane: &'static ControlPlane, name: &str) -> Result<Self> {
        Self::with_values(plane, name, &[]).await
    }

    /// The same with more arguments for helm.
    pub(crate) async fn with_values(
        plane: &'static ControlPlane,
        name: &str,
        values: &[&str],
    ) -> Result<Self> {
        Self::watching(plane, name, &[format!("hubs-{name}")], values).await
    }

    /// The same for hubs in several namespaces.
    pub(crate) async fn watching(
        plane: &'static ControlPlane,
        name: &str,
        namespaces: &[String],
        values: &[&str],
    ) -> Result<Self> {
        let own = format!("sys-{name}");
        for namespace in std::iter::once(&own).chain(namespaces) {
            plane.kubectl(["create", "namespace", namespace]).await?;
        }
        let watched = format!("watchNamespaces={}", json!(namespaces));
        let mut args = vec!["template", "mcphub", "charts/mcphub-operator", "--namespace", &own];
        args.extend(["--set-json", &watched, "--set", "hubImage=hub:test"]);
        args.extend(values);
        let rendered = plane.helm(args).await?;
        let first = namespaces.first().context("no namespace")?;
        Self::from_manifest(plane, own, first.clone(), &rendered).await
    }

    /// Applies a manifest of an operator in the namespace `own` that manages at least the namespace
    /// `hubs`.
    pub(crate) async fn from_manifest(
        plane: &'static ControlPlane,
        own: String,
        hubs: String,
        manifest: &str,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("manifest.yaml");
        std::fs::write(&file, manifest)?;
        plane.kubectl(["apply", "--server-side", "-f", &file.to_string_lossy()]).await?;
        let client = plane.client().await?;
        let installed = Self { plane, client, own, hubs, folder };
        installed.credentials().await?;
        Ok(installed)
    }

    /// Applies an object or a List in the namespace of the hubs.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        self.apply_in(&self.hubs, object).await
    }

    /// The same in another namespace.
    pub(crate) async fn apply_in(&self, namespace: &str, object: &Value) -> Result<()> {
        let file = self.folder.path().join("object.json");
        std::fs::write(&file, object.to_string())?;
        self.plane.kubectl(["-n", namespace, "apply", "-f", &file.to_string_lossy()]).await?;
        Ok(())
    }

    /// `Kind/name` of all objects of the hub `team`, sorted.
    pub(crate) async fn objects(&self) -> Result<Vec<String>> {
        self.objects_in(&self.hubs).await
    }

    /// The same in another namespace.
    pub(crate) async fn objects_in(&self, namespace: &str) -> Result<Vec<String>> {
        const KINDS: &str = "configmap,controllerrevision,deployment,poddisruptionbudget,role,\
                             rolebinding,secret,service,\
                             serviceaccount";
        let args = ["-n", namespace, "get", KINDS, "-l", "mcphub.dev/hub=team", "-o", "json"];
        let list: Value = serde_json::from_str(&self.plane.kubectl(args).await?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = list["items"].as_array().into_iter().flatten();
        let mut names: Vec<_> = items
            .map(|item| format!("{}/{}", text(&item["kind"]), text(&item["metadata"]["name"])))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Writes the kubeconfig of the ServiceAccount, and the settings file from the ConfigMap.
    async fn credentials(&self) -> Result<()> {
        let token = self.plane.kubectl(["-n", &self.own, "create", "token", "mcphub"]).await?;
        let mut kubeconfig = Kubeconfig::read_from(self.plane.kubeconfig())?;
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(AuthInfo {
                token: Some(token.trim().to_owned().into()),
                ..AuthInfo::default()
            });
        }
        std::fs::write(
            self.folder.path().join("kubeconfig"),
            serde_yaml_ng::to_string(&kubeconfig)?,
        )?;
        let settings =
            Api::<ConfigMap>::namespaced(self.client.clone(), &self.own).get("mcphub").await?;
        let settings = settings
            .data
            .unwrap_or_default()
            .remove("config.yaml")
            .context("the chart's ConfigMap is empty")?;
        std::fs::write(self.folder.path().join("config.yaml"), settings)?;
        Ok(())
    }

    /// Starts a replica and waits until it is ready.
    pub(crate) async fn start(&self, pod: &str) -> Result<Replica> {
        self.start_with(pod, &self.folder.path().join("kubeconfig")).await
    }

    /// The same for a replica that reaches the API server at another URL.
    pub(crate) async fn start_through(&self, pod: &str, url: &str) -> Result<Replica> {
        let mut kubeconfig = Kubeconfig::read_from(self.folder.path().join("kubeconfig"))?;
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            cluster.server = Some(url.to_owned());
        }
        let file = self.folder.path().join(format!("{pod}.kubeconfig"));
        std::fs::write(&file, serde_yaml_ng::to_string(&kubeconfig)?)?;
        self.start_with(pod, &file).await
    }

    async fn start_with(&self, pod: &str, kubeconfig: &Path) -> Result<Replica> {
        let program = program().await?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let admin = format!("127.0.0.1:{port}");
        let log = self.folder.path().join(format!("{pod}.log"));
        let config = self.folder.path().join("config.yaml");
        let process = Command::new(program)
            .args(["--config", &config.to_string_lossy(), "--namespace", &self.own, "--pod", pod])
            .args(["--admin-listen", &admin, "--log", "info,mcphub_operator=debug"])
            .args(["--lease", "mcphub"]) // as the chart's Deployment does
            // With less, a busy machine would depose healthy leaders.
            .args(["--lease-duration", "8", "--renew-deadline", "6", "--retry-period", "0.5"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::inherit())
            .spawn()?;
        let replica = Replica { process, log, admin };
        let ready = async || {
            reqwest::get(format!("http://{}/readyz", replica.admin))
                .await
                .is_ok_and(|r| r.status() == 200)
        };
        until("the replica is ready", PATIENCE, ready).await.with_context(|| replica.tail())?;
        Ok(replica)
    }
}

impl Replica {
    /// The sum of all series of a metric.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        self.sum(name, |_| true).await
    }

    /// How many writes the API server has acknowledged. Secrets are not counted: the operator
    /// cannot read them and so writes them every time.
    pub(crate) async fn writes(&self) -> Result<f64> {
        self.sum("mcphub_operator_writes_total", |labels| !labels.contains(r#"kind="Secret""#))
            .await
    }

    async fn sum(&self, name: &str, counts: impl Fn(&str) -> bool) -> Result<f64> {
        let text = reqwest::get(format!("http://{}/metrics", self.admin)).await?.text().await?;
        let series = text.lines().filter_map(|line| line.strip_prefix(name));
        let series = series.filter(|rest| rest.starts_with([' ', '{']) && counts(rest));
        Ok(series.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Whether it is the leader.
    pub(crate) async fn leads(&self) -> bool {
        self.metric("mcphub_operator_leader").await.is_ok_and(|value| value > 0.0)
    }

    /// Waits until no reconcile has ended for a while, longer on a busy machine.
    pub(crate) async fn idle(&self) -> Result<()> {
        let mut last = (-1.0, Instant::now());
        let quiet = async || {
            let now = self.metric("mcphub_operator_reconciles_total").await.unwrap_or_default();
            if now > last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() > limit(Duration::from_millis(700))
        };
        until("the operator has nothing to do", PATIENCE, quiet)
            .await
            .map(|_| ())
            .with_context(|| self.tail())
    }

    /// An error if a request was refused for lack of rights.
    pub(crate) fn nothing_was_forbidden(&self) -> Result<()> {
        let log = self.log();
        let refused: Vec<_> = log.lines().filter(|line| line.contains("orbidden")).collect();
        anyhow::ensure!(refused.is_empty(), "{}", refused.join("\n"));
        Ok(())
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id())?);
        Ok(nix::sys::signal::kill(pid, signal)?)
    }

    /// Stops it as the kubelet does. Returns when the process has ended by itself.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.signal(nix::sys::signal::Signal::SIGTERM)?;
        let ended = async || self.process.try_wait().is_ok_and(|status| status.is_some());
        until("the replica has stopped", limit(Duration::from_secs(10)), ended)
            .await
            .with_context(|| self.tail())?;
        let status = self.process.wait()?;
        anyhow::ensure!(status.success(), "the replica ended with {status}\n{}", self.tail());
        Ok(())
    }

    /// The whole log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of the log, for the message of a failure.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program of the operator, built from this checkout into the folder of this test.
async fn program() -> Result<&'static Path> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    let program = PROGRAM.get_or_try_init(|| async {
        let built = tokio::process::Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "mcphub-operator"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .await?;
        anyhow::ensure!(
            built.success(),
            "failed to build the operator; cargo has printed the reason"
        );
        let mut folder = std::env::current_exe()?;
        folder.pop(); // deps
        folder.pop();
        Ok(folder.join("mcphub-operator"))
    });
    Ok(program.await?)
}

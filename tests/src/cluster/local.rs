//! The local cluster: the processes of a Kubernetes on this machine, started by the project.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use super::component::{Part, wait_for};
use super::control_plane::{self, ControlPlane};
use super::images::{self, Image};
use super::sandbox::{self, Sandbox};
use super::tools::Tools;
use super::{Options, command, dns, node, prometheus};
use crate::progress;
use crate::wait::PATIENCE;

/// A cluster that this process started, or a local one that was left running and is used again.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) plane: ControlPlane,
    prometheus: bool,
}

/// A live run, as described by the file `run.json` in its work folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The number of the run on this machine.
    pub index: u8,
    /// The first process of its process namespace.
    first: u32,
    /// The kubeconfig with all rights.
    pub kubeconfig: String,
    /// Folders with kubectl and helm.
    pub path: String,
    /// The address of Prometheus, if it runs.
    pub prometheus: Option<String>,
}

impl Run {
    /// Every run on this machine that is up.
    pub fn all() -> Vec<Self> {
        (0..sandbox::MAX_RUNS)
            .filter(|index| sandbox::alive(*index))
            .filter_map(Self::read)
            .collect()
    }

    fn read(index: u8) -> Option<Self> {
        let text = std::fs::read(sandbox::work_folder(index).join("run.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether the run was left running. Otherwise the process that started it uses it, for example
    /// a test.
    pub fn is_kept(&self) -> bool {
        sandbox::work_folder(self.index).join(sandbox::KEPT).exists()
    }

    /// Ends the run and waits until it has left nothing behind.
    pub async fn stop(&self) -> Result<()> {
        let first = nix::unistd::Pid::from_raw(i32::try_from(self.first)?);
        nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL)
            .context("failed to end the run")?;
        let started = Instant::now();
        // The script that holds the run releases the lock when it has cleaned up. It waits for the
        // owner first, if that lives.
        while sandbox::alive(self.index) && sandbox::work_folder(self.index).exists() {
            if started.elapsed() > Duration::from_secs(30) {
                bail!(
                    "run {} has ended, but the process that started it still holds its work folder",
                    self.index
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Removes what is left of runs that were killed together with the script that cleans up after
    /// them.
    pub async fn sweep_dead() -> Result<()> {
        sandbox::sweep_dead().await
    }
}

impl Local {
    /// Brings a cluster up.
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        super::machine::check()?;
        let mut wanted = vec![Image::Pause, Image::CoreDns];
        wanted.extend(&options.images);
        // Go and Rust compile side by side, while npm and pip download: either alone leaves a core
        // idle.
        tokio::try_join!(Tools::ready(), images::build_all(&wanted))?;
        let started = Instant::now();
        let mut local = Self::assemble(&wanted, options.prometheus).await?;
        local.describe()?;
        if options.keep {
            local.plane.sandbox.keep()?;
        }
        progress::print(&format!(
            "ready in {:.1} s, {}",
            started.elapsed().as_secs_f32(),
            local.plane.kubeconfig
        ));
        Ok(local)
    }

    async fn assemble(wanted: &[Image], scrape: Option<Duration>) -> Result<Self> {
        let (mut plane, authority) = ControlPlane::launch().await?;
        let containerd = node::containerd(&plane.sandbox)?;
        plane.components()?.push(containerd);
        plane.wait().await?;
        let mut more =
            Vec::from(control_plane::controllers(&plane.sandbox, &plane.tools, &authority)?);
        more.extend(node::start(&plane.sandbox, &plane.tools, &authority)?);
        if let Some(interval) = scrape {
            more.extend(prometheus::start(
                &plane.sandbox,
                &plane.tools,
                &plane.kubeconfig,
                interval,
            )?);
        }
        plane.components()?.extend(more);
        for image in wanted {
            images::import(&plane.sandbox, &images::build(*image).await?).await?;
        }
        wait_for_node(&mut plane).await?;
        Ok(Self { plane, prometheus: scrape.is_some() })
    }

    /// The live local run that this kubeconfig belongs to, if there is one.
    pub(crate) async fn attach(kubeconfig: &str, options: &Options) -> Result<Option<Self>> {
        let Ok(wanted) = std::fs::canonicalize(kubeconfig) else { return Ok(None) };
        let Some(run) = Run::all().into_iter().find(|run| Path::new(&run.kubeconfig) == wanted)
        else {
            return Ok(None);
        };
        if options.prometheus.is_some() && run.prometheus.is_none() {
            bail!(
                "run {} has no Prometheus, which is needed here; start another with \
                 `cluster up --keep`",
                run.index
            );
        }
        let plane = ControlPlane {
            components: Mutex::default(),
            sandbox: Sandbox::attached(run.index, run.first),
            tools: Tools::ready().await?,
            kubeconfig: run.kubeconfig,
        };
        let local = Self { plane, prometheus: run.prometheus.is_some() };
        images::build_all(&options.images).await?;
        for image in &options.images {
            local.load(*image).await?;
        }
        Ok(Some(local))
    }

    /// Imports an image, and builds it first if it is not in the cache. Returns its name.
    pub(crate) async fn load(&self, image: Image) -> Result<String> {
        let built = images::build(image).await?;
        images::import(&self.plane.sandbox, &built).await?;
        Ok(built.name)
    }

    pub(crate) fn prometheus_url(&self) -> Result<String> {
        anyhow::ensure!(self.prometheus, "this cluster was started without Prometheus");
        Ok(prometheus_url(&self.plane.sandbox))
    }

    fn describe(&self) -> Result<()> {
        let run = Run::describe(&self.plane, self.prometheus);
        std::fs::write(
            self.plane.sandbox.dir().join("run.json"),
            serde_json::to_vec_pretty(&run)?,
        )?;
        Ok(())
    }
}

impl Run {
    fn describe(plane: &ControlPlane, prometheus: bool) -> Self {
        Self {
            index: plane.sandbox.index(),
            first: plane.sandbox.first(),
            kubeconfig: plane.kubeconfig.clone(),
            path: plane.tools.path(),
            prometheus: prometheus.then(|| prometheus_url(&plane.sandbox)),
        }
    }
}

fn prometheus_url(sandbox: &Sandbox) -> String {
    format!("http://{}:{}", sandbox.addresses().node(), prometheus::PORT)
}

async fn wait_for_node(plane: &mut ControlPlane) -> Result<()> {
    let manifest = dns::manifest(plane.sandbox.addresses(), &images::loaded_name(Image::CoreDns)?);
    let path = plane.sandbox.dir().join("coredns.yaml");
    std::fs::write(&path, manifest)?;
    plane.kubectl(["apply".as_ref(), "-f".as_ref(), path.as_os_str()]).await?;
    let client = plane.client().await?;
    let components = plane.components()?;
    let node = async || node_is_ready(&client).await;
    wait_for("the node", PATIENCE, components, Part::Kubelet, node).await?;
    let dns = async || dns_is_ready(&client).await;
    let ready = wait_for("DNS", PATIENCE, components, Part::Kubelet, dns).await;
    if let Err(error) = ready {
        let events =
            plane.kubectl(["-n", dns::NAMESPACE, "get", "pods,events"]).await.unwrap_or_default();
        bail!("{error:#}\n{}", command::last_lines(&events, 20));
    }
    Ok(())
}

async fn node_is_ready(client: &Client) -> bool {
    let Ok(node) = Api::<Node>::all(client.clone()).get(node::NAME).await else { return false };
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn dns_is_ready(client: &Client) -> bool {
    let deployments = Api::<Deployment>::namespaced(client.clone(), dns::NAMESPACE);
    let Ok(deployment) = deployments.get("coredns").await else { return false };
    deployment.status.and_then(|status| status.ready_replicas) == Some(1)
}
